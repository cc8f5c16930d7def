"""Bounds on how far a reward is pushed: a hinge or a target."""

from __future__ import annotations

from torch import Tensor

from rewards.base import Textured, TextureReward
from texgen.geometry.prepared import PreparedGeometry
from texgen.mesh.mesh import Mesh

SHAPES = ("hinge", "target")


class Shaped:
    """A reward of which only part is worth having; a reward itself.

    hinge: min(r, target), or max where lower is better: beyond the target nothing is gained, so a scorer is
    not climbed to where it no longer means anything (relu(target - r) as a loss). target: -|r - target|,
    for a quantity that should have a value and neither more nor less.
    """

    def __init__(self, reward: TextureReward, target: float, shape: str = "hinge") -> None:
        if shape not in SHAPES:
            raise ValueError(f"Reward {reward.name!r}: shape is {shape!r}; use 'hinge' or 'target'.")
        self.reward = reward
        self.target = target
        self.shape = shape
        self.name = reward.name
        self.higher_is_better = reward.higher_is_better or shape == "target"
        self.version = f"{reward.version}-{shape}-{target:g}"
        ends = [self._shape(end) for end in (*reward.typical_range, target)]
        inside = min(reward.typical_range) <= target <= max(reward.typical_range)
        ends = ends if inside else ends[:2]
        self.typical_range = (min(ends), max(ends))

    def check(self, mesh: Mesh, geometry: PreparedGeometry | None) -> None:
        """Raises NotApplicable for a mesh that the reward cannot judge."""
        if hasattr(self.reward, "check"):
            self.reward.check(mesh, geometry)

    def __call__(self, textured: Textured) -> Tensor:
        """The shaped value, a scalar."""
        return self._shape(self.reward(textured))

    def _shape(self, value):
        """For a tensor or a float."""
        if self.shape == "target":
            return -abs(value - self.target)
        short = (self.target - value) if self.reward.higher_is_better else (value - self.target)
        short = short.clamp_min(0) if isinstance(short, Tensor) else max(short, 0.0)
        return self.target - short if self.reward.higher_is_better else self.target + short
