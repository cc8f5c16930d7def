"""Which figures a run has. Imports no torch: Snakefiles ask it for the names of their outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report.figures.trainings import repeat_groups, sweep_groups

BEFORE_AFTER = "before_after_"
FORMATS = ("pdf", "png")
CAPTIONS = Path(__file__).resolve().parents[1] / "report"
# Name -> what it shows, for the labels of the Snakemake report.
ALWAYS = {
    "comparison": "all methods, one view",
    "distributions": "score distributions",
    "winrates": "pairwise win rates",
    "time_quality": "time against quality",
    "trimap": "trimaps of one object",
}
OF_TUNED = {"training": "reward against steps", "drift": "reward against drift"}
OF_TUNED_PICTURES = {
    "teaser": "one object per reward",
    "comparison_blocks": "all methods, a block per reward",
    "failures": "smallest gains",
}
OF_SWEEPS = {"repeats": "repeated trainings", "regularisation": "holding models back"}
STAGES = "method_overview"
STUDY = "user_study"
OF_KIND = {
    "alignment": {
        "alignment": "curvature and texture gradient",
        "alignment_views": "alignment from five sides",
    },
    "symmetry": {
        "symmetry": "mirror plane and mirror error",
        "symmetry_texture": "mirror line in the texture",
    },
    "emphasis": {
        "emphasis": "curvature and texture contrast",
        "emphasis_views": "emphasis from five sides",
    },
}
OF_RENDERED = {
    "camera_pose": "cameras, before and after",
    "camera_pose_views": "from the front, before and after",
}


def figure_names(settings: dict[str, Any]) -> dict[str, str]:
    """Figure -> what it shows, for the settings of the figures: those whose inputs the configuration has."""
    names = dict(ALWAYS)
    kinds: set[str] = set()
    rendered = False
    for method, model in settings["models"].items():
        names[f"{BEFORE_AFTER}{method}"] = "views and texture"
        metrics = [settings["metrics"][term["metric"]] for term in model["rewards"]]
        kinds |= {metric["kind"] for metric in metrics}
        rendered |= any(metric["group"] == "preference" for metric in metrics)
    if settings["models"]:
        names |= OF_TUNED | OF_TUNED_PICTURES
    for kind, figures in OF_KIND.items():
        names |= figures if kind in kinds else {}
    names |= OF_RENDERED if rendered else {}
    trainings = settings.get("trainings", {})
    if repeat_groups(trainings):
        names["repeats"] = OF_SWEEPS["repeats"]
    if sweep_groups(trainings):
        names["regularisation"] = OF_SWEEPS["regularisation"]
    if settings.get("staged"):
        names[STAGES] = "the method, by one run"
    if settings.get("study"):
        names[STUDY] = "preferences of people"
    return names


def figure_part(name: str) -> str:
    """Under which heading of the Snakemake report a figure stands."""
    if name in OF_TUNED | OF_SWEEPS:
        return "Training"
    if name == STAGES:
        return "The method"
    everyone = {*ALWAYS, "comparison_blocks", "teaser", STUDY}
    return "All methods" if name in everyone else "Before and after training"


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
    """Name of the file with a figure's caption, below workflow/report; one for all that have none."""
    own = "before_after" if name.startswith(BEFORE_AFTER) else name
    return own if (CAPTIONS / f"{own}.rst").is_file() else "figure"
