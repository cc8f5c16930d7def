"""Figures of many pictures: a teaser, a comparison in blocks, each reward's own views, the worst cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from report.figures.grids import named, show, typical_assets
from report.figures.overlays import MAX_RESIDUAL, draw_plane, plane_view
from report.pictures import WHITE, MeshPictures, pixels, texture_pixels
from report.results import Results
from report.style import WIDTH, NotDrawn, bare, wrap

SIZE = 224
FIVE_VIEWS = ((0.0, 10.0), (60.0, 10.0), (-60.0, 10.0), (180.0, 10.0), (0.0, 75.0))
BLOCK_VIEWS = {"side": (90.0, 10.0), "back": (180.0, 10.0), "top": (20.0, 70.0)}
FRONTAL = (0.0, 0.0)
MOST_METHODS, MOST_ASSETS, MOST_FRONTAL = 8, 3, 6
UNTUNED_KINDS = ("texgen", "intex")


def teaser(results: Results) -> Figure:
    """One object per reward, the one that gained most: small before, large after."""
    chosen = []
    for method in results.tuned:
        try:
            chosen.append((method, typical_assets(results, method)[0]))
        except NotDrawn:
            continue
    if not chosen:
        raise NotDrawn("No tuned model and the reference have a scored asset in common.")
    figure, axes = plt.subplots(
        2,
        len(chosen),
        figsize=(WIDTH, WIDTH / len(chosen) * 1.55 + 0.75),
        squeeze=False,
        height_ratios=(1, 2),
    )
    for column, (method, (_, asset, values)) in enumerate(chosen):
        look = MeshPictures(results.mesh(asset["mesh"]), 30.0, 20.0, 320, background=WHITE)
        for axis, name in zip(axes[:, column], (results.reference, method), strict=True):
            show(axis, pixels(look(results.texture(name, asset["asset"]))[0]))
        label = results.label(results.own_metrics(method)[0])
        letters = max(12, 90 // len(chosen))
        axes[0, column].set_title(wrap(f'"{asset["prompt"]}"', letters), fontsize=6.5)
        axes[1, column].set_xlabel(
            f"{wrap(results.methods[method], letters)}\n{label}: {values[0]} to {values[1]}", fontsize=6.5
        )
    axes[0, 0].set_ylabel("before")
    axes[1, 0].set_ylabel("after")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def comparison_blocks(results: Results) -> Figure:
    """Every method beside each tuned model, a block per reward: the asset of the median change from the side,
    from behind and from above; with the mirror plane in the block of symmetry."""
    tuned = [method for method in results.tuned if results.own_metrics(method)][:MOST_ASSETS]
    if not tuned:
        raise NotDrawn("No model was tuned in this run, so there is no reward to compare on.")
    others = [method for method in results.methods if method not in results.tuned][: MOST_METHODS - 1]
    rows, columns = 1 + len(others), len(BLOCK_VIEWS) * len(tuned)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, WIDTH / (columns + 1.2) * rows + 0.6), squeeze=False
    )
    azimuths, elevations = zip(*BLOCK_VIEWS.values(), strict=True)
    for block, method in enumerate(tuned):
        mirrored = method in results.tuned_on("symmetry")

        def fit(asset: dict, mirrored: bool = mirrored) -> bool:
            return not mirrored or results.geometry(asset["mesh"]).plane.residual <= MAX_RESIDUAL

        found = typical_assets(results, method, fit)
        _, asset, _ = found[min(1, len(found) - 1)]
        mesh = results.mesh(asset["mesh"])
        look = MeshPictures(mesh, azimuths, elevations, SIZE, background=WHITE)
        first = len(BLOCK_VIEWS) * block
        for row, name in enumerate((method, *others)):
            line = axes[row, first : first + len(BLOCK_VIEWS)]
            pictures = _pictures(results, look, name, asset)
            for axis, picture in zip(line, pictures, strict=True):
                show(axis, picture)
            if row == 0:
                for axis, word in zip(line, BLOCK_VIEWS, strict=True):
                    axis.set_xlabel(word, fontsize=6.5, labelpad=1)
                title = f'{results.methods[method]}\n"{asset["prompt"]}"'
                line[1].set_title("\n".join(wrap(each, 30) for each in title.split("\n")), fontsize=6.5)
        if mirrored:
            from_front = MeshPictures(mesh, *plane_view(results.geometry(asset["mesh"]).plane.normal), SIZE)
            for row, name in enumerate((method, *others)):
                axis = axes[row, first]
                if results.done(name, asset["asset"]):
                    axis.clear()
                    show(axis, pixels(from_front(results.texture(name, asset["asset"]))[0]))
                    draw_plane(axis, from_front, mesh, results.geometry(asset["mesh"]).plane)
    for row, name in enumerate(["Ours", *(results.methods[each] for each in others)]):
        axes[row, 0].set_ylabel(wrap(name, 14), rotation=0, ha="right", va="center", fontsize=7)
    figure.get_layout_engine().set(w_pad=0.005, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def symmetry_texture(results: Results) -> Figure:
    """Three views with the mirror plane, and the texture with the line in which the plane cuts it."""

    def symmetric(asset: dict) -> bool:
        return results.geometry(asset["mesh"]).plane.residual <= MAX_RESIDUAL

    method = _trained_on(results, "symmetry")
    _, asset, values = typical_assets(results, method, symmetric)[0]
    mesh, geometry = results.mesh(asset["mesh"]), results.geometry(asset["mesh"])
    azimuth, elevation = plane_view(geometry.plane.normal)
    figure, axes = plt.subplots(2, 4, figsize=(WIDTH, WIDTH / 2 + 0.4), squeeze=False)
    for line, name, word, value in zip(
        axes, (results.reference, method), ("before", "after"), values, strict=True
    ):
        texture = results.texture(name, asset["asset"])
        for axis, (turn, tilt) in zip(line, ((0, 0), (180, 0), (0, 45)), strict=False):
            look = MeshPictures(mesh, azimuth + turn, elevation + tilt, SIZE, background=WHITE)
            show(axis, pixels(look(texture)[0]))
            draw_plane(axis, look, mesh, geometry.plane)
        show(line[3], texture_pixels(texture, geometry.atlas.mask, texture.shape[-1]))
        draw_mirror_line(line[3], geometry)
        line[0].set_ylabel(f"{word}\n{value}", rotation=0, ha="right", va="center")
    axes[0, 3].set_title("texture, mirror line dashed", fontsize=7)
    label = results.label("symmetry" if "symmetry" in results.metrics else results.own_metrics(method)[0])
    figure.suptitle(f'{results.methods[method]}: "{asset["prompt"]}"; numbers: {label}', fontsize=8)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def draw_mirror_line(axis, geometry) -> None:
    """The mirror plane's cut with the surface, in the picture of a texture (v up): dashed."""
    plane, atlas = geometry.plane, geometry.atlas
    side = (atlas.position.double() @ plane.normal.double() - plane.offset).numpy()
    signed = np.where(atlas.mask[0].numpy() > 0, side, np.nan)[::-1]
    if not (np.nanmin(signed) < 0 < np.nanmax(signed)):
        return
    place = np.arange(signed.shape[0])
    axis.contour(place, place, signed, levels=[0.0], colors=["#1c1c1c"], linewidths=0.9, linestyles="--")
    axis.set_xlim(-0.5, signed.shape[1] - 0.5)
    axis.set_ylim(signed.shape[0] - 0.5, -0.5)


