"""The two shapes of a reward, and the object that a texture reward judges.

An *image score* maps images to one number per image; a *texture reward* maps a textured mesh to one number.
`rewards.rendered.RenderedReward` turns the first into the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from texgen.render import render as render_mesh

if TYPE_CHECKING:
    from texgen.cameras import Cameras
    from texgen.geometry.uv_frames import PreparedGeometry
    from texgen.mesh import Mesh
    from texgen.render import GeometryBuffer


@runtime_checkable
class ImageScore(Protocol):
    """Score of images. Weights are frozen and in eval mode, the call is differentiable in `images`."""

    name: str
    higher_is_better: bool
    typical_range: tuple[float, float]
    version: str

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> `[B]` float32; image b is judged with prompt b only."""
        ...


@runtime_checkable
class TextureReward(Protocol):
    """Reward of one textured mesh, differentiable in its texture."""

    name: str
    higher_is_better: bool
    typical_range: tuple[float, float]
    version: str

    def __call__(self, textured: Textured) -> Tensor:
        """One scalar tensor, float32."""
        ...


@dataclass(frozen=True, eq=False)
class Textured:
    """A mesh with its texture, as rewards see it.

    texture: `[3, T, T]` in [0, 1], filled and padded; painted: `[1, T, T]` in [0, 1], what the views covered
    before filling; geometry: the prepared uv fields of the mesh, or None where only renders are judged.
    """

    mesh: Mesh
    texture: Tensor
    painted: Tensor
    prompt: str
    geometry: PreparedGeometry | None = None

    def render(
        self,
        cameras: Cameras,
        size: int,
        background: tuple[float, float, float] | Tensor = (1.0, 1.0, 1.0),
        supersample: int = 1,
        buffer: GeometryBuffer | None = None,
    ) -> Tensor:
        """Images `[N, 3, size, size]` over the background colour, differentiable in the texture.

        buffer: the geometry buffer of these cameras at `supersample * size`, when the caller keeps one.
        """
        mesh = self.mesh.to(self.texture.device, self.texture.dtype)
        images, _ = render_mesh(mesh, self.texture, cameras, size, background, supersample, buffer)
        return images


class TrainingItem(Protocol):
    """What a trainer hands back with a texture: the fields that `Textured` needs."""

    mesh: Mesh
    geometry: PreparedGeometry | None
    prompt: str


def training_reward(reward: TextureReward) -> Callable[[Tensor, Tensor, TrainingItem], Tensor]:
    """Adapter for `texgen.finetune`, which knows nothing of rewards: `(texture, painted, item) -> scalar`.

    The result is always to be maximised: a reward for which lower is better changes its sign here.
    """
    sign = 1.0 if reward.higher_is_better else -1.0

    def judge(texture: Tensor, painted: Tensor, item: TrainingItem) -> Tensor:
        textured = Textured(item.mesh, texture, painted, item.prompt, item.geometry)
        return sign * reward(textured)

    judge.__name__ = reward.name
    return judge
