"""An image score, averaged over fixed cameras and backgrounds, as a reward of a textured mesh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rewards.base import ImageScore, Textured
from texgen import seeds
from texgen.diffusion.conditioning import Crop, object_crop
from texgen.kept import Kept
from texgen.mesh.mesh import Mesh
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.images import GeometryBuffer, geometry_buffer

RGB = tuple[float, float, float]
WHITE = (1.0, 1.0, 1.0)
GREY = (0.5, 0.5, 0.5)
REWARD_RIG = "tilted_short"


def bilinear(images: Tensor, size: int) -> Tensor:
    """[N, C, H, W] -> [N, C, size, size], bilinear between four pixels also when shrinking."""
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Jitter:
    """How far cameras and backgrounds move from their places in training, each uniformly.

    azimuth, elevation: degrees to either side. distance: share of the distance, to either side. background: 0
    = as given, 1 = any colour, between them a mixture of both. noise: standard deviation of Gaussian noise
    added to the judged pixels, as Nabla-R2D3 does (2e-3).
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 0.0
    background: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        limits = {"azimuth": 180, "elevation": 90, "distance": 0.9, "background": 1, "noise": 1}
        for field, high in limits.items():
            if not 0 <= getattr(self, field) <= high:
                raise ValueError(f"The jitter of {field} is {getattr(self, field)}; give 0 to {high}.")

    @property
    def moves_cameras(self) -> bool:
        return max(self.azimuth, self.elevation, self.distance) > 0

    def cameras(self, cameras: Cameras, random: torch.Generator) -> Cameras:
        """Cameras around the given ones; elevations stay within 89.9 degrees, where views have an up."""
        azimuth, elevation, distance = 2 * torch.rand(3, len(cameras), generator=random) - 1
        return replace(
            cameras,
            azimuth=cameras.azimuth + self.azimuth * azimuth.to(cameras.azimuth),
            elevation=(cameras.elevation + self.elevation * elevation.to(cameras.elevation)).clamp(
                -89.9, 89.9
            ),
            distance=cameras.distance * (1 + self.distance * distance.to(cameras.distance)),
        )

    def colour(self, colour: RGB, random: torch.Generator) -> RGB:
        """A background near the given one."""
        other = torch.rand(3, generator=random).tolist()
        pairs = zip(colour, other, strict=True)
        return tuple((1 - self.background) * a + self.background * b for a, b in pairs)


@dataclass(frozen=True)
class RenderSettings:
    """What a texture is rendered like before it is judged. size: pixels of a render; supersample: it is
    averaged from renders so many times larger. backgrounds: colours in [0, 1] behind each view.

    crop: judge the square around the object, its larger side enlarged by 1.1, scaled to `size` bilinearly;
    the whole frame where that square leaves it. judged_size: side to which renders are then scaled
    bilinearly, without averaging, before the score prepares them; None = not. The released code renders at
    1024, crops, and scales to the 224 pixels of its scorer. rasterizer: see `texgen.render.rasterize`.
    """

    size: int = 256
    backgrounds: tuple[RGB, ...] = (WHITE,)
    supersample: int = 1
    rasterizer: str = "warp"
    crop: bool = False
    judged_size: int | None = None

    def __post_init__(self) -> None:
        if not self.backgrounds:
            raise ValueError("RenderedReward needs at least one background colour.")


class RenderedReward:
    """R = mean over cameras v and backgrounds b of score(render(T, v, b), prompt).

    This is the paper's camera-pose-aware reward (arXiv 2506.18331). cameras default to its reward rig, which
    is not its generation rig. The cameras are fixed, so what they see of a mesh is computed once per mesh and
    kept for the last `cache` meshes (0 = keep nothing).

    jitter: moves cameras and backgrounds where `Textured.draw` says what for, i.e. in training; the same draw
    gives the same views. Measurements, without a draw, look from the cameras as they are. settings: those of
    `RenderSettings`.
    """

    def __init__(
        self,
        score: ImageScore,
        cameras: Cameras | None = None,
        jitter: Jitter | None = None,
        cache: int = 8,
        **settings: Any,
    ) -> None:
        self.score = score
        self.cameras = rig_cameras(REWARD_RIG) if cameras is None else cameras
        self.settings = RenderSettings(**settings)
        self.name = f"rendered_{score.name}"
        self.higher_is_better = score.higher_is_better
        self.typical_range = score.typical_range
        self.version = score.version
        self.jitter = Jitter() if jitter is None else jitter
        self._buffers = Kept(cache)

    def per_view(self, textured: Textured) -> Tensor:
        """Scores `[V, B]` float32, one per camera and background, before averaging."""
        cameras, buffer, random = self.cameras, None, None
        if textured.draw is not None:
            random = seeds.generator("render jitter", textured.mesh.shape_key(), *textured.draw)
        if random is not None and self.jitter.moves_cameras:
            cameras = self.jitter.cameras(cameras, random)
        else:
            buffer = self._buffer(textured.mesh, textured.texture)
        crops = self._crops(textured, cameras, buffer)
        columns = []
        for colour in self.settings.backgrounds:
            if random is not None:
                colour = self.jitter.colour(colour, random)
            images = textured.render(
                cameras,
                self.settings.size,
                colour,
                self.settings.supersample,
                buffer,
                self.settings.rasterizer,
            )
            images = self._judged(images, crops)
            if random is not None and self.jitter.noise > 0:
                images = images + self.jitter.noise * torch.randn(images.shape, generator=random).to(images)
            columns.append(self.score(images, [textured.prompt] * len(images)))
        return torch.stack(columns, dim=1)

    def _crops(self, textured: Textured, cameras: Cameras, buffer: GeometryBuffer | None) -> list[Crop]:
        """Per camera the square that is judged; none where the frame is."""
        if not self.settings.crop:
            return []
        if buffer is None:
            placed = textured.mesh.to(textured.texture.device, textured.texture.dtype)
            with torch.no_grad():
                cameras = cameras.to(textured.texture.device)
                buffer = geometry_buffer(placed, cameras, self.settings.size, self.settings.rasterizer)
        masks = F.max_pool2d(buffer.mask, buffer.mask.shape[-1] // self.settings.size)
        return [object_crop(mask[None]) for mask in masks]

    def _judged(self, images: Tensor, crops: list[Crop]) -> Tensor:
        """Renders [V, 3, size, size] as the score gets them."""
        if crops:
            parts = []
            for image, crop in zip(images, crops, strict=True):
                part = image[None, :, crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
                parts.append(bilinear(part, self.settings.size))
            images = torch.cat(parts)
        return images if self.settings.judged_size is None else bilinear(images, self.settings.judged_size)

    def __call__(self, textured: Textured) -> Tensor:
        """Mean score, a scalar float32."""
        return self.per_view(textured).mean()

    def _buffer(self, mesh: Mesh, texture: Tensor) -> GeometryBuffer:
        @torch.no_grad()
        def made() -> GeometryBuffer:
            placed = mesh.to(texture.device, texture.dtype)
            cameras = self.cameras.to(texture.device, texture.dtype)
            return geometry_buffer(
                placed, cameras, self.settings.size * self.settings.supersample, self.settings.rasterizer
            )

        return self._buffers.get((id(mesh), texture.device, texture.dtype), made, mesh)
