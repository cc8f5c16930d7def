"""Figures of views: which cameras painted and judged; what each view generated, refined and kept."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from report.figures.grids import named, show, typical_assets
from report.pictures import WHITE, MeshPictures, pixels
from report.results import Results
from report.style import REFERENCE, WIDTH, NotDrawn, bare
from texgen.backprojection.trimap import Trimap, hard_trimap
from texgen.painting.accumulate import accumulate
from texgen.painting.presets import get_preset
from texgen.painting.scene import prepare_scene
from texgen.painting.state import TextureState, render_state
from texgen.render.cameras import RIGS, Cameras
from texgen.render.images import shade

TRIMAP = {"generate": "#D55E00", "refine": "#F0E442", "keep": "#0072B2"}
MAX_VIEWS = 12
SIZE = 192


def camera_pose(results: Results) -> Figure:
    """Where the painting cameras stand, untuned and tuned, where the reward looks from, and what it sees."""
    methods = [m for m in results.tuned if reward_rig(results, m) is not None]
    if not methods:
        raise NotDrawn("No model of this run was trained on renders, so there are no reward cameras to show.")
    method = methods[0]
    rig = RIGS[reward_rig(results, method)]
    (rank, asset, values), *_ = typical_assets(results, method)[1:2] or typical_assets(results, method)
    figure = plt.figure(figsize=(WIDTH, 2.55))
    columns = min(len(rig), 6)
    grid = figure.add_gridspec(2, columns + 2, width_ratios=[2.3, 0.25, *[1] * columns])
    sky = figure.add_subplot(grid[:, 0], projection="polar")
    _sky(sky, results, method, asset["asset"], rig)
    azimuths, elevations = zip(*rig[:columns], strict=True)
    look = MeshPictures(results.mesh(asset["mesh"]), azimuths, elevations, SIZE, background=WHITE)
    for row, (name, word) in enumerate(((results.reference, "before"), (method, "after"))):
        pictures = look(results.texture(name, asset["asset"]))
        for column, picture in enumerate(pictures):
            axis = figure.add_subplot(grid[row, column + 2])
            show(axis, pixels(picture))
            if row == 0:
                axis.set_title(f"{azimuths[column]:g}°, {elevations[column]:g}°", fontsize=6.5)
            if column == 0:
                axis.set_ylabel(f"{word}\n{values[row]}", rotation=0, ha="right", va="center")
    label = results.label(results.own_metrics(method)[0])
    shown = named(asset, rank and f"{rank} of {label}")
    figure.suptitle(f"{results.methods[method]}: {shown}; numbers: {label}", fontsize=8)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def reward_rig(results: Results, method: str) -> str | None:
    """Name of the cameras that a tuned method's first reward of renders looks from; None without one."""
    for term in results.settings["models"][method]["rewards"]:
        if results.metrics[term["metric"]]["group"] == "preference" and term["rig"] in RIGS:
            return term["rig"]
    return None


def _sky(axis, results: Results, method: str, asset: str, rig) -> None:
    """Cameras seen from above the object: angle = azimuth, radius = 90 degrees - elevation."""
    axis.set_theta_zero_location("S")
    axis.set_theta_direction(1)
    rigs = {
        "painting, before": (_painted_from(results, results.reference, asset), "o", REFERENCE, 6.5),
        "painting, after": (_painted_from(results, method, asset), "o", results.styles[method]["color"], 3.5),
        "reward": (list(rig), "x", "#1c1c1c", 5),
    }
    lowest = 90.0
    for label, (cameras, marker, colour, size) in rigs.items():
        if not cameras:
            continue
        azimuth, elevation = np.array(cameras).T
        lowest = max(lowest, float((90 - elevation).max()))
        face = "none" if label == "painting, before" else colour
        axis.plot(
            np.radians(azimuth), 90 - elevation, marker, color=colour, markerfacecolor=face,
            markersize=size, label=label, clip_on=False,
        )  # fmt: skip
    axis.set_rlim(0, lowest + 8)
    axis.set_rticks([30, 60, 90], ["60°", "30°", "0°"], fontsize=6, color="#5f6368")
    axis.set_rlabel_position(112)
    axis.set_thetagrids([0, 90, 180, 270], ["front", "90°", "back", "-90°"])
    axis.tick_params(axis="x", pad=-1)
    axis.grid(color="#dadce0", linewidth=0.5)
    axis.spines["polar"].set_visible(False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=1, borderpad=0, labelspacing=0.3)


