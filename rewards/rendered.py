"""An image score, averaged over fixed cameras and backgrounds, as a reward of a textured mesh."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from rewards.base import ImageScore, Textured
from texgen.cameras import Cameras, rig_cameras
from texgen.mesh import Mesh
from texgen.render import GeometryBuffer, geometry_buffer

WHITE = (1.0, 1.0, 1.0)
GREY = (0.5, 0.5, 0.5)
REWARD_RIG = "tilted_short"


class RenderedReward:
    """R = mean over cameras v and backgrounds b of score(render(T, v, b), prompt).

    This is the paper's camera-pose-aware reward (arXiv 2506.18331). cameras default to its reward rig, which
    is not its generation rig. The cameras are fixed, so what they see of a mesh is computed once per mesh and
    kept for the last `cache` meshes (0 = keep nothing).
    """

    def __init__(
        self,
        score: ImageScore,
        cameras: Cameras | None = None,
        size: int = 256,
        backgrounds: tuple[tuple[float, float, float], ...] = (WHITE,),
        supersample: int = 1,
        cache: int = 8,
    ) -> None:
        if not backgrounds:
            raise ValueError("RenderedReward needs at least one background colour.")
        self.score = score
        self.cameras = rig_cameras(REWARD_RIG) if cameras is None else cameras
        self.size = size
        self.backgrounds = tuple(backgrounds)
        self.supersample = supersample
        self.name = f"rendered_{score.name}"
        self.higher_is_better = score.higher_is_better
        self.typical_range = score.typical_range
        self.version = score.version
        self._cache = cache
        self._buffers: OrderedDict[tuple, tuple[Mesh, GeometryBuffer]] = OrderedDict()

    def per_view(self, textured: Textured) -> Tensor:
        """Scores `[V, B]` float32, one per camera and background, before averaging."""
        buffer = self._buffer(textured.mesh, textured.texture)
        columns = []
        for colour in self.backgrounds:
            images = textured.render(self.cameras, self.size, colour, self.supersample, buffer)
            columns.append(self.score(images, [textured.prompt] * len(images)))
        return torch.stack(columns, dim=1)

    def __call__(self, textured: Textured) -> Tensor:
        """Mean score, a scalar float32."""
        return self.per_view(textured).mean()

    def _buffer(self, mesh: Mesh, texture: Tensor) -> GeometryBuffer:
        # The mesh stays in the entry, so its id cannot be given to another mesh while the entry lives.
        key = (id(mesh), texture.device, texture.dtype)
        if key in self._buffers:
            self._buffers.move_to_end(key)
            return self._buffers[key][1]
        placed = mesh.to(texture.device, texture.dtype)
        cameras = self.cameras.to(texture.device, texture.dtype)
        with torch.no_grad():
            buffer = geometry_buffer(placed, cameras, self.size * self.supersample)
        if self._cache > 0:
            self._buffers[key] = (mesh, buffer)
            while len(self._buffers) > self._cache:
                self._buffers.popitem(last=False)
        return buffer
