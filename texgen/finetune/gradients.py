"""Gradient strategies: through which denoising steps a reward's gradient flows, and at what memory.

A strategy turns one painting into one or several differentiable ones (`paintings`); how a single one is
differentiated is in `texgen.finetune.differentiation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from texgen import seeds
from texgen.finetune.differentiation import Differentiation, Recording, Renoised
from texgen.finetune.evaluations import Evaluations
from texgen.painting.views import Gradient

TextureAndCoverage = tuple[Tensor, Tensor]
"""A texture [3, T, T] and its coverage [1, T, T]."""


class Strategy(Protocol):
    """How gradients are taken. `evaluations` counts what it costs."""

    evaluations: Evaluations

    @property
    def name(self) -> str: ...

    @property
    def textures(self) -> int:
        """How many paintings there are."""
        ...

    def paintings(
        self, paint: Callable[[Gradient], TextureAndCoverage], seed: int
    ) -> Iterator[TextureAndCoverage]:
        """Differentiable paintings whose mean reward is to be raised; `paint` paints once."""
        ...


@dataclass(frozen=True)
class Exact:
    """The gradient through all steps. 3 evaluations per step with replay, else 2 and all graphs in memory."""

    replay: bool = True
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    @property
    def name(self) -> str:
        return "exact"

    @property
    def textures(self) -> int:
        return 1

    def paintings(
        self, paint: Callable[[Gradient], TextureAndCoverage], seed: int
    ) -> Iterator[TextureAndCoverage]:
        yield paint(Differentiation(None, self.replay, self.evaluations))


@dataclass(frozen=True)
class LastK:
    """The gradient of the last k steps only (DRaFT-K, arXiv 2309.17400): what came before counts as constant.

    Biased, but cheap and stable. k at or above the number of steps is exact.
    """

    k: int = 1
    replay: bool = True
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    def __post_init__(self) -> None:
        _require_positive(self.name, self.k)

    @property
    def name(self) -> str:
        return f"last_{self.k}"

    @property
    def textures(self) -> int:
        return 1

    def paintings(
        self, paint: Callable[[Gradient], TextureAndCoverage], seed: int
    ) -> Iterator[TextureAndCoverage]:
        yield paint(Differentiation(self.k, self.replay, self.evaluations))


@dataclass(frozen=True)
class RandomK(LastK):
    """`LastK` with k drawn anew for every painting, uniformly from 1 to k (AlignProp, arXiv 2310.03739)."""

    k: int = 4

    @property
    def name(self) -> str:
        return f"random_{self.k}"

    def drawn(self, seed: int) -> int:
        """The k of the painting with this noise seed."""
        return int(torch.randint(1, self.k + 1, (), generator=seeds.generator(seed, "random_k")))

    def paintings(
        self, paint: Callable[[Gradient], TextureAndCoverage], seed: int
    ) -> Iterator[TextureAndCoverage]:
        yield paint(Differentiation(self.drawn(seed), self.replay, self.evaluations))


@dataclass(frozen=True)
class LowVariance:
    """The last step repeated from several noisings of the finished latents (DRaFT-LV, arXiv 2309.17400).

    A first painting without gradient fixes the final latents z of every view. Then `copies` textures are
    painted by one step each: every view starts from z noised to the level of the last step,
    sqrt(a) z + sqrt(1 - a) e with its own e, and is denoised once with gradient.
    """

    copies: int = 2
    replay: bool = True
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"low_variance needs at least one copy, got {self.copies}.")

    @property
    def name(self) -> str:
        return f"low_variance_{self.copies}"

    @property
    def textures(self) -> int:
        return self.copies

    def paintings(
        self, paint: Callable[[Gradient], TextureAndCoverage], seed: int
    ) -> Iterator[TextureAndCoverage]:
        first = Recording(self.evaluations)
        with torch.no_grad():
            paint(first)
        finals = {index: record.latents[-1] for index, record in first.views.items()}
        for copy in range(self.copies):
            yield paint(Renoised(finals, (seed, "copy", copy), self.replay, self.evaluations))


STRATEGIES = {"exact": Exact, "last_k": LastK, "random_k": RandomK, "low_variance": LowVariance}


def make_strategy(name: str, k: int = 1, copies: int = 2, replay: bool = True) -> Strategy:
    """A strategy by its name; k is used by last_k and random_k, copies by low_variance."""
    if name not in STRATEGIES:
        raise ValueError(f"gradient strategy {name!r} is unknown; use one of {', '.join(STRATEGIES)}.")
    own = {"last_k": {"k": k}, "random_k": {"k": k}, "low_variance": {"copies": copies}}
    return STRATEGIES[name](**own.get(name, {}), replay=replay)


def _require_positive(name: str, k: int) -> None:
    if k < 1:
        raise ValueError(f"{name} needs k >= 1, got {k}: with no step there is no gradient.")