def _painted_from(results: Results, method: str, asset: str) -> list[tuple[float, float]]:
    run = results.runs.get((method, asset), {})
    return [(view["azimuth"], view["elevation"]) for view in run.get("views") or [] if "azimuth" in view]


def trimap(results: Results) -> Figure:
    """What each view of one object had to generate, to refine and to keep, and the view when it was done."""
    in_order = ((method, asset["asset"]) for method in results.methods for asset in results.assets)
    runs = [results.runs[key] for key in in_order if key in results.runs]
    run = next((run for run in runs if _replayable(run)), None)
    if run is None:
        raise NotDrawn("No finished run painted view after view with a trimap, so there is none to show.")
    look_at = replay_trimaps(results, run)[:MAX_VIEWS]
    texture = results.texture(run["method"], run["asset"])
    columns = min(6, len(look_at))
    rows = math.ceil(len(look_at) / columns)
    side = WIDTH / columns
    figure, axes = plt.subplots(
        2 * rows, columns, figsize=(WIDTH, 2 * rows * side + 0.75 * rows), squeeze=False
    )
    for axis in axes.flat:
        bare(axis)
    for k, (view, masks) in enumerate(look_at):
        row, column = 2 * (k // columns), k % columns
        shares = trimap_shares(masks, view)
        axes[row, column].set_title(
            f"view {view.index + 1}: {view.azimuth:g}°, {view.elevation:g}°", fontsize=6.5
        )
        show(axes[row, column], trimap_picture(view, masks))
        axes[row, column].images[0].set_interpolation("nearest")  # a mask has no shades
        text = "\n".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        axes[row, column].set_xlabel(text, fontsize=6, labelpad=2)
        show(axes[row + 1, column], pixels(shade(view.buffer, texture)[0]))
        for axis in axes[row : row + 2, column]:
            zoom(axis, view.buffer.mask[0, 0])
    handles = [plt.Line2D([], [], linestyle="", marker="s", color=c, label=n) for n, c in TRIMAP.items()]
    title = f"{results.methods[run['method']]}: {run['prompt']}"
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=7.5)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def _replayable(run: dict) -> bool:
    views = run.get("views") or []
    return run["status"] == "ok" and run.get("kind") == "texgen" and len(views) > 1 and "refine" in views[0]


@torch.no_grad()
def replay_trimaps(results: Results, run: dict) -> list[tuple]:
    """(view, trimap) of every view of a finished run, painted again in grey: a trimap depends on geometry
    and on what is painted, not on colours, so no diffusion model is needed.
    """
    preset = get_preset("texgen", **run["preset"])
    azimuth, elevation = zip(*_painted_from(results, run["method"], run["asset"]), strict=True)
    cameras = Cameras.orbit(azimuth, elevation, preset.distance, preset.fov_y)
    scene = prepare_scene(results.mesh(run["mesh"]), preset, cameras)
    state = TextureState.empty(preset.texture_size)
    found: list[tuple] = []
    for view in scene.views:
        rgb, count, best = render_state(view, state, preset.background, preset.pin_background)
        masks = hard_trimap(count, best, view.buffer.cosine)
        found.append((view, masks))
        if bool((masks.generate > 0.5).any()):
            grey = torch.full_like(rgb, 0.5)
            state = accumulate(preset, view, state, grey, masks.keep)
    return found


def zoom(axis, mask: torch.Tensor, margin: float = 1.06) -> None:
    """Limit an axes of a square picture to the square around what a mask [S, S] covers."""
    rows, columns = torch.nonzero(mask > 0).unbind(dim=1)
    half = margin * max(float(v.max() - v.min()) for v in (rows, columns)) / 2
    y, x = (float(v.max() + v.min()) / 2 for v in (rows, columns))
    axis.set_xlim(x - half, x + half)
    axis.set_ylim(y + half, y - half)


def trimap_shares(masks: Trimap, view) -> dict[str, float]:
    """Share of the visible surface under each of the three masks."""
    area = float(view.buffer.mask.sum().clamp(min=1))
    return {name: float((getattr(masks, name) * view.buffer.mask).sum()) / area for name in TRIMAP}


def trimap_picture(view, masks: Trimap) -> np.ndarray:
    """[H, W, 3] uint8: the masks in colours on the shaded surface, white outside."""
    light = 0.55 + 0.45 * view.buffer.cosine[0]
    colours = torch.zeros_like(light).expand(3, -1, -1)
    for name, colour in TRIMAP.items():
        rgb = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])[:, None, None]
        colours = colours + getattr(masks, name)[0] * rgb
    mask = view.buffer.mask[0]
    return pixels(colours * light * mask + (1 - mask))
