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
        names[f"{BEFORE_AFTER}{method}"] = f"before and after: {settings['methods'][method]}"
        metrics = [settings["metrics"][term["metric"]] for term in model["rewards"]]
        kinds |= {metric["kind"] for metric in metrics}
        rendered |= any(metric["group"] == "preference" for metric in metrics)
    if settings["models"]:
        names |= OF_TUNED
    names |= {name: text for name, text in OF_KIND.items() if name in kinds}
    return names | ({"camera_pose": "cameras, before and after"} if rendered else {})


def figure_caption(name: str) -> str:
    """Name of the file with a figure's caption."""
    return "before_after" if name.startswith(BEFORE_AFTER) else name
