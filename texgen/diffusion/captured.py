"""Network evaluations captured into CUDA graphs.

A guided prediction of a Stable Diffusion 1.5 sized model launches some 1,700 kernels, which takes longer than
computing them: on an H200 the GPU was busy 37 % of the time. A captured one is launched as a whole. What
changes from call to call is copied into tensors that stay where they are; all else (roles, scales, which
adapter) is part of the key under which a graph is kept. Weights are read where they lie, so that steps of an
optimiser and adapters that are merged in place need no new graph; whatever moves them must call `clear`.
"""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from texgen.diffusion.captured_gradient import (
    Clock,
    Compute,
    GradientRecord,
    Gradients,
    PairRecorder,
    trained_slots,
)

SWITCH = "TEXREWARD_CUDA_GRAPHS"
"""Environment variable; "0" turns capturing off."""


_Kept = TypeVar("_Kept")


class Recorder(PairRecorder, Protocol):
    """What records a computation: CUDA graphs, or a stand-in where there is no GPU."""

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Run once; returns a function that computes the same again, and the tensor that it writes to."""
        ...

    def forget(self) -> None:
        """No record is kept any more."""
        ...


class CudaGraphs:
    """Records CUDA graphs that share one pool of memory: one of them runs at a time."""

    def __init__(self, warm_up: int = 2) -> None:
        self.warm_up = warm_up
        self._pool: object | None = None

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """See `Recorder`. Libraries choose kernels and take workspaces in runs before the recorded one."""
        self._warm(run)
        return self._capture(run)

    def record_pair(
        self, forward: Callable[[], Tensor], backward: Callable[[Tensor], Gradients]
    ) -> tuple[Callable[[], object], Tensor, Callable[[], object], Gradients]:
        """See `PairRecorder`. What the first graph leaves is let go when both are recorded."""
        self._warm(lambda: backward(forward()))
        replay_forward, out = self._capture(forward)
        replay_backward, found = self._capture(lambda: backward(out))
        return replay_forward, out, replay_backward, found

    def _warm(self, run: Callable[[], object]) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(self.warm_up):
                run()
        torch.cuda.current_stream().wait_stream(side)

    def forget(self) -> None:
        """See `Recorder`. A pool that no graph uses any more cannot be used again."""
        self._pool = None

    def _capture(self, run: Callable[[], _Kept]) -> tuple[Callable[[], object], _Kept]:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                out = run()
        except RuntimeError:
            # torch leaves a failed capture half open: on the capture's stream, with random numbers that count
            # for its graph, and a pool that takes no other.
            torch.cuda.set_stream(stream)
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(generator.clone_state())
            self.forget()
            raise
        return graph.replay, out


class Captured:
    """Calls of pure functions, replayed from the second call with a key on.

    A key is computed as it is when it is met first, recorded when it is met again, and replayed from then on;
    `kept` records stay, those used last. `differentiable` does the same for an evaluation with its backward
    pass (`texgen.diffusion.captured_gradient`). A record that fails is said once, its key computed as it is.
    """

    def __init__(self, recorder: Recorder | None = None, kept: int = 32) -> None:
        self.recorder: Recorder = CudaGraphs() if recorder is None else recorder
        self.kept = kept
        self.replays = 0
        self.clock = Clock()
        # Not a `texgen.kept.Kept`, which makes a value when a key is met first; here that is a None.
        self._met: OrderedDict[Hashable, Any] = OrderedDict()
        self._refused: set[Hashable] = set()
        self._paused = 0

    def __call__(self, key: Hashable, compute: Compute, inputs: Mapping[str, Tensor]) -> Tensor:
        """compute(inputs), a tensor of its own, without a gradient. inputs: on one device."""
        record = self._known((key, *_shapes(inputs)), lambda: _Record(self.recorder, compute, inputs))
        if record is None:
            return compute(inputs)
        self.replays += 1
        self.clock.tick()
        return record(inputs)

    def differentiable(
        self,
        key: Hashable,
        compute: Compute,
        inputs: Mapping[str, Tensor],
        net: nn.Module,
    ) -> Tensor:
        """compute(inputs), a tensor of its own, with its gradient to the inputs that require one and to the
        parameters that do of `net`, which is what `compute` evaluates."""
        moving = tuple(x.requires_grad for x in inputs.values())

        def made() -> GradientRecord | None:
            if not any(moving) and not trained_slots(net):
                return None
            return GradientRecord(self.recorder, compute, inputs, net, self.clock)

        record = self._known(("gradient", key, moving, *_shapes(inputs)), made)
        if record is None:
            return compute(inputs)
        self.replays += 1
        return record(inputs)

    def clear(self) -> None:
        """Forget all records, because weights were moved, replaced or retyped."""
        self._met.clear()
        self._refused.clear()
        self.recorder.forget()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the context nothing is recorded or replayed, e.g. while layers are exchanged."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def _known(self, key: Hashable, make: Callable[[], _Kept | None]) -> _Kept | None:
        """The record of a key, made now when the key is met again; None where it is to be computed."""
        if self._paused or key in self._refused:
            return None
        if key not in self._met:
            self._met[key] = None
            self._forget()
            return None
        self._met.move_to_end(key)
        if self._met[key] is None:
            self._record(key, make)
        return self._met.get(key)

    def _record(self, key: Hashable, make: Callable[[], _Kept | None]) -> None:
        try:
            record = make()
        except RuntimeError as error:  # out of memory is one, too
            reason = str(error).strip().splitlines() or [type(error).__name__]
            warnings.warn(
                "A prediction could not be captured into a CUDA graph and is computed without one, slower "
                f"but alike ({reason[0]}); {SWITCH}=0 turns capturing off.",
                stacklevel=2,
            )
            record = None
        if record is None:
            self._refused.add(key)
            self._met.pop(key, None)
        else:
            self._met[key] = record

    def _forget(self) -> None:
        while len(self._met) > self.kept:
            self._met.popitem(last=False)


class _Record:
    """One recorded computation with the tensors that it reads and writes."""

    def __init__(self, recorder: Recorder, compute: Compute, inputs: Mapping[str, Tensor]) -> None:
        self.inputs = {name: x.clone() for name, x in inputs.items()}
        self.replay, self.out = recorder.record(lambda: compute(self.inputs))

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        for name, own in self.inputs.items():
            own.copy_(inputs[name])
        self.replay()
        return self.out.clone()


def _shapes(inputs: Mapping[str, Tensor]) -> tuple[Hashable, ...]:
    return tuple((name, x.shape, x.dtype, x.stride(), x.device) for name, x in inputs.items())


def wanted(device: torch.device) -> bool:
    """Whether predictions on a device are to be captured: on a GPU, unless the switch says 0."""
    return device.type == "cuda" and os.environ.get(SWITCH, "1") != "0"
