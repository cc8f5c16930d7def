"""Symmetry: do the two sides of a symmetric object carry mirrored colours?

Patches of surface are sampled by area on one side of the mesh's mirror plane; each has K points, and each
point a mirror image on the other side (`texgen.geometry.mirror_plane`). With a the colours of the points and
b those of the images, agreement is split into that of the patches' means (A_p, B_p, with weights W_p) and
that inside the patches, both as Lin's concordance (1989), 2 cov / (var + var + (difference of means)^2):
    layout = 1 - (sum_p W_p |A_p - B_p|^2 + floor) / (var A + var B + |mean A - mean B|^2 + floor)
    detail = 2 sum_p cov_p(a, b) / (sum_p var_p(a) + var_p(b) + floor)
Both are 1 for mirrored colours, near 0 for unrelated ones, 0 for a flat texture (with nothing to compare
nothing is symmetric); neither rises when the whole texture gains or loses contrast. The value is an error,
    E = 1 - (1 - w) layout - w detail,     0 = mirrored, 1 = unrelated or flat, 2 = opposite.
Patches are compared point by point on the surface, so the image of a patch is mirrored as it should be, and
charts, their cuts and their orientation do not matter.

The released form is the published code's: the plane of the smallest covariance eigenvector of the vertices,
vertices of its positive side against the closest points to their images, mean squared difference of patches
of 3x3 bilinear lookups, a texel apart, unmirrored. A vertex counts once for each uv that it has, since the
program reads meshes split along their seams. Here on right uv and only where both patches lie inside their
charts. It accepts any plane, and a flat texture is a perfect score.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rewards.base import NotApplicable, Textured
from rewards.geometric.per_mesh import GeometricReward, PerMesh, check_form, working
from rewards.geometric.surface import (
    Taps,
    bilinear_taps,
    inside_one_chart,
    least_painted,
    look_up,
    texel_surface,
)
from texgen.geometry.mirror_plane import ClosestPoints, MirrorPlane
from texgen.geometry.prepared import PreparedGeometry
from texgen.mesh.mesh import Mesh

FEWEST_POINTS = 4  # a patch with fewer points has no covariance to speak of
FEWEST_PAIRS = 0.25  # share of sampled points that must have a mirror image


class MirrorField(NamedTuple):
    """Lookups at N points and at their images, and the patch [N] int64 that each belongs to."""

    here: Taps
    there: Taps
    patch: Tensor


class ReleasedSymmetry(NamedTuple):
    """Lookups [9 N] of the patches that the released form compares, nine after nine, and [P] bool, which of
    the P pairs of `released_pairs` are among the N."""

    here: Taps
    there: Taps
    kept: Tensor


class Symmetry(GeometricReward):
    """Symmetry error of a texture, 0 to 2 (corrected) or 0 to 1 (released); see the module's text.

    max_residual: meshes whose mirror plane leaves more than this share of the bounding box's diagonal are not
    judged. detail: weight w of the detail inside patches against the layout of patches. min_contrast: floor,
    as a difference of colour; much fainter textures count as flat. All three belong to the corrected form.
    """

    name = "symmetry"
    higher_is_better = False

    def __init__(
        self,
        form: str = "corrected",
        max_residual: float = 0.01,
        detail: float = 0.5,
        min_contrast: float = 0.01,
        cache: int = 8,
    ) -> None:
        if not 0 <= detail <= 1:
            raise ValueError(f"detail is {detail}; it is a share, 0 to 1.")
        if min_contrast <= 0:
            raise ValueError("min_contrast must be positive: it keeps flat textures from being symmetric.")
        self.form = check_form(form)
        self.detail = detail
        self.floor = min_contrast**2
        self.version = f"1-{max_residual:g}-{detail:g}-{min_contrast:g}"
        self.typical_range = (0.0, 1.0)
        if form == "released":
            self.version = "2-released"
            self.typical_range = (0.0, 0.1)
            self._field = PerMesh(self.name, released_field, cache)
        else:
            self._field = PerMesh(self.name, lambda m, g: mirror_field(m, g, max_residual), cache)

    def __call__(self, textured: Textured) -> Tensor:
        """Scalar error. Raises NotApplicable for a mesh without mirror symmetry."""
        texture = working(textured.texture)
        painted = textured.painted.detach().to(texture.dtype)
        field = self._field(textured)
        if self.form == "released":
            return self._released(texture, painted, field)
        layout, detail = self.parts(texture, painted, field)
        return 1 - (1 - self.detail) * layout - self.detail * detail

    def parts(self, texture: Tensor, painted: Tensor, field: MirrorField) -> tuple[Tensor, Tensor]:
        """(layout, detail), each at most 1."""
        weight = torch.minimum(least_painted(painted, field.here), least_painted(painted, field.there))
        here, there = look_up(texture, field.here), look_up(texture, field.there)  # [3, N]
        count = int(field.patch.max()) + 1
        total = _by_patch(weight[None], field.patch, count)[0]
        share = (weight / total.clamp_min(1e-12)[field.patch])[None]
        mean_a, mean_b = (_by_patch(share * side, field.patch, count) for side in (here, there))
        a, b = here - mean_a[:, field.patch], there - mean_b[:, field.patch]
        covariance = (weight * a * b).sum()
        energy = (weight * (a * a + b * b)).sum() + self.floor * weight.sum()
        detail = 2 * covariance / energy.clamp_min(1e-30)

        w = total / total.sum().clamp_min(1e-12)
        centre_a, centre_b = ((w * side).sum(-1, keepdim=True) for side in (mean_a, mean_b))
        spread = w * ((mean_a - centre_a) ** 2 + (mean_b - centre_b) ** 2)
        scale = spread.sum() + ((centre_a - centre_b) ** 2).sum() + self.floor
        error = (w * (mean_a - mean_b) ** 2).sum() + self.floor
        return 1 - error / scale, detail

    @staticmethod
    def _released(texture: Tensor, painted: Tensor, field: ReleasedSymmetry) -> Tensor:
        cover = torch.minimum(least_painted(painted, field.here), least_painted(painted, field.there))
        weight = cover.reshape(-1, 9).amin(-1)
        difference = (look_up(texture, field.here) - look_up(texture, field.there)).square().mean(0)
        return (weight * difference.reshape(-1, 9).mean(-1)).sum() / weight.sum().clamp_min(1e-12)


def _by_patch(values: Tensor, patch: Tensor, count: int) -> Tensor:
    """Sums [C, count] of values [C, N] by their patch."""
    return values.new_zeros(len(values), count).index_add(1, patch, values)


def mirror_field(mesh: Mesh, geometry: PreparedGeometry, max_residual: float) -> MirrorField:
    """Lookups of all usable pairs, each lookup inside one chart."""
    plane, patches = geometry.plane, geometry.patches
    if plane.residual > max_residual:
        raise NotApplicable(
            f"Mesh {mesh.name!r}: its best mirror plane leaves {plane.residual:.4f} of the diagonal, more "
            f"than {max_residual:g}, so symmetry is not asked of it; raise max_residual to ask anyway."
        )
    size = geometry.atlas.face.shape[-1]
    chart = texel_surface(mesh, geometry).chart
    lookups = [bilinear_taps(uv.reshape(-1, 2), size) for uv in (patches.uv, patches.mirror_uv)]
    (here, found), (there, image_found) = (inside_one_chart(taps, chart) for taps in lookups)
    usable = patches.valid.reshape(-1) & found & image_found
    usable &= enough(usable.reshape(patches.valid.shape))
    if usable.float().mean() < FEWEST_PAIRS or not bool(usable.any()):
        raise NotApplicable(
            f"Mesh {mesh.name!r}: only {float(usable.float().mean()):.0%} of its surface points have a "
            f"mirror image in a chart at {size} texels, so symmetry cannot be judged; use a larger texture."
        )
    kept = usable.nonzero()[:, 0]
    _, patch = (kept // patches.valid.shape[1]).unique(return_inverse=True)
    return MirrorField(*(Taps(side.index[kept], side.weight[kept]) for side in (here, there)), patch)


def enough(usable: Tensor) -> Tensor:
    """[P * K] bool: the point's patch has at least FEWEST_POINTS usable points, from usable [P, K]."""
    return (usable.sum(-1, keepdim=True) >= FEWEST_POINTS).expand_as(usable).reshape(-1)


