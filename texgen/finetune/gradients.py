"""Gradient strategies: through how many denoising steps a reward's gradient flows, and at what memory.

A strategy is the `gradient` argument of `TexGen.paint`. It offers
    wrap(step, i, steps) -> step'   for denoising step i of `steps`, with step(...) -> latents,
    checkpoint(fn, *args)           for the parts outside the sampler (decoding, projection),
and counts the network evaluations it causes. A wrapped step must be a pure function of its arguments: it runs
a second time during the backward pass. (A multistep scheduler keeps state between steps and is not pure.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as torch_checkpoint

Step = Callable[..., Tensor]


@dataclass
class Evaluations:
    """Denoiser evaluations (one guidance pair = 1): forward passes, their repetition in checkpoints, backward
    passes.

    `Backbone.calls` keeps counting forward passes only: repetitions are moved here.
    """

    forward: int = 0
    recompute: int = 0
    backward: int = 0

    def reset(self) -> None:
        self.forward = self.recompute = self.backward = 0

    def as_dict(self) -> dict[str, int]:
        return {"forward": self.forward, "recompute": self.recompute, "backward": self.backward}


@dataclass(frozen=True)
class Exact:
    """The exact gradient through all steps.

    With `checkpointed` (default) only the latents between steps are kept and each step's graph is rebuilt
    when the backward pass reaches it: memory is that of one step, time grows by one forward pass. Without,
    every graph is kept.
    """

    checkpointed: bool = True
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    @property
    def name(self) -> str:
        return "exact"

    def wrap(self, step: Step, i: int, steps: int) -> Step:
        """The step with its graph kept or rebuilt, as `checkpointed` says."""
        return _differentiable(step, self.evaluations, self.checkpointed)

    def checkpoint(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)`, rebuilt in the backward pass."""
        return _rebuilt(fn, *args) if self.checkpointed else fn(*args)


@dataclass(frozen=True)
class LastK:
    """The gradient of the last k steps only (DRaFT-K, arXiv 2309.17400): what came before counts as constant.

    Earlier steps run without a graph. The result is biased, but cheap and stable: k = 1 costs one backward
    pass per view, whatever the number of steps. k at or above the number of steps is exact.
    """

    k: int = 1
    checkpointed: bool = False
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"last_k needs k >= 1, got {self.k}: with no step there is no gradient.")

    @property
    def name(self) -> str:
        return f"last_{self.k}"

    def wrap(self, step: Step, i: int, steps: int) -> Step:
        """The step itself for the last k, a step without graph and with detached result before."""
        if i >= steps - self.k:
            return _differentiable(step, self.evaluations, self.checkpointed)
        return _constant(step, self.evaluations)

    def checkpoint(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)`, rebuilt in the backward pass where steps are."""
        return _rebuilt(fn, *args) if self.checkpointed else fn(*args)


Strategy = Exact | LastK


def make_strategy(name: str, k: int = 1, checkpointed: bool | None = None) -> Strategy:
    """The strategy "exact" or "last_k" (with k); checkpointed None means the default of each."""
    if name == "exact":
        return Exact() if checkpointed is None else Exact(checkpointed)
    if name == "last_k":
        return LastK(k) if checkpointed is None else LastK(k, checkpointed)
    raise ValueError(f"gradient strategy {name!r} is unknown; use 'exact' or 'last_k'.")


def _constant(step: Step, evaluations: Evaluations) -> Step:
    def run(*args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad(), _counted(_counters(args), evaluations):
            return step(*args, **kwargs).detach()

    return run


def _differentiable(step: Step, evaluations: Evaluations, checkpointed: bool) -> Step:
    def run(*args: Any, **kwargs: Any) -> Tensor:
        counters = _counters(args)
        before = evaluations.forward
        cost = 0  # known when the step has run; both closures below run later

        @contextmanager
        def repeated():
            evaluations.recompute += cost
            with _uncounted(counters):
                yield

        def count_backward(gradient: Tensor) -> None:
            evaluations.backward += cost

        with _counted(counters, evaluations):
            if checkpointed and torch.is_grad_enabled():
                latents = torch_checkpoint(
                    step,
                    *args,
                    use_reentrant=False,
                    preserve_rng_state=False,  # noise is an argument, nothing is drawn inside
                    context_fn=lambda: (nullcontext(), repeated()),
                    **kwargs,
                )
            else:
                latents = step(*args, **kwargs)
        cost = evaluations.forward - before
        if latents.requires_grad:
            latents.register_hook(count_backward)
        return latents

    return run


def _rebuilt(fn: Callable, *args: Any) -> Any:
    if not torch.is_grad_enabled():
        return fn(*args)
    return torch_checkpoint(fn, *args, use_reentrant=False, preserve_rng_state=False)


def _counters(args: tuple) -> Any:
    """The call counter of the first argument that has one (the backbone), or None."""
    for argument in args:
        calls = getattr(argument, "calls", None)
        if is_dataclass(calls) and hasattr(calls, "unet"):
            return calls
    return None


@contextmanager
def _counted(counters: Any, evaluations: Evaluations):
    before = counters.unet if counters is not None else 0
    try:
        yield
    finally:
        if counters is not None:
            evaluations.forward += counters.unet - before


@contextmanager
def _uncounted(counters: Any):
    """Puts the backbone's counter back afterwards.

    It could not serve to count recomputations anyway: torch ends one by an exception as soon as the last
    tensor is there, usually inside the network, before the counter has moved.
    """
    if counters is None:
        yield
        return
    before = {entry.name: getattr(counters, entry.name) for entry in fields(counters)}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(counters, name, value)
