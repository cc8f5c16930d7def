"""Figures of one reward's own quantity on the surface: symmetry, alignment, emphasis, before and after."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from torch import Tensor

from report.figures.grids import named, show, typical_assets, visible_rows
from report.figures.strokes import Strokes, luma
from report.pictures import WHITE, MeshPictures, pixels
from report.results import Results
from report.style import WIDTH, NotDrawn, bare, wrap
from texgen.backprojection.fill import dilate_nearest
from texgen.mesh.mesh import Mesh, face_cross

SIZE = 320
CURVATURE, GRADIENT = "#0072B2", "#D55E00"
GREY = 0.62
MAX_RESIDUAL = 0.02
"""Largest residual of `texgen.geometry.mirror_plane` at which a mesh counts as symmetric."""
FAINT = 0.01
"""Least difference of colour, in [0, 1], that mirror errors are a share of."""


def symmetry(results: Results) -> Figure:
    """Picture with its mirror plane and mirror error on the surface, before and after."""

    def symmetric(asset: dict) -> bool:
        return results.geometry(asset["mesh"]).plane.residual <= MAX_RESIDUAL

    method, chosen = _chosen(results, "symmetry", symmetric)
    figure, axes = plt.subplots(
        len(chosen), 4, figsize=(WIDTH, WIDTH / 4.5 * len(chosen) + 0.6), squeeze=False
    )
    shown = None
    for line, (rank, asset, values) in zip(axes, chosen, strict=True):
        mesh, geometry = results.mesh(asset["mesh"]), results.geometry(asset["mesh"])
        look = MeshPictures(mesh, *plane_view(geometry.plane.normal), SIZE, background=WHITE)
        for side, name in enumerate((results.reference, method)):
            texture = results.texture(name, asset["asset"])
            show(line[2 * side], pixels(look(texture)[0]))
            draw_plane(line[2 * side], look, mesh, geometry.plane)
            error, known = mirror_error(texture, geometry.atlas, geometry.plane)
            shown = heat(line[2 * side + 1], look, error, known, geometry.atlas.mask, "magma_r")
            word = ("before", "after")[side]
            line[2 * side].set_xlabel(f"{word}: {values[side]}", labelpad=2)
        _name(line[0], asset, rank)
    _titles(axes, results, method, 2)
    _bar(figure, axes, shown, "difference to the mirror image; 1 = of unrelated points", extend="max")
    return figure


def plane_view(normal: Tensor) -> tuple[float, float]:
    """(azimuth, elevation) that look along a mirror plane, a little to its side, from the front half."""
    x, y, z = (float(value) for value in normal)
    if abs(y) > 0.8:  # a plane that lies flat
        return 30.0, 12.0
    across = math.degrees(math.atan2(x, z))
    along = min((across + 90, across - 90), key=lambda angle: abs((angle + 180) % 360 - 180))
    return along + 24.0, 15.0


def mirror_error(texture: Tensor, atlas, plane, reach: float = 0.03) -> tuple[Tensor, Tensor]:
    """Difference of every texel to its mirror image, [1, T, T], and where it is known.

    Root mean square over RGB, as a share of what two unrelated texels of this texture would differ by,
    sqrt(2) times its standard deviation: like the symmetry error, 0 = mirrored and 1 = unrelated on average,
    so that neither a paler nor a stronger texture looks more symmetric. Textures fainter than FAINT count as
    that strong. The mirror image is the nearest texel of the atlas, no farther than `reach` (working units).
    """
    inside = (atlas.mask[0] > 0).reshape(-1)
    points = atlas.position.reshape(-1, 3)[inside]
    distance, nearest = cKDTree(points.numpy()).query(plane.mirror(points).numpy())
    colours = texture.reshape(3, -1)[:, inside]
    difference = (colours - colours[:, torch.from_numpy(nearest)]).square().mean(dim=0).sqrt()
    unrelated = (2 * colours.var(dim=1, correction=0).mean()).sqrt().clamp_min(FAINT)
    error, known = torch.zeros(2, inside.numel())
    error[inside] = difference / unrelated
    known[inside] = torch.from_numpy(distance <= reach).float()
    return error.reshape(atlas.mask.shape), known.reshape(atlas.mask.shape)


def draw_plane(axis, look: MeshPictures, mesh: Mesh, plane) -> None:
    """The mirror plane as a translucent sheet, and its cut with the surface as a dashed line."""
    position = look.buffer.position[0]
    side = (position @ plane.normal.to(position) - plane.offset).numpy()
    signed = np.where(look.mask[0].numpy(), side, np.nan)
    extent = (np.arange(signed.shape[0]) + 0.5) / look.supersample - 0.5
    axis.contour(extent, extent, signed, levels=[0.0], colors=["#1c1c1c"], linewidths=1.0, linestyles="--")
    normal = plane.normal.float()
    helper = torch.tensor([0.0, 1.0, 0.0]) if abs(float(normal[1])) < 0.8 else torch.tensor([0.0, 0.0, 1.0])
    first = helper - (helper @ normal) * normal
    first = first / first.norm()
    second = torch.linalg.cross(normal, first)
    reach = [1.12 * float((mesh.vertices @ d).abs().max()) for d in (first, second)]
    corners = [normal * plane.offset + a * reach[0] * first + b * reach[1] * second for a, b in _SQUARE]
    x, y = look.project(torch.stack(corners))
    axis.fill(x, y, facecolor=CURVATURE, alpha=0.13, edgecolor=CURVATURE, linewidth=0.6, clip_on=True)
    axis.set_xlim(-0.5, look.size - 0.5)
    axis.set_ylim(look.size - 0.5, -0.5)


_SQUARE = ((-1, -1), (-1, 1), (1, 1), (1, -1))


def alignment(results: Results) -> Figure:
    """Directions of minimum curvature and of the texture's gradient as strokes on the surface."""
    method, chosen = _chosen(results, "alignment")
    looks = [MeshPictures(results.mesh(a["mesh"]), 30.0, 20.0, SIZE, background=WHITE) for _, a, _ in chosen]
    spans = [visible_rows(look) for look in looks]
    heights = [bottom - top for top, bottom in spans]
    figure, axes = plt.subplots(
        len(chosen),
        3,
        figsize=(WIDTH, WIDTH / 3.35 * sum(heights) / SIZE + 0.22 * len(chosen) + 0.5),
        squeeze=False,
        height_ratios=heights,
    )
    for line, look, span, (rank, asset, values) in zip(axes, looks, spans, chosen, strict=True):
        mesh, geometry = results.mesh(asset["mesh"]), results.geometry(asset["mesh"])
        size = geometry.atlas.mask.shape[-1]
        show(line[0], pixels(look(torch.full((3, size, size), 0.86))[0]))
        strokes = Strokes(look, mesh, step=11)
        lengths = strokes.anisotropy(geometry)
        curvature = strokes.curvature(geometry)
        strokes.draw(line[0], curvature, lengths, CURVATURE)
        for axis, name, value, word in zip(
            line[1:], (results.reference, method), values, ("before", "after"), strict=True
        ):
            texture = results.texture(name, asset["asset"])
            faded = 0.6 * texture + 0.4
            show(axis, pixels(look(faded)[0]))
            strokes.draw(axis, curvature, lengths, CURVATURE)
            direction, strength = strokes.gradient(texture)
            strokes.draw(axis, direction, strength, GRADIENT)
            axis.set_xlabel(f"{word}: {value}", labelpad=2)
        for axis in line:
            axis.set_ylim(span[1], span[0])
        _name(line[0], asset, rank)
    axes[0, 0].set_title("minimum curvature")
    axes[0, 1].set_title(wrap(results.methods[results.reference], 36))
    axes[0, 2].set_title(wrap(results.methods[method], 36))
    handles = [
        plt.Line2D([], [], color=CURVATURE, label="minimum curvature, longer where it is clearer"),
        plt.Line2D([], [], color=GRADIENT, label="texture gradient, longer where it is stronger"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def emphasis(results: Results) -> Figure:
    """Curvature and the local contrast of the texture on the surface, before and after."""
    method, chosen = _chosen(results, "emphasis")
    figure, axes = plt.subplots(
        len(chosen), 5, figsize=(WIDTH, WIDTH / 5.6 * len(chosen) + 0.8), squeeze=False
    )
    left = right = None
    for line, (rank, asset, values) in zip(axes, chosen, strict=True):
        mesh, geometry = results.mesh(asset["mesh"]), results.geometry(asset["mesh"])
        look = MeshPictures(mesh, 30.0, 20.0, SIZE, background=WHITE)
        mask = geometry.atlas.mask
        bent = geometry.mean_curvature.abs()
        top = float(torch.quantile(bent[mask > 0][::7], 0.95))
        left = heat(line[0], look, bent / max(top, 1e-9), mask, mask, "viridis")
        for side, name in enumerate((results.reference, method)):
            texture = results.texture(name, asset["asset"])
            show(line[1 + 2 * side], pixels(look(texture)[0]))
            contrast = local_contrast(texture, mesh, geometry.atlas)
            scale = max(float(torch.quantile(contrast[mask > 0][::7], 0.95)), 1e-9)
            right = heat(line[2 + 2 * side], look, contrast / scale, mask, mask, "inferno")
            line[1 + 2 * side].set_xlabel(f"{('before', 'after')[side]}: {values[side]}", labelpad=2)
        _name(line[0], asset, rank)
    axes[0, 0].set_title("|mean curvature|")
    axes[0, 1].set_title(wrap(results.methods[results.reference], 20))
    axes[0, 3].set_title(wrap(results.methods[method], 20))
    for column in (2, 4):
        axes[0, column].set_title("local contrast")
    _bar(figure, axes[:, :1], left, "of the 95 % quantile", extend="max", shrink=0.9)
    _bar(figure, axes[:, 1:], right, "standard deviation of luma, of its own 95 % quantile", extend="max")
    return figure


def local_contrast(texture: Tensor, mesh: Mesh, atlas, radius: float = 0.06) -> Tensor:
    """[1, T, T]: standard deviation of luma in a Gaussian window of about `radius` working units.

    The window lies in the texture plane and stops at the charts' borders.
    """
    inside = atlas.mask[0].numpy()
    area = float(face_cross(mesh.vertices, mesh.faces).norm(dim=-1).sum()) / 2
    sigma = radius / math.sqrt(area / max(inside.sum(), 1.0))
    weight = np.maximum(gaussian_filter(inside, sigma), 1e-6)
    values = luma(texture).numpy()
    mean = gaussian_filter(values * inside, sigma) / weight
    square = gaussian_filter(values * values * inside, sigma) / weight
    deviation = np.sqrt(np.maximum(square - mean * mean, 0)) * inside
    return torch.from_numpy(deviation.astype(np.float32))[None]


def heat(axis, look: MeshPictures, field: Tensor, known: Tensor, mask: Tensor, cmap: str):
    """A field [1, T, T] in [0, 1] on the surface in colours, grey where it is unknown; returns a mappable."""
    scale = plt.cm.ScalarMappable(plt.Normalize(0, 1), cmap)
    padded = dilate_nearest(torch.cat((field, known)), mask)
    values, seen = look.at_pixels(padded).unbind(dim=-1)
    colours = torch.from_numpy(scale.to_rgba(values.numpy())[:, :3].astype(np.float32))
    colours = torch.where(seen[:, None] > 0.5, colours, torch.full_like(colours, GREY))
    show(axis, pixels(look.spread(0.85 * colours + 0.15 * look.light[:, None] * colours, lit=False)[0]))
    return scale


def _chosen(results: Results, kind: str, fit=lambda asset: True) -> tuple[str, list]:
    """The first method trained on a kind of reward; its most and median improved assets."""
    methods = results.tuned_on(kind)
    if not methods:
        raise NotDrawn(f"No method of this run was trained on {kind}, so there is no before and after.")
    return methods[0], typical_assets(results, methods[0], fit)[:2]


def _name(axis, asset: dict, rank: str) -> None:
    bare(axis)
    axis.set_ylabel(wrap(named(asset, rank), 14), rotation=0, ha="right", va="center")


def _titles(axes, results: Results, method: str, step: int) -> None:
    axes[0, 0].set_title(wrap(results.methods[results.reference], 26))
    axes[0, step].set_title(wrap(results.methods[method], 26))
    axes[0, 1].set_title("mirror error")
    axes[0, step + 1].set_title("mirror error")


def _bar(figure: Figure, axes, mappable, label: str, extend: str, shrink: float = 0.4) -> None:
    bar = figure.colorbar(
        mappable, ax=axes, location="bottom", shrink=shrink, aspect=30, pad=0.02, extend=extend
    )
    bar.set_label(label)
    bar.outline.set_visible(False)
