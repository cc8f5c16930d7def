"""The renders that image metrics judge, made once for all metrics of a job."""

from __future__ import annotations

import json

from torch import Tensor

from rewards.base import Textured
from texgen.render.cameras import rig_cameras
from texgen.render.images import GeometryBuffer, geometry_buffer
from workflow.jobs.jobs import Protocol


class Renders:
    """Renders of textured meshes by protocol, in 8 bits, to which every image score rounds them first.

    Kept in main memory up to `limit` bytes; what finds no place is rendered for every metric anew. The
    geometry of the last mesh is kept beside them.
    """

    def __init__(self, limit: int = 2 * 2**30) -> None:
        self.limit = limit
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._bytes = 0
        self._buffer: tuple[str, GeometryBuffer] | None = None

    def of(self, textured: Textured, asset: str, protocol: Protocol) -> dict[str, Tensor]:
        """Background -> images ``[N, 3, size, size]`` uint8 from the N cameras of the protocol's rig.

        asset: name of the textured mesh; one name always means one texture.
        """
        key = json.dumps([asset, protocol.model_dump()], sort_keys=True)
        if key in self._kept:
            return self._kept[key]
        cameras = rig_cameras(protocol.rig).to(textured.texture.device, textured.texture.dtype)
        size, supersample = protocol.size, protocol.supersample
        place = json.dumps([textured.mesh.name, protocol.rig, size * supersample])
        if self._buffer is None or self._buffer[0] != place:
            self._buffer = None  # two at a time may not fit
            self._buffer = (
                place,
                geometry_buffer(textured.mesh, cameras, size * supersample, protocol.rasterizer),
            )
        images = {
            name: in_bytes(textured.render(cameras, size, tuple(colour), supersample, self._buffer[1]))
            for name, colour in protocol.backgrounds.items()
        }
        needed = sum(each.numel() for each in images.values())
        if self._bytes + needed <= self.limit:
            self._bytes += needed
            self._kept[key] = images
        return images


def in_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1], clamped and rounded to uint8, in main memory."""
    return (images.float().clamp(0, 1) * 255).round().byte().cpu()
