"""Stand-ins for CUDA graphs on machines without a GPU."""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx


class Rerun:
    """Runs the same function again, over the same tensors: quick, but Python is asked again."""

    def __init__(self):
        self.records = 0
        self.forgotten = 0

    def forget(self):
        self.forgotten += 1

    def record(self, run):
        self.records += 1
        out = run().clone()

        def replay():
            out.copy_(run())

        return replay, out

    def record_pair(self, forward, backward):
        """The backward pass takes the graph of the last forward one, as a pair's shared memory would."""
        self.records += 1
        last = [forward()]
        out = last[0].detach().clone()
        found = tuple(None if each is None else each.clone() for each in backward(last[0]))

        def replay_forward():
            last[0] = forward()
            out.copy_(last[0].detach())

        def replay_backward():
            for own, new in zip(found, backward(last[0]), strict=True):
                if own is not None:
                    own.copy_(new)

        return replay_forward, out, replay_backward, found


class Traced:
    """The kernels that ran once, over the memory that they ran on: like a CUDA graph, blind to Python."""

    def forget(self):
        pass

    def record(self, run):
        graph = make_fx(lambda: run())()
        out = run().clone()

        def replay():
            with torch.no_grad():
                out.copy_(graph())

        return replay, out


class Failing:
    """A device that cannot capture."""

    def forget(self):
        pass

    def record(self, run):
        raise RuntimeError("operation not permitted when stream is capturing\nmore about it")

    def record_pair(self, forward, backward):
        return self.record(forward)
