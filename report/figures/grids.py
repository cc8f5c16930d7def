"""Figures of pictures side by side: all methods on the same assets, and before and after each reward."""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from report.pictures import WHITE, MeshPictures, pixels, texture_pixels
from report.results import Results
from report.style import WIDTH, NotDrawn, bare, wrap

VIEWS = ((30.0, 20.0), (210.0, 20.0))
"""(azimuth, elevation) of the two views of a before-and-after picture."""
MAX_ROWS = 8
SIZE = 224
DOTS_PER_INCH = 300


def comparison(results: Results) -> Figure:
    """One view of several assets by every method: the first prompt of each mesh, in the sheet's order."""
    first = {}
    for asset in results.assets:
        first.setdefault(asset["mesh"], asset)
    assets = list(first.values())[:MAX_ROWS]
    # Assets run to the right where there are more of them than methods, so that the page stays flat.
    methods = list(results.methods)
    wide = len(assets) >= len(methods)
    across, down = (len(assets), len(methods)) if wide else (len(methods), len(assets))
    side = (WIDTH - 0.9) / across
    size = min(480, max(160, round(side * DOTS_PER_INCH)))
    looks = [MeshPictures(results.mesh(a["mesh"]), *VIEWS[0], size, background=WHITE) for a in assets]
    spans = [visible_rows(look) for look in looks]
    font = 6.5 if side > 0.7 else 5.2
    letters = int(72 * side / (0.6 * font))  # DejaVu Sans is about 0.6 of its size wide
    if wide:  # the pictures of a row belong to different meshes
        spans = [(min(top for top, _ in spans), max(bottom for _, bottom in spans))] * len(spans)
    heights = [bottom - top for top, bottom in spans]
    heights = heights[:1] * down if wide else heights
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(WIDTH, side * sum(heights) / size + 0.5),
        squeeze=False,
        height_ratios=heights,
    )
    for i, (asset, look, (top, bottom)) in enumerate(zip(assets, looks, spans, strict=True)):
        for j, method in enumerate(methods):
            axis = axes[j, i] if wide else axes[i, j]
            show(axis, _lit(results, look, method, asset), size)
            axis.set_ylim(bottom, top)
            if (j if wide else i) == 0:
                name = asset["prompt"] if wide else results.methods[method]
                axis.set_title(wrap(name, letters), fontsize=font)
            if (i if wide else j) == 0:
                name = results.methods[method] if wide else asset["prompt"]
                axis.set_ylabel(wrap(name, 17), rotation=0, ha="right", va="center", fontsize=7)
    figure.get_layout_engine().set(w_pad=0.005, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def visible_rows(look: MeshPictures, margin: int = 3) -> tuple[float, float]:
    """Rows of the first picture between which the mesh is seen, as limits of a vertical axis."""
    rows = look.mask[0].any(dim=1).nonzero().squeeze(1) // look.supersample
    top, bottom = int(rows.min()) - margin, int(rows.max()) + margin
    return max(top, 0) - 0.5, min(bottom, look.size - 1) + 0.5


def named(asset: dict, rank: str) -> str:
    """The prompt of an asset, with its rank where it has one."""
    return f"{asset['prompt']} ({rank})" if rank else asset["prompt"]


def before_after(method: str) -> Callable[[Results], Figure]:
    """The figure of one tuned method: two views and the texture, untuned and tuned.

    Three assets: those with the largest, the median and the smallest gain in the model's own reward, so that
    nobody picks the prettiest.
    """

    def draw(results: Results) -> Figure:
        if method not in results.tuned:
            raise NotDrawn(f"The method '{method}' has no tuned model, so there is no before and after.")
        chosen = typical_assets(results, method)
        figure, axes = plt.subplots(
            len(chosen), 6, figsize=(WIDTH, WIDTH / 6.4 * len(chosen) + 0.45), squeeze=False
        )
        sides = ((results.reference, "before"), (method, "after"))
        for line, (rank, asset, values) in zip(axes, chosen, strict=True):
            azimuths, elevations = zip(*VIEWS, strict=True)
            look = MeshPictures(results.mesh(asset["mesh"]), azimuths, elevations, SIZE, background=WHITE)
            mask = results.geometry(asset["mesh"]).atlas.mask
            for block, (name, word) in enumerate(sides):
                texture = results.texture(name, asset["asset"])
                cells = [*map(pixels, look(texture)), texture_pixels(texture, mask, 256)]
                for axis, cell in zip(line[3 * block : 3 * block + 3], cells, strict=True):
                    show(axis, cell)
                line[3 * block + 1].set_xlabel(f"{word}: {values[block]}", labelpad=2)
            line[0].set_ylabel(wrap(named(asset, rank), 15), rotation=0, ha="right", va="center", fontsize=7)
        names = ", ".join(results.label(metric) for metric in results.own_metrics(method))
        axes[0, 1].set_title(f"{results.methods[results.reference]}", fontsize=8)
        axes[0, 4].set_title(wrap(f"{results.methods[method]}, trained on {names}", 46), fontsize=8)
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
        return figure

    return draw


def typical_assets(
    results: Results, method: str, fit: Callable[[dict], bool] = lambda asset: True
) -> list[tuple[str, dict, tuple[str, str]]]:
    """(rank, asset, (score before, score after)) of the most, the median and the least improved asset.

    Of fewer than three assets all are given, by falling gain, without a rank (""). fit: which assets to
    consider; those that either method failed on are left out. Raises NotDrawn when none is left.
    """
    metric = results.own_metrics(method)[0]
    digits, found = results.metrics[metric]["decimals"], []
    for asset in results.assets:
        name = asset["asset"]
        if not (fit(asset) and results.done(method, name) and results.done(results.reference, name)):
            continue
        before = results.asset_score(results.reference, metric, name)
        after = results.asset_score(method, metric, name)
        gain = results.sign(metric) * (after - before)
        if not math.isnan(gain):
            found.append((gain, asset, (f"{before:.{digits}f}", f"{after:.{digits}f}")))
    if not found:
        raise NotDrawn(f"The method '{method}' and the reference have no suitable scored asset in common.")
    found.sort(key=lambda each: each[0])
    if len(found) < 3:
        return [("", asset, values) for _, asset, values in reversed(found)]
    places = {"largest gain": -1, "median change": len(found) // 2, "least gain": 0}
    return [(rank, *found[place][1:]) for rank, place in places.items()]


def show(axis, picture: np.ndarray | None, side: int = SIZE) -> None:
    """A picture [H, W, 3] uint8 without frame; None = a grey cell of `side` pixels that says so."""
    bare(axis)
    if picture is None:
        picture = np.full((side, side, 3), 238, dtype=np.uint8)
        axis.text(0.5, 0.5, "failed", ha="center", va="center", transform=axis.transAxes, style="italic")
    axis.imshow(picture)


def _lit(results: Results, look: MeshPictures, method: str, asset: dict) -> np.ndarray | None:
    if not results.done(method, asset["asset"]):
        return None
    return pixels(look(results.texture(method, asset["asset"]))[0])
