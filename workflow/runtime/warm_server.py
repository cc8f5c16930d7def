"""The process of which the jobs of a run are forks, see `workflow.runtime.warm`.

`python -P -m workflow.runtime.warm_server <listening socket> <record>`; standard input is a pipe that the run
holds: when it closes, the server ends with its last job. It has one thread, and imports nothing that starts
another.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from workflow.runtime.warm import ADDRESS, ENDED, STARTED

PAINTING = ("texgen.painting.pipeline", "texgen.finetune.learned_cameras", "workflow.steps.loading")
TRAINING = (*PAINTING, "texgen.finetune.trainer", "rewards.preference.image_reward", "rewards.rendered")
PICTURES = (
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.pyplot",
    "report.pictures",
    "report.results",
)
# What the steps import while they work. What is missing here each job imports itself.
LIBRARIES = {
    "prepare_mesh": ("texgen.geometry.prepared", "texgen.mesh.export", "texgen.reading.prepare"),
    "finetune": TRAINING,
    "texture": PAINTING,
    "stages": TRAINING,
    "score": ("rewards.preference.image_reward", "workflow.steps.renders", "workflow.steps.loading"),
    "save_renders": ("workflow.steps.renders", "workflow.steps.loading"),
    "quality": ("report.quality", "texgen.mesh.export"),
    "figures": PICTURES,
    "overview": (*PICTURES, "report.figures.contact_sheet"),
    "turntables": (*PICTURES, "report.figures.turntables"),
    "gallery": (*PICTURES, "report.gallery.page"),
}
# Variables that may differ from job to job: no library reads them while it is loaded.
FREE = {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "TMP", "TEMP", "TEMPDIR", ADDRESS}


@dataclass
class Fork:
    """A fork that runs a step for a process that waits at the other end of a connection."""

    pid: int
    step: str
    about: str
    began: float


class ForkServer:
    """Answers on a listening socket, one request after the other, until standard input closes."""

    def __init__(self, listening: socket.socket, record: Path) -> None:
        self.listening, self.record = listening, record
        self.jobs: dict[socket.socket, Fork] = {}
        self.environment = _fixed(os.environ)
        self.open = True
        self.events = selectors.DefaultSelector()
        self.events.register(listening, selectors.EVENT_READ)
        self.events.register(0, selectors.EVENT_READ)
        # A child's end wakes the selector.
        self.woken, waker = socket.socketpair()
        self.woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.events.register(self.woken, selectors.EVENT_READ)
        self._waker = waker

    def serve(self) -> None:
        """Until the run has ended, and with it the last job; then notes what loading the libraries cost."""
        while self.open or self.jobs:
            for key, _ in self.events.select():
                if key.fileobj is self.listening:
                    self._answer(self.listening.accept()[0])
                elif key.fileobj == 0:
                    self.events.unregister(0)
                    self.open = False
                elif key.fileobj is self.woken:
                    self.woken.recv(4096)
                elif isinstance(key.fileobj, socket.socket):
                    self._pass_on(key.fileobj)
            self._reap()
        self._note({"step": "libraries", "core_seconds": round(time.process_time(), 3)})

    def _answer(self, connection: socket.socket) -> None:
        try:
            asked, files = _request(connection)
        except (OSError, ValueError):
            connection.close()
            return
        try:
            if _fixed(asked["environment"]) != self.environment:
                raise ImportError("another environment")
            step = asked["module"].removeprefix("workflow.steps.")
            for name in (asked["module"], *LIBRARIES.get(step, ())):
                importlib.import_module(name)
            if len(os.listdir("/proc/self/task")) > 1:
                raise ImportError("a library has started threads")
        except Exception:  # whatever it is, the job meets it again by itself and says it in its own log
            connection.close()
        else:
            gc.collect()
            gc.freeze()  # what is loaded is neither searched nor copied by the forks
            pid = os.fork()
            if pid == 0:
                connection.close()
                self._become(asked, files)
            self.jobs[connection] = Fork(pid, step, " ".join(asked["arguments"]), time.monotonic())
            self.events.register(connection, selectors.EVENT_READ)
            try:
                connection.sendall(STARTED)
            except OSError:  # who asked is gone; found at the next look
                pass
        for file in files:
            os.close(file)

    def _pass_on(self, connection: socket.socket) -> None:
        """Signals for a job; where nobody waits for it any more, its end."""
        job = self.jobs[connection]
        try:
            numbers = connection.recv(16)
        except OSError:
            numbers = b""
        if not numbers:
            self.events.unregister(connection)
        for number in numbers or [signal.SIGKILL]:
            os.kill(job.pid, number)

    def _reap(self) -> None:
        for connection, job in list(self.jobs.items()):
            pid, status, used = os.wait4(job.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
            del self.jobs[connection]
            if connection in self.events.get_map():
                self.events.unregister(connection)
            line = {
                "step": job.step,
                "status": code,
                "core_seconds": round(used.ru_utime + used.ru_stime, 3),
                "seconds": round(time.monotonic() - job.began, 3),
                "peak_kilobytes": used.ru_maxrss,
                "arguments": job.about,
            }
            self._note(line)
            try:
                connection.sendall(ENDED + code.to_bytes(2, "big"))
            except OSError:
                pass
            connection.close()

    def _note(self, line: dict[str, object]) -> None:
        try:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            with open(self.record, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:  # a note about a job must not end the others
            print(f"warning: {self.record}: {error.strerror}", file=sys.stderr, flush=True)

    def _become(self, asked: dict, files: list[int]) -> None:
        """In the fork: run the step as the process that asked would, and end."""
        status = 1
        try:
            _die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, file in enumerate(files):
                os.dup2(file, number)
            for file in (*files, self.listening.fileno(), self.woken.fileno(), self._waker.fileno()):
                os.close(file)
            for connection in self.jobs:
                connection.close()
            os.chdir(asked["folder"])
            # What libraries set when they are loaded stays set.
            for name in self.environment.keys() | FREE:
                os.environ.pop(name, None)
            os.environ.update(asked["environment"])
            tempfile.tempdir = None
            module = sys.modules.pop(asked["module"])  # run as `python -m` does: what it imports stays
            sys.argv[:] = [str(module.__file__), *asked["arguments"]]
            runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as error:
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                status = status or 1
            os._exit(status)


def _request(connection: socket.socket) -> tuple[dict, list[int]]:
    """What a process asks for, and its three standard files."""
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    length, parts = int.from_bytes(head, "big"), b""
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 2**16))
        if not part:
            break
        parts += part
    return json.loads(parts), list(files)


def _fixed(environment) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in FREE}


def _die_with_parent() -> None:
    """A job whose server was killed must not go on unseen (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Serve; the steps' own settings of signals are made in the forks."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    listening = socket.socket(fileno=int(arguments[0]))
    ForkServer(listening, Path(arguments[1])).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
