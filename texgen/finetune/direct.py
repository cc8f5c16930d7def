"""Direct reward maximisation: the gradient of the reward of the finished texture, pushed through the painter.

J(theta) = E_c[ r(TexGen(theta, c, V), c) ] (arXiv 2506.18331). How far back the gradient goes is the
strategy's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from texgen.finetune.gradients import Strategy

if TYPE_CHECKING:
    from texgen.mesh import Mesh


class Painter(Protocol):
    """The part of `TexGen` that training uses."""

    def paint(self, mesh: Mesh, prompt: str, seed: int, **options: Any) -> tuple[Tensor, Tensor]: ...


class Item(Protocol):
    """One training example; rewards may ask it for more, such as `geometry`."""

    mesh: Mesh
    prompt: str


Reward = Callable[[Tensor, Tensor, Any], Tensor]  # (texture [3, T, T], painted [1, T, T], item) -> scalar


@dataclass(frozen=True)
class Direct:
    """loss = -r, or with a target the hinge relu(target - r): beyond the target nothing is gained."""

    reward: Reward
    gradient: Strategy
    target: float | None = None

    name = "direct"

    def loss(
        self, method: Painter, item: Item, seed: int, views: Sequence[int] | None
    ) -> tuple[Tensor, Tensor]:
        """Paints one item with gradient: scalars (loss, reward); views None = all views of the method."""
        texture, painted = method.paint(
            item.mesh, item.prompt, seed, views=views, gradient=self.gradient, soft=True
        )
        reward = self.reward(texture, painted, item)
        return direct_loss(reward, self.target), reward.detach()


def direct_loss(reward: Tensor, target: float | None = None) -> Tensor:
    """-r without a target, else max(target - r, 0)."""
    return -reward if target is None else (target - reward).clamp_min(0.0)