def alignment_views(results: Results) -> Figure:
    """Five views and the texture, before and after training on alignment."""
    return _five_views(results, "alignment")


def emphasis_views(results: Results) -> Figure:
    """Five views and the texture, before and after training on emphasis."""
    return _five_views(results, "emphasis")


def _five_views(results: Results, kind: str) -> Figure:
    method = _trained_on(results, kind)
    chosen = typical_assets(results, method)[:2]
    figure, axes = plt.subplots(
        2 * len(chosen), 6, figsize=(WIDTH, WIDTH / 6.6 * 2 * len(chosen) + 0.4), squeeze=False
    )
    azimuths, elevations = zip(*FIVE_VIEWS, strict=True)
    for k, (rank, asset, values) in enumerate(chosen):
        look = MeshPictures(results.mesh(asset["mesh"]), azimuths, elevations, SIZE, background=WHITE)
        mask = results.geometry(asset["mesh"]).atlas.mask
        for row, (name, word) in enumerate(((results.reference, "before"), (method, "after"))):
            texture = results.texture(name, asset["asset"])
            line = axes[2 * k + row]
            for axis, cell in zip(
                line, [*map(pixels, look(texture)), texture_pixels(texture, mask, 256)], strict=True
            ):
                show(axis, cell)
            line[0].set_ylabel(f"{word}\n{values[row]}", rotation=0, ha="right", va="center", fontsize=7)
        axes[2 * k, 2].set_title(wrap(named(asset, rank), 60), fontsize=7)
    label = results.label(results.own_metrics(method)[0])
    figure.suptitle(f"{results.methods[method]}; numbers: {label}", fontsize=8)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def camera_pose_views(results: Results) -> Figure:
    """Up to six objects from the front, before and after training cameras and model on renders.

    "Before" is the untuned generator from the cameras that training started from: a row of the table with the
    same rig where there is one, else the reference.
    """
    from report.figures.view_figures import reward_rig

    methods = [method for method in results.tuned if reward_rig(results, method) is not None]
    if not methods:
        raise NotDrawn("No model of this run was trained on renders, so there are no cameras to compare.")
    method = methods[0]
    before = starting_row(results, method)
    assets: dict[str, dict] = {}
    for asset in results.assets:
        if results.done(method, asset["asset"]) and results.done(before, asset["asset"]):
            assets.setdefault(asset["mesh"] if len(results.settings["meshes"]) > 2 else asset["asset"], asset)
    chosen = list(assets.values())[:MOST_FRONTAL]
    if not chosen:
        raise NotDrawn("No asset was textured both before and after training on renders.")
    figure, axes = plt.subplots(
        2, len(chosen), figsize=(WIDTH, 2 * WIDTH / max(len(chosen), 4) + 0.7), squeeze=False
    )
    metric = results.own_metrics(method)[0]
    digits = results.metrics[metric]["decimals"]
    for column, asset in enumerate(chosen):
        look = MeshPictures(results.mesh(asset["mesh"]), *FRONTAL, SIZE, background=WHITE)
        for row, name in enumerate((before, method)):
            show(axes[row, column], pixels(look(results.texture(name, asset["asset"]))[0]))
            value = results.asset_score(name, metric, asset["asset"])
            axes[row, column].set_xlabel(f"{value:.{digits}f}", fontsize=6.5, labelpad=1)
        axes[0, column].set_title(wrap(asset["prompt"], max(14, 84 // len(chosen))), fontsize=6.5)
    for row, name in enumerate((before, method)):
        word = ("before", "after")[row]
        text = f"{word}\n{wrap(results.methods[name], 13)}"
        axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7)
    figure.suptitle(f"from the front; numbers: {results.label(metric)}", fontsize=8)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0)
    return figure


def starting_row(results: Results, method: str) -> str:
    """The untuned row that paints from as many cameras as the tuned one and nearest to them, or the
    reference; the tuned model's own row is where its cameras ended."""

    def poses(name: str) -> list[tuple[float, float]]:
        for (row, _), run in results.runs.items():
            views = run.get("views") or []
            if row == name and views and all("azimuth" in view for view in views):
                return [(view["azimuth"], view["elevation"]) for view in views]
        return []

    ours = poses(method)

    def distance(name: str) -> float:
        theirs = poses(name)
        if not ours or len(theirs) != len(ours):
            return math.inf
        turns = [abs((a - b + 180) % 360 - 180) for (a, _), (b, _) in zip(ours, theirs, strict=True)]
        tilts = [abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True)]
        return sum(turns) + sum(tilts)

    kinds = {row: run.get("kind") for (row, _), run in results.runs.items()}
    rows = [row for row in results.methods if row not in results.tuned and kinds.get(row) == "texgen"]
    best = min(rows, key=distance, default=results.reference)
    return best if distance(best) < distance(results.reference) else results.reference