def released_points(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Positions [N, 3] and uvs [N, 2], float64, of the vertices, each once for each of its uvs."""
    # One uv under two numbers is one uv, hence numbers by value.
    uvs, number = mesh.uvs.double().unique(dim=0, return_inverse=True)
    corners = torch.stack([mesh.faces.reshape(-1), number[mesh.uv_faces.reshape(-1)]], -1).unique(dim=0)
    return mesh.vertices.double()[corners[:, 0]], uvs[corners[:, 1]]


def released_plane(mesh: Mesh) -> tuple[Tensor, float]:
    """Normal [3] and offset of the published plane: centroid, smallest eigenvector of `released_points`."""
    points, _ = released_points(mesh)
    centre = points.mean(dim=0)
    normal = torch.linalg.eigh((points - centre).T @ (points - centre))[1][:, 0]
    return normal, float(normal @ centre)


def released_pairs(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """uvs [P, 2] of the vertices on the positive side and of the surface points closest to their images."""
    points, uvs = released_points(mesh)
    normal, offset = released_plane(mesh)
    side = points @ normal > offset
    surface = ClosestPoints(mesh)
    image = MirrorPlane(normal, offset, 0.0).mirror(points)[side].numpy()
    _, face, closest = surface.closest(image)
    return uvs[side], surface.uv(face, closest).double()


def released_field(mesh: Mesh, geometry: PreparedGeometry) -> ReleasedSymmetry:
    """Lookups of 3 x 3 places, a texel apart, around the pairs whose patches both lie inside one chart."""
    size = geometry.atlas.face.shape[-1]
    # Row by row, or column by column: both patches of a pair are in the same order.
    step = torch.tensor([(j, i) for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=torch.float64) / size
    chart = texel_surface(mesh, geometry).chart.reshape(-1)
    lookups, kept = [], None
    for uv in released_pairs(mesh):
        taps = bilinear_taps((uv[:, None] + step).reshape(-1, 2), size)
        charts = chart[taps.index].reshape(len(uv), -1)
        whole = ((charts == charts[:, :1]) & (charts >= 0)).all(-1)
        kept = whole if kept is None else kept & whole
        lookups.append(taps)
    if not bool(kept.any()):
        raise NotApplicable(
            f"Mesh {mesh.name!r}: no vertex and its mirror image both lie inside a chart, so the released "
            "symmetry cannot be judged; use a larger texture or the corrected form."
        )
    nine = kept.repeat_interleave(9)
    here, there = (Taps(taps.index[nine], taps.weight[nine]) for taps in lookups)
    return ReleasedSymmetry(here, there, kept)
