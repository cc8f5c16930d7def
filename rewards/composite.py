"""A weighted sum of standardised rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewards.base import Textured, TextureReward
from texgen.geometry.prepared import PreparedGeometry
from texgen.mesh.mesh import Mesh


@dataclass(frozen=True)
class Term:
    """One reward of a composite: it counts `weight * (value - mean) / std`, sign turned where lower is
    better.

    mean and std describe the reward over textures of the untuned model, so that weights compare like with
    like.
    """

    reward: TextureReward
    weight: float = 1.0
    mean: float = 0.0
    std: float = 1.0


class Composite:
    """R = sum_k w_k s_k (r_k - mean_k) / std_k, s_k = +1 where higher is better, else -1."""

    higher_is_better = True

    def __init__(self, terms: Sequence[Term], name: str | None = None) -> None:
        if not terms:
            raise ValueError("A composite reward needs at least one term.")
        for term in terms:
            if not term.std > 0:
                raise ValueError(f"Term {term.reward.name!r}: std is {term.std}; give a positive number.")
        self.terms = tuple(terms)
        self.name = name or "+".join(term.reward.name for term in self.terms)
        self.version = "+".join(
            f"{term.weight:g}*{term.reward.name}@{term.reward.version}" for term in self.terms
        )
        ends = [sorted(_standardise(end, term) for end in term.reward.typical_range) for term in self.terms]
        self.typical_range = (sum(low for low, _ in ends), sum(high for _, high in ends))

    def check(self, mesh: Mesh, geometry: PreparedGeometry | None) -> None:
        """Raises NotApplicable for a mesh that one of the terms cannot judge."""
        for term in self.terms:
            if hasattr(term.reward, "check"):
                term.reward.check(mesh, geometry)

    def parts(self, textured: Textured) -> dict[str, Tensor]:
        """The raw value of every term, by the name of its reward."""
        return {term.reward.name: term.reward(textured) for term in self.terms}

    def __call__(self, textured: Textured) -> Tensor:
        """The weighted sum, a scalar float32."""
        values = [_standardise(term.reward(textured), term) for term in self.terms]
        return torch.stack(values).sum()


def _standardise(value, term: Term):
    sign = 1.0 if term.reward.higher_is_better else -1.0
    return sign * term.weight * (value - term.mean) / term.std