def failures(results: Results) -> Figure:
    """Per tuned model the asset with the least gain in its own reward, before and after: where it fails."""
    chosen = []
    for method in results.tuned:
        try:
            chosen.append((method, typical_assets(results, method)[-1]))
        except NotDrawn:
            continue
    if not chosen:
        raise NotDrawn("No tuned model and the reference have a scored asset in common.")
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure, axes = plt.subplots(
        rows, 4 * columns, figsize=(WIDTH, WIDTH / (4 * columns) * rows + 0.75 * rows), squeeze=False
    )
    for axis in axes.flat:
        bare(axis)
    views = ((30.0, 20.0), (210.0, 20.0))
    for k, (method, (_, asset, values)) in enumerate(chosen):
        line = axes[k // columns, 4 * (k % columns) : 4 * (k % columns) + 4]
        look = MeshPictures(results.mesh(asset["mesh"]), *zip(*views, strict=True), SIZE, background=WHITE)
        for side, name in enumerate((results.reference, method)):
            for axis, cell in zip(
                line[2 * side : 2 * side + 2], look(results.texture(name, asset["asset"])), strict=True
            ):
                show(axis, pixels(cell))
            line[2 * side].set_xlabel(f"{('before', 'after')[side]}: {values[side]}", fontsize=6, labelpad=1)
        label = results.label(results.own_metrics(method)[0])
        title = [wrap(results.methods[method], 34), wrap(f'"{asset["prompt"]}"', 34), label]
        line[0].set_title("\n".join(title), fontsize=6.5, loc="left")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
    return figure


def _pictures(results: Results, look: MeshPictures, method: str, asset: dict) -> Sequence[np.ndarray | None]:
    if not results.done(method, asset["asset"]):
        return [None] * len(look.cameras)
    return [pixels(each) for each in look(results.texture(method, asset["asset"]))]


def _trained_on(results: Results, kind: str) -> str:
    methods = results.tuned_on(kind)
    if not methods:
        raise NotDrawn(f"No method of this run was trained on {kind}, so there is no before and after.")
    return methods[0]
