"""Fill the texels that no view painted.

Both operators are one index gather: every texel copies exactly one painted texel, so gradients flow back to
the texel that was copied, and the index depends only on what is painted, never on colours.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor

from texgen.backprojection.nearest import inside_of, nearest_point, nearest_texel
from texgen.render.atlas import Atlas


def dilate_nearest(texture: Tensor, mask: Tensor, max_distance: float | None = None) -> Tensor:
    """Copy to every texel outside `mask` the colour of the nearest texel inside it, nearest in the texture
    plane.

    texture: [C, T, T]. mask: [1, T, T], inside where > 0.5. max_distance: in texels; texels farther from
    the mask keep their own colour (None = no limit). Differentiable in `texture`. Raises ValueError when
    the mask is empty.
    """
    return _take(texture, padding_index(mask, max_distance))


def fill_uncovered(texture: Tensor, painted: Tensor, atlas: Atlas) -> Tensor:
    """Fill unpainted chart texels from the nearest painted texel on the surface, then pad the charts'
    outside.

    "On the surface" means by distance between 3D surface points: a texel beside a chart border takes its
    colour from across the seam when that is nearer, where a fill in the texture plane would take it from a
    far place of the same chart, or from another chart. Only painted texels at the border of what is painted
    (or of a chart) are sources: a texel amid painted ones can be nearest only through the object or through
    the air, not along the surface.

    texture: [C, T, T]. painted: [1, T, T], painted where > 0. atlas: of the same size; painted texels off
    its charts are overwritten by the padding. Returns [C, T, T]. Differentiable in `texture`.
    Raises ValueError when no chart texel is painted.
    """
    return _take(texture, fill_index(painted, atlas))


def padding_index(mask: Tensor, max_distance: float | None = None) -> Tensor:
    """[T, T] int64: the flat index of the nearest texel inside `mask` [1, T, T] (its own index inside the
    mask).
    """
    chosen = mask[0] > 0.5
    if not bool(chosen.any()):
        raise ValueError("There is nothing to dilate: the mask has no texel above 0.5.")
    if mask.is_cuda:
        return _padding_index_on_device(chosen, max_distance)
    inside = chosen.numpy()
    distance, (row, column) = distance_transform_edt(~inside, return_indices=True)
    index = row.astype(np.int64) * inside.shape[1] + column
    if max_distance is not None:
        own = np.arange(inside.size, dtype=np.int64).reshape(inside.shape)
        index = np.where(distance <= max_distance, index, own)
    return torch.from_numpy(index)


def _padding_index_on_device(inside: Tensor, max_distance: float | None) -> Tensor:
    """`padding_index` where the mask is; [T, T] bool -> [T, T] int64."""
    index, squared = nearest_texel(inside)
    if max_distance is None:
        return index
    own = torch.arange(index.numel(), device=index.device).reshape(index.shape)
    return torch.where(squared <= max_distance**2, index, own)


def fill_index(painted: Tensor, atlas: Atlas) -> Tensor:
    """[T, T] int64: for every texel, the flat index of the painted chart texel that `fill_uncovered`
    copies.

    It depends on the geometry and the coverage alone, so that a caller may compute it once and gather many
    times.
    """
    if painted.shape[-2:] != atlas.mask.shape[-2:]:
        raise ValueError(
            f"painted is {tuple(painted.shape[-2:])} but the atlas is {tuple(atlas.mask.shape[-2:])}; "
            "build the atlas at the texture's size."
        )
    on_chart = (atlas.mask[0] > 0.5).to(painted.device)
    chosen = on_chart & (painted.detach()[0] > 0)
    if not bool(chosen.any()):
        raise ValueError("No texel on the mesh's charts is painted, so there is no colour to fill from.")
    if painted.is_cuda:
        return _fill_index_on_device(on_chart, chosen, atlas.position.to(painted.device))
    chart, known = on_chart.reshape(-1).numpy(), chosen.reshape(-1).numpy()
    source = np.arange(chart.size, dtype=np.int64)
    missing = chart & ~known
    if missing.any():
        border = known & ~_inside_of(known.reshape(atlas.mask.shape[-2:])).reshape(-1)
        points = atlas.position.detach().reshape(-1, 3).cpu().numpy().astype(np.float64)
        _, nearest = cKDTree(points[border]).query(points[missing], workers=torch.get_num_threads())
        source[missing] = np.flatnonzero(border)[nearest]
    return torch.from_numpy(source)[padding_index(atlas.mask.to(painted.device))]


def _fill_index_on_device(chart: Tensor, known: Tensor, position: Tensor) -> Tensor:
    """`fill_index` where the tensors are. chart, known: [T, T] bool. position: [T, T, 3]."""
    source = torch.arange(chart.numel(), device=chart.device)
    missing = torch.nonzero((chart & ~known).reshape(-1)).squeeze(-1)
    if len(missing):
        border = torch.nonzero((known & ~inside_of(known)).reshape(-1)).squeeze(-1)
        points = position.detach().reshape(-1, 3)
        source[missing] = border[nearest_point(points[border], points[missing])]
    return source[_padding_index_on_device(chart, None)]


def _inside_of(known: np.ndarray) -> np.ndarray:
    """[T, T] bool: texels all of whose eight neighbours are known; the texture's edge has none beyond
    it.
    """
    return binary_erosion(known, structure=np.ones((3, 3)), border_value=0)


def _take(texture: Tensor, index: Tensor) -> Tensor:
    return texture.flatten(1).index_select(1, index.reshape(-1)).reshape(texture.shape)
