"""What every test shares: the readable twins on the path, one thread, no network."""

import os
import socket
import sys
from pathlib import Path

import pytest
import torch

# Appended, not inserted: tests/report and its siblings must not hide the packages they test.
sys.path.append(str(Path(__file__).parent))

os.environ["HF_HUB_OFFLINE"] = "1"  # inherited by the processes that tests start
os.environ["TRANSFORMERS_OFFLINE"] = "1"

_LOCAL = ("localhost", "127.0.0.1", "::1", "")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors of a few hundred numbers are faster without threads, beside other workers many times.

    Again for each module, because programs that a test runs in this process may set another number.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """Connecting to another machine raises; unix sockets and this machine stay usable."""
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def guarded(name):
        def connect(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
                raise RuntimeError(f"A test tried to reach {address[0]}: tests must not use the network.")
            return real[name](self, address)

        return connect

    for name in real:
        setattr(socket.socket, name, guarded(name))
    yield
    for name, function in real.items():
        setattr(socket.socket, name, function)


def pytest_collection_modifyitems(items):
    """The test of a whole run under SLURM mostly waits, for minutes: it begins first, not last."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")
