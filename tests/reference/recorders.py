"""Stand-ins for CUDA graphs on machines without a GPU."""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx


class Rerun:
    """Runs the same function again, over the same tensors: quick, but Python is asked again."""

    def __init__(self):
        self.records = 0

    def record(self, run):
        self.records += 1
        out = run().clone()

        def replay():
            out.copy_(run())

        return replay, out


class Traced:
    """The kernels that ran once, over the memory that they ran on: like a CUDA graph, blind to Python."""

    def record(self, run):
        graph = make_fx(lambda: run())()
        out = run().clone()

        def replay():
            with torch.no_grad():
                out.copy_(graph())

        return replay, out


class Failing:
    """A device that cannot capture."""

    def record(self, run):
        raise RuntimeError("operation not permitted when stream is capturing\nmore about it")
