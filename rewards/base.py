"""The two shapes of a reward, and the object that a texture reward judges.

An *image score* maps images to one number per image; a *texture reward* maps a textured mesh to one number.
`rewards.rendered.RenderedReward` turns the first into the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from texgen.errors import PlainError
from texgen.render.images import render as render_mesh
from texgen.render.images import render_buffer

if TYPE_CHECKING:
    from texgen.geometry.prepared import PreparedGeometry
    from texgen.mesh.mesh import Mesh
    from texgen.render.cameras import Cameras
    from texgen.render.images import GeometryBuffer


class NotApplicable(PlainError):
    """A reward that has no meaning for a mesh, such as symmetry of a spring; the message says why."""


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
    draw: what the random parts of a reward (jittered cameras, backgrounds) are drawn for; None = they stay at
    their centres, as in every measurement.
    """

    mesh: Mesh
    texture: Tensor
    painted: Tensor
    prompt: str
    geometry: PreparedGeometry | None = None
    draw: tuple[object, ...] | None = None

    def render(
        self,
        cameras: Cameras,
        size: int,
        background: tuple[float, float, float] | Tensor = (1.0, 1.0, 1.0),
        supersample: int = 1,
        buffer: GeometryBuffer | None = None,
        rasterizer: str = "warp",
    ) -> Tensor:
        """Images `[N, 3, size, size]` over the background colour, differentiable in the texture.

        buffer: the geometry buffer of these cameras at `supersample * size`, when the caller keeps one.
        rasterizer: see `texgen.render.rasterize`.
        """
        if buffer is not None:
            shape = (len(cameras), size, size)
            return render_buffer(buffer, self.texture, shape, background, supersample)[0]
        mesh = self.mesh.to(self.texture.device, self.texture.dtype)
        return render_mesh(mesh, self.texture, cameras, size, background, supersample, rasterizer)[0]


class RewardedItem(Protocol):
    """What a trainer hands back with a texture: the fields that `Textured` needs."""

    mesh: Mesh
    geometry: PreparedGeometry | None
    prompt: str


class TrainingReward:
    """A reward as `texgen.finetune` takes it, which knows nothing of rewards: `(texture, painted, item) ->
    scalar`, always to be maximised: a reward for which lower is better changes its sign here.
    """

    def __init__(self, reward: TextureReward, draw: tuple[object, ...] | None = None) -> None:
        self.reward = reward
        self.draw = draw
        self.__name__ = reward.name

    def drawn(self, seed: tuple[object, ...]) -> TrainingReward:
        """The same reward with its random parts drawn from a seed."""
        return TrainingReward(self.reward, seed)

    def refusal(self, item: RewardedItem) -> str | None:
        """Why the reward cannot judge an item's mesh; None where it can."""
        check = getattr(self.reward, "check", None)
        try:
            if check is not None:
                check(item.mesh, item.geometry)
        except NotApplicable as error:
            return str(error)
        return None

    def __call__(self, texture: Tensor, painted: Tensor, item: RewardedItem) -> Tensor:
        textured = Textured(item.mesh, texture, painted, item.prompt, item.geometry, self.draw)
        value = self.reward(textured)
        return value if self.reward.higher_is_better else -value


def training_reward(reward: TextureReward) -> TrainingReward:
    """Adapter of a reward for `texgen.finetune`."""
    return TrainingReward(reward)
