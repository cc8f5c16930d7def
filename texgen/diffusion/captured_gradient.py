"""Network evaluations with their gradient, captured into a pair of CUDA graphs: forward and backward.

A backward pass launches twice as many kernels as its forward pass, an adapter beside the weights as many
again; eagerly a full-size pass with gradient takes far longer than its kernels. The pair shares one memory:
what the forward graph leaves there is what the backward graph reads. When something else was replayed between
the two, the forward graph is replayed again before the backward one, so that the gradient is right whatever
the order; gradients by replay (`texgen.finetune.replay`), which hold one evaluation at a time, never need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Compute = Callable[[Mapping[str, Tensor]], Tensor]
"""A function of tensors alone, without random numbers or answers that the host waits for."""

Gradients = tuple[Tensor | None, ...]
"""None where nothing depends on what the gradient was asked for."""


class PairRecorder(Protocol):
    """What records a computation and its backward pass: CUDA graphs, or a stand-in where there is no GPU."""

    def record_pair(
        self, forward: Callable[[], Tensor], backward: Callable[[Tensor], Gradients]
    ) -> tuple[Callable[[], object], Tensor, Callable[[], object], Gradients]:
        """Record `out = forward()` and `found = backward(out)`; returns what replays the first, `out`, what
        replays the second, `found`."""
        ...


class GradientRecord:
    """One recorded evaluation with its backward pass.

    compute: a function of `inputs` that evaluates `net`. inputs: name -> tensor; those that require a
    gradient get one, and so do `parameters`, those of the net that do. clock: counts replays of all records
    that share a memory. `again` counts forward replays that had to be repeated.

    The recorded evaluation sees stand-ins of inputs and parameters, which share the parameters' memory:
    autograd ties the gradient of a leaf to the stream that it was first used on, which a graph cannot wait
    for.
    """

    def __init__(
        self,
        recorder: PairRecorder,
        compute: Compute,
        inputs: Mapping[str, Tensor],
        net: nn.Module,
        clock: Clock,
    ) -> None:
        slots = trained_slots(net)
        self.parameters = tuple(module._parameters[name] for module, name in slots)
        stand_ins = [nn.Parameter(each.detach()) for each in self.parameters]
        self.clock, self.again = clock, 0
        self._names = tuple(inputs)
        self._inputs = {
            name: x.detach().clone().requires_grad_(x.requires_grad) for name, x in inputs.items()
        }
        self._moving = tuple(name for name in self._names if inputs[name].requires_grad)
        sources = [self._inputs[name] for name in self._moving] + stand_ins
        self._out_gradient: Tensor | None = None

        def forward() -> Tensor:
            with torch.enable_grad(), exchanged(slots, stand_ins):
                return compute(self._inputs)

        def backward(out: Tensor) -> Gradients:
            if self._out_gradient is None:
                self._out_gradient = torch.zeros_like(out)
            return torch.autograd.grad(out, sources, self._out_gradient, allow_unused=True)

        self._forward, self._out, self._backward, self._found = recorder.record_pair(forward, backward)
        self._out = self._out.detach()

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """compute(inputs), a tensor of its own with a gradient to inputs and parameters."""
        return _Recorded.apply(self, *(inputs[name] for name in self._names), *self.parameters)

    def forward(self, values: Iterable[Tensor]) -> int:
        """Replay the forward graph for the inputs' values, in order; returns the clock's time of it."""
        with torch.no_grad():
            for name, value in zip(self._names, values, strict=True):
                self._inputs[name].copy_(value)
            self._forward()
        return self.clock.tick()

    def output(self) -> Tensor:
        """What the last forward replay gave, a tensor of its own."""
        return self._out.clone()

    def backward(self, out_gradient: Tensor) -> Gradients:
        """Replay the backward graph of the last forward replay: gradients of all inputs, then parameters."""
        with torch.no_grad():
            assert self._out_gradient is not None
            self._out_gradient.copy_(out_gradient)
            self._backward()
            self.clock.tick()
            found = _copies(self._found)
        moving = dict(zip(self._moving, found, strict=False))
        return (*(moving.get(name) for name in self._names), *found[len(self._moving) :])


def trained_slots(net: nn.Module) -> list[tuple[nn.Module, str]]:
    """Where the parameters are that require a gradient: the module that holds each, and its name there."""
    return [
        (module, name)
        for module in net.modules()
        for name, each in module._parameters.items()
        if each is not None and each.requires_grad
    ]


@contextmanager
def exchanged(slots: Sequence[tuple[nn.Module, str]], parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside the context the modules hold other parameters."""
    own = [module._parameters[name] for module, name in slots]
    try:
        for (module, name), each in zip(slots, parameters, strict=True):
            module._parameters[name] = each
        yield
    finally:
        for (module, name), each in zip(slots, own, strict=True):
            module._parameters[name] = each


class Clock:
    """Counts replays, so that a record knows whether its memory is as it left it."""

    def __init__(self) -> None:
        self.now = 0

    def tick(self) -> int:
        """One replay more; returns the new time."""
        self.now += 1
        return self.now


def _copies(found: Gradients) -> Gradients:
    """Gradients in memory of their own, all of one type as parts of one copy: a copy of each would be
    hundreds of launches."""
    copies: list[Tensor | None] = [None] * len(found)
    for dtype in {each.dtype for each in found if each is not None}:
        own = [i for i, each in enumerate(found) if each is not None and each.dtype == dtype]
        flat = torch.cat([found[i].reshape(-1) for i in own])
        for i, part in zip(own, flat.split([found[i].numel() for i in own]), strict=True):
            copies[i] = part.view(found[i].shape)
    return tuple(copies)


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, record: GradientRecord, *tensors: Tensor) -> Tensor:
        ctx.record = record
        ctx.save_for_backward(*tensors)  # parameters too: a change before the backward pass is an error
        ctx.time = record.forward(tensors[: len(tensors) - len(record.parameters)])
        return record.output()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        record: GradientRecord = ctx.record
        tensors = ctx.saved_tensors
        if record.clock.now != ctx.time:
            record.forward(tensors[: len(tensors) - len(record.parameters)])
            record.again += 1
        return (None, *record.backward(out_gradient))
