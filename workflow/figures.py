"""Which figures a run has. Imports no torch: Snakefiles ask it for the names of their outputs."""

from __future__ import annotations

from typing import Any

BEFORE_AFTER = "before_after_"
FORMATS = ("pdf", "png")
# Name -> what it shows, for the labels of the Snakemake report.
ALWAYS = {
    "comparison": "all methods, one view",
    "distributions": "score distributions",
    "winrates": "pairwise win rates",
    "time_quality": "time against quality",
    "trimap": "trimaps of one object",
}
OF_TUNED = {"training": "reward against steps", "drift": "reward against drift"}
OF_KIND = {
    "alignment": "curvature and texture gradient",
    "symmetry": "mirror plane and mirror error",
    "emphasis": "curvature and texture contrast",
}


def figure_names(settings: dict[str, Any]) -> dict[str, str]:
    """Figure -> what it shows, for the settings of a table: those whose inputs the configuration has."""
    names = dict(ALWAYS)
    kinds: set[str] = set()
    rendered = False
    for method, model in settings["models"].items():
        names[f"{BEFORE_AFTER}{method}"] = "views and texture"
        metrics = [settings["metrics"][term["metric"]] for term in model["rewards"]]
        kinds |= {metric["kind"] for metric in metrics}
        rendered |= any(metric["group"] == "preference" for metric in metrics)
    if settings["models"]:
        names |= OF_TUNED
    names |= {name: text for name, text in OF_KIND.items() if name in kinds}
    return names | ({"camera_pose": "cameras, before and after"} if rendered else {})


def figure_part(name: str) -> str:
    """Under which heading of the Snakemake report a figure stands."""
    if name in OF_TUNED:
        return "Training"
    return "All methods" if name in ALWAYS else "Before and after training"


def figure_labels(name: str, settings: dict[str, Any]) -> dict[str, str]:
    """What the Snakemake report lists a figure by: what it shows, and whose reward and method it is about."""
    labels = {"figure": figure_names(settings)[name]}
    if name.startswith(BEFORE_AFTER):
        method = name.removeprefix(BEFORE_AFTER)
        rewards = [settings["metrics"][term["metric"]] for term in settings["models"][method]["rewards"]]
        labels |= {"method": settings["methods"][method]}
        labels |= {"reward": ", ".join(reward["label"] for reward in rewards)}
    return labels


def figure_caption(name: str) -> str:
    """Name of the file with a figure's caption."""
    return "before_after" if name.startswith(BEFORE_AFTER) else name
