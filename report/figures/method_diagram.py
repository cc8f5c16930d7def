"""The method as a diagram of one real run: what goes into each view, what comes out, reward and gradient."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from report.figures.grids import show
from report.pictures import WHITE, MeshPictures, pixels, texture_pixels
from report.results import Results
from report.style import WIDTH, NotDrawn, bare, wrap
from texgen.storage.result_records import checked_scores

FILE = "stages.npz"
MOST_VIEWS = 4
ROWS = (
    ("depth", "depth\n(ControlNet)"),
    ("known", "known colours\n(ControlNet)"),
    ("pinned", "trimap in latents:\nkept = white"),
    ("image", "denoised view"),
    ("gradient", "gradient of the\nreward, magnitude"),
)


def method_overview(results: Results) -> Figure:
    """Views from left to right in painting order, each with its stages from top to bottom; then the texture,
    what the reward judges, and the way back."""
    path = results.folder / "stages" / FILE
    if not path.is_file():
        raise NotDrawn("No stages were stored, because no model of this run was trained by a gradient.")
    checked_scores(path)
    with np.load(path, allow_pickle=False) as stored:
        stages = {name: stored[name] for name in stored}
    views = [int(index) for index in stages["views"]][:MOST_VIEWS]
    mesh = str(stages["text_mesh"])
    columns = len(views)
    figure = plt.figure(figsize=(WIDTH, 0.95 * len(ROWS) + 0.9), layout="none")
    grid = figure.add_gridspec(
        len(ROWS), columns + 3, width_ratios=[0.62, *[1] * columns, 0.28, 1.75], wspace=0.06, hspace=0.1
    )
    top = max(float(stages[f"gradient_{index}"].max()) for index in views) or 1.0
    for row, (name, words) in enumerate(ROWS):
        label = figure.add_subplot(grid[row, 0])
        label.set_axis_off()
        label.text(1.0, 0.5, words, ha="right", va="center", fontsize=6.5)
        for column, index in enumerate(views):
            axis = figure.add_subplot(grid[row, column + 1])
            bare(axis)
            value = stages[f"{name}_{index}"]
            if name == "known":  # -1 where nothing is shown
                unknown = value.min(axis=0, keepdims=True) < 0
                picture = np.where(unknown, 0.8, value.clip(0, 1)).transpose(1, 2, 0)
                axis.imshow(picture)
            elif name == "image":
                axis.imshow(value.transpose(1, 2, 0).clip(0, 1))
            elif name == "gradient":
                axis.imshow(value / top, cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
            else:
                axis.imshow(value, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if row == 0:
                a, e = float(stages["azimuth"][index]), float(stages["elevation"][index])
                axis.set_title(f"view {index + 1}: {a:.0f}°, {e:.0f}°", fontsize=6.5)
    texture = torch.from_numpy(stages["texture"])
    atlas = figure.add_subplot(grid[0:2, columns + 2])
    show(atlas, texture_pixels(texture, results.geometry(mesh).atlas.mask, texture.shape[-1]))
    atlas.set_title("texture: views projected, rest filled", fontsize=6.5)
    seen = figure.add_subplot(grid[2:4, columns + 2])
    look = MeshPictures(results.mesh(mesh), [0.0, 90.0, 180.0, 270.0], 15.0, 160, background=WHITE)
    front, right, back, left = (pixels(each) for each in look(texture))
    show(seen, np.concatenate([np.concatenate([front, right], 1), np.concatenate([back, left], 1)], 0))
    seen.set_title("renders", fontsize=6.5)
    judged = figure.add_subplot(grid[4, columns + 2])
    judged.set_axis_off()
    method = str(stages["text_method"])
    rewards = ", ".join(results.metrics[name]["label"] for name in results.own_metrics(method))
    value = float(stages["reward"])
    shown = f"{value:.3f}" if math.isfinite(value) else str(value)
    judged.text(
        0.5,
        0.55,
        f"reward: {wrap(rewards, 26)}\n= {shown}\n"
        "← gradient to every view,\nthen through denoising to the LoRA",
        ha="center",
        va="center",
        fontsize=6.5,
    )
    between = figure.add_subplot(grid[:, columns + 1])
    between.set_axis_off()
    for y, ends in ((0.3, (0.0, 1.0)), (0.08, (1.0, 0.0))):
        between.add_patch(
            FancyArrowPatch(
                (ends[0], y), (ends[1], y), transform=between.transAxes, arrowstyle="-|>", mutation_scale=9,
                color="#1c1c1c" if y > 0.2 else "#D55E00", linewidth=1.2, clip_on=False,
            )
        )  # fmt: skip
    title = f'{results.methods[method]}: "{stages["text_prompt"]}"'
    figure.suptitle(wrap(title, 100), fontsize=8)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.02)
    return figure
