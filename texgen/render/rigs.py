"""The camera lists of the papers, and ours, as (azimuth, elevation) in degrees. Imports no torch.

Azimuth 0 looks at the object from +z, azimuth 90 from +x; a positive elevation is above.
"""

from __future__ import annotations

from collections.abc import Sequence


def _from_published(
    elevations: Sequence[float], azimuths: Sequence[float]
) -> tuple[tuple[float, float], ...]:
    """(azimuth, elevation) pairs from a published list, where negative is above: the one conversion."""
    return tuple((float(a), 0.0 - e) for a, e in zip(azimuths, elevations, strict=True))


_TEXTURE_RING = (0.0, 45.0, 315.0, 90.0, 270.0, 135.0, 225.0, 180.0)
_AROUND = (0, 45, -45, 90, -90, 135, -135, 180)
_SIX = (0, 95, 135, 180, -135, -95)

RIGS: dict[str, tuple[tuple[float, float], ...]] = {
    # InTeX and the texture-tuning code of paper 2506.18331; the order is the order of painting.
    "default": _from_published((-15,) * 8 + (-89.9, 89.9, 45), _AROUND + (0, 0, 0)),
    "front": _from_published((0,) * 8 + (-89.9, 89.9, 45), _AROUND + (0, 0, 0)),
    "top": _from_published(
        (0, -45, 45, -89.9, 89.9, 0) + (0,) * 6, (0, 0, 0, 0, 0, 180, 45, -45, 90, -90, 135, -135)
    ),
    "side": _from_published(
        (0,) * 5 + (-45, 45, -89.9, 89.9, -45, 0), (0, 45, -45, 90, -90, 0, 0, 0, 0, 180, 180)
    ),
    "top_back": _from_published(
        (0, -45, -45, 0, 0, -89.9, 0, 0, 89.9, 0, 0), (0, 180, 0, 45, -45, 0, 90, -90, 0, 135, -135)
    ),
    "front_rabbit": _from_published((0,) * 7 + (-79.9, 89.9), (0, 45, -45, 90, -90, 135, -135, 0, 0)),
    "front_balloon": _from_published((0,) * 7 + (-79.9, 89.9), (0, 45, -45, 90, -90, 135, -135, 0, 0)),
    "front_balloon_asymmetric": _from_published((0,) * 6 + (-89.9, 89.9), (25, -75, 70, -90, 105, -95, 0, 0)),
    "top_balloon": _from_published(
        (0, -45, 45, -89.9, 89.9, 0) + (0,) * 4, (0, 0, 0, 0, 0, 180, 45, -45, 135, -135)
    ),
    "front_short": _from_published((0,) + (-35,) * 5, _SIX),
    "tilted_short": _from_published((0, -25, -25, -15, -25, -25), _SIX),
    "front_3view": _from_published((0, -15, -15), (0, 60, -60)),
    "front_4view": _from_published((0,) * 4, (0, 60, -60, 180)),
    "tilted_4view": _from_published((-25, -15, -25, -15), (0, 60, -60, 180)),
    "tilted": _from_published((-15, -35, -35, -35, -15), (60, 135, 180, -135, -60)),
    "tilted_2view": _from_published((0, 0), (90, -90)),
    # TEXTure; seen from the object, which its program lifts above the point that its cameras orbit.
    "texture": (*((a, 21.05) for a in _TEXTURE_RING), (180.0, 54.44), (180.0, -64.17)),
    # Text2Tex: generation, and the candidates of its refinement.
    "text2tex": (*((a, 15.0) for a in _TEXTURE_RING), (0.0, 90.0), (0.0, -90.0)),
    "text2tex_candidates": (
        *((a, 0.0) for a in (45.0, 315.0, 135.0, 225.0)),
        *((a, e) for e in (30.0, 60.0) for a in _TEXTURE_RING),
        *((a, e) for e in (15.0, 45.0) for a in (22.5, 337.5, 67.5, 292.5, 112.5, 247.5, 157.5, 202.5)),
    ),
    # Paint3D: three pairs, each painted as one picture.
    "paint3d": ((0.0, 21.05), (180.0, 21.05), (45.0, 21.05), (315.0, 21.05), (180.0, 54.44), (180.0, -64.17)),
    # SyncMVD: a ring, then two raised cameras.
    "syncmvd": (*((a, 0.0) for a in (-180.0, -135.0, -90.0, -45.0, 0.0, 45.0, 90.0, 135.0)),)
    + ((0.0, 30.0), (180.0, 30.0)),
    # The same methods with fewer views, for models that paint in seconds on one core.
    "text2tex_6": ((0.0, 15.0), (90.0, 15.0), (270.0, 15.0), (180.0, 15.0), (0.0, 90.0), (0.0, -90.0)),
    "syncmvd_6": (*((a, 0.0) for a in (-180.0, -90.0, 0.0, 90.0)), (0.0, 30.0), (180.0, 30.0)),
    # Ours, and in no list above: the cameras of every score (docs: evaluation protocol).
    "evaluation": tuple((22.5 + 45.0 * k, elevation) for elevation in (0.0, 30.0) for k in range(8)),
}

# Eye distances relative to the preset's, for rigs that do not keep one distance.
DISTANCES: dict[str, tuple[float, ...]] = {
    "texture": (1.0,) * 8 + (1.290 / 1.392, 1.721 / 1.392),
    "paint3d": (1.0,) * 4 + (1.290 / 1.392, 1.721 / 1.392),
}
