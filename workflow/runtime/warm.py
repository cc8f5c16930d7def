"""Steps that find their libraries loaded: one process per run loads them, each job is a fork of it.

To import torch, diffusers and transformers takes five seconds of a core, and a run starts dozens of jobs.
While a run works on one machine, a server (`workflow.runtime.warm_server`) keeps the libraries of the kinds
of steps that were asked for, and forks for every job; a job remains a process of its own, with its own log,
lock and end. What Snakemake starts is still `python -P -m workflow.steps.<name>`: it hands its arguments,
environment, folder and open files to the server, passes signals on and ends as the job ended. Where there is
no server, or it declines, it goes on by itself. Standard library alone: this is imported before all else.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from workflow.runtime.early_end import STOPPING

ADDRESS = "TEXREWARD_WARM"
"""Environment variable: the server's socket; "0" forbids one."""

STARTED, ENDED = b"s", b"e"


def hand_over() -> None:
    """In a process that Python is starting as `-m workflow.steps.<name>`: be the job of a server, then exit.

    Returns where there is no server, it declines, or this is not a start of a step.
    """
    address = os.environ.get(ADDRESS, "0")
    if address != "0" and starts_step():
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
        status = remote_status(address, module, sys.argv[1:])
        if status is not None:
            sys.stdout.flush()
            os._exit(status)


def starts_step() -> bool:
    """Whether Python is starting this process as `-m workflow.steps.<name>`."""
    words = sys.orig_argv
    # While `python -m` looks for a module and imports its packages, its name is not in sys.argv yet.
    if sys.argv[:1] != ["-m"] or "-m" not in words[:-1]:
        return False
    return words[words.index("-m") + 1].startswith("workflow.steps.")


def remote_status(address: str, module: str, arguments: list[str]) -> int | None:
    """Exit status of a step that a server runs, None where none does; 128 + signal of one that was killed."""
    asked = {"module": module, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    message = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.connect(address)
            socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
            server.sendall(message)
            previous = {each: signal.signal(each, _forwarder(server)) for each in STOPPING}
            if server.recv(1) != STARTED:
                for number, handler in previous.items():
                    signal.signal(number, handler)
                return None
        except OSError:
            return None
        answer = b""
        while len(answer) < 3:
            try:
                part = server.recv(3 - len(answer))
            except OSError:
                part = b""
            if not part:  # the server was killed, and the job with it
                return 128 + signal.SIGKILL
            answer += part
    return int.from_bytes(answer[1:], "big")


def _forwarder(server: socket.socket):
    def forward(number: int, frame: object) -> None:
        try:
            server.sendall(bytes([number]))
        except OSError:  # it has ended; so will this process
            pass

    return forward


class LibraryServer:
    """The server of a run, from `start` to `stop`; it also ends, after its jobs, when this process does."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self, record: str | Path, environment: Mapping[str, str]) -> None:
        """Let the jobs that this process starts be forks; does nothing where `usable` is false.

        record: file that gets a line per job, with what it cost. environment: what jobs find in theirs
        besides what this process has, since libraries may read it when they are loaded.
        """
        if self.process is not None or not usable():
            return
        self.folder = tempfile.TemporaryDirectory(prefix="texreward-")
        address = os.path.join(self.folder.name, "warm")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(address)
            listening.listen(64)
            command = [sys.executable, "-P", "-m", "workflow.runtime.warm_server"]
            self.process = subprocess.Popen(
                [*command, str(listening.fileno()), str(record)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **environment, ADDRESS: address},
                pass_fds=[listening.fileno()],
                start_new_session=True,  # a Ctrl-C reaches its jobs once, through those who asked for them
            )
        os.environ[ADDRESS] = address

    def stop(self, patience: float = 10.0) -> None:
        """End it after its jobs, so that what they cost counts as this process's.

        Jobs that outlive `patience` seconds, of a run that was broken off, go on; the server ends with them.
        """
        if self.process is None or self.process.stdin is None or self.folder is None:
            return
        os.environ.pop(ADDRESS, None)
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.folder.cleanup()
        self.process = self.folder = None


def usable() -> bool:
    """Whether forks may be used: on Linux without an NVIDIA driver, unless forbidden.

    Importing libraries may already begin to use CUDA, which no fork can go on with; and libraries of macOS do
    not stand a fork.
    """
    allowed = os.environ.get(ADDRESS) != "0"
    return allowed and sys.platform == "linux" and not os.path.exists("/dev/nvidiactl")
