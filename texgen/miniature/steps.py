"""Training steps of small networks: captured into a CUDA graph where that works, else run as they are.

The nets are so small that launching their kernels one by one takes longer than computing them. A captured
step is launched as a whole, with the drawing of the batch, backward pass, clipping, optimiser and running
average in it; all that changes from step to step lies in tensors on the device.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

Loss = Callable[[], dict[str, Tensor]]


def half(device: torch.device, enabled: bool = True) -> AbstractContextManager:
    """bfloat16 inside networks on a GPU. No cache of cast weights, which a graph could not replay."""
    if device.type != "cuda" or not enabled:
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)


def make_optimizer(
    parameters: Iterable[nn.Parameter], device: torch.device, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW whose rate, 0 until `set_rate`, a captured step reads from the device."""
    cuda = device.type == "cuda"
    rate = torch.zeros((), device=device) if cuda else 0.0
    return torch.optim.AdamW(
        list(parameters), lr=rate, betas=betas, weight_decay=weight_decay, fused=True, capturable=cuda
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of an optimiser of `make_optimizer` this learning rate."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def restore(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Load an optimiser's state, also one that was saved on another kind of device."""
    kept = [{name: group[name] for name in ("lr", "capturable", "fused")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, kept, strict=True):
        group.update(own)


class Average:
    """A running mean of parameters that begins quickly and ends at ``decay``."""

    def __init__(
        self, average: Sequence[Tensor], parameters: Sequence[nn.Parameter], decay: float = 0.999
    ) -> None:
        self.average, self.parameters, self.decay = list(average), list(parameters), decay
        self.weight = torch.zeros((), device=self.average[0].device)

    def before(self, step: int) -> None:
        """Say which step comes next."""
        self.weight.fill_(1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Move the mean towards the parameters."""
        difference = torch._foreach_sub([p.detach() for p in self.parameters], self.average)
        torch._foreach_mul_(difference, self.weight)
        torch._foreach_add_(self.average, difference)


class StepRecorder(Protocol):
    """Records what ``run`` does, after runs to warm up, each after a ``clear``; the answer does it again."""

    def __call__(
        self, run: Callable[[], None], clear: Callable[[], None], warmup: int
    ) -> Callable[[], None]: ...


def record_graph(run: Callable[[], None], clear: Callable[[], None], warmup: int) -> Callable[[], None]:
    """A `StepRecorder` that records a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmup):
            clear()
            run()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    graph.replay()
    torch.cuda.synchronize()
    return graph.replay


class TrainingStep:
    """One step of one loss.

    loss: draws a batch and returns "loss" and other numbers to log, tensors on the device. name: comes before
    the names of the numbers, where a part has several losses.
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        average: Average | None = None,
        name: str = "",
        clip: float = 1.0,
    ) -> None:
        self.loss, self.optimizer, self.average, self.name, self.clip = loss, optimizer, average, name, clip
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device = self.parameters[0].device
        self.names: list[str] = []
        self.sums: Tensor | None = None
        self.count = 0
        self._replay: Callable[[], None] | None = None

    def _clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _run(self) -> None:
        numbers = self.loss()
        self.names = list(numbers)
        numbers["loss"].backward()
        average_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip, foreach=True)
        # As `torch.amp.GradScaler` does: the fused optimiser leaves out a step that is not finite.
        self.optimizer.found_inf = (~torch.isfinite(norm)).float()
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        values = torch.stack([value.detach().float() for value in numbers.values()])
        if self.sums is None:
            self.sums = torch.zeros_like(values)
        self.sums += values

    def capture(self, record: StepRecorder = record_graph, warmup: int = 3) -> str:
        """Try to capture the step; what came of it, in words.

        Runs it a few times, which at rate 0 leaves the weights as they are.
        """
        try:
            self._replay = record(self._run, self._clear, warmup)
            outcome = "captured"
        except Exception:
            outcome = f"eager, since the capture failed:\n{traceback.format_exc()}"
            self._replay = None
            if self.device.type == "cuda":
                renew_generator()
            self._clear()
        self._forget()
        return outcome

    def __call__(self) -> None:
        if self._replay is None:
            self._clear()
            self._run()
        else:
            self._replay()
        self.count += 1

    def means(self) -> dict[str, float]:
        """The means of the loss's numbers over the steps since the last call."""
        if not self.count or self.sums is None:
            return {}
        prefix = f"{self.name} " if self.name else ""
        values = (self.sums / self.count).tolist()
        self._forget()
        return {prefix + name: value for name, value in zip(self.names, values, strict=True)}

    def _forget(self) -> None:
        self.count = 0
        if self.sums is not None:
            self.sums.zero_()


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace the gradients by their mean over all processes; nothing to do for a single one."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def renew_generator() -> None:
    """Take the GPU's random numbers out of the state that an interrupted capture leaves them in."""
    torch.cuda.synchronize()
    index = torch.cuda.current_device()
    fresh = torch.Generator(device=f"cuda:{index}")
    fresh.manual_seed(time.time_ns() % 2**31)
    torch.cuda.default_generators[index].graphsafe_set_state(fresh.graphsafe_get_state())
