"""What the studio's page works on: one mesh, one job at a time, the results so far, and who listens."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from texgen.errors import PlainError
from workflow.cli.checks import below_root
from workflow.cli.keeping import float_texture
from workflow.cli.painter import ChosenMethod, keeping_methods
from workflow.cli.studio.orders import FinishedTexture, PaintTask, checked_job, checked_texture
from workflow.config.configuration import Config
from workflow.config.kinds import ADAPTER_FILE, METHODS
from workflow.runtime.step_errors import plain_sentence

MOST_RESULTS = 24
MOST_EVENTS = 10_000


class Busy(PlainError):
    """Another job is running."""


class Session:
    """All that the page can do. Methods may be called from any thread.

    mesh: the working mesh. folder: an empty one, for the files of results. require_uvs: raises UsageError
    where no texture from elsewhere fits the mesh, because its uvs are not those of its file.
    """

    def __init__(
        self, mesh: Any, config: Config, folder: Path, require_uvs: Callable[[], None] = lambda: None
    ) -> None:
        self.mesh, self.config, self.folder, self.require_uvs = mesh, config, folder, require_uvs
        self.results: dict[int, FinishedTexture] = {}
        self._count = 0
        self._job: PaintTask | None = None
        self._lock = threading.Lock()
        self._listeners: set[queue.Queue] = set()
        self._loaded: tuple[Any, Any] = (None, None)  # what the painter in memory was made of, and it

    def describe(self) -> dict[str, Any]:
        """What the page shows: the mesh, what can be chosen, and the results."""
        from texgen.painting.regions import part_names

        methods = [name for name, each in self.config.methods.items() if METHODS[each.kind].needs_backbone]
        methods = [name for name in methods if self.config.methods[name].kind != "precomputed"]
        trained = below_root(self.config.results) / "models"
        results = tuple(self.results.values())  # others may come while this one reads
        return {
            "kind": "state",
            "mesh": self.mesh.name,
            "faces": len(self.mesh.faces),
            "methods": {name: self.config.methods[name].label or name for name in methods},
            "keeping": [name for name in keeping_methods(self.config) if name in methods],
            "models": [name for name in self.config.models if (trained / name / ADAPTER_FILE).is_file()],
            "parts": part_names(self.mesh),
            "busy": self._job is not None,
            "results": [{"number": each.number, "words": each.words} for each in results],
        }

    def listen(self) -> queue.Queue:
        """A queue that gets all events from now on, the state first."""
        listener: queue.Queue = queue.Queue(maxsize=MOST_EVENTS)
        self._listeners.add(listener)
        listener.put(self.describe())
        return listener

    def hears(self, listener: queue.Queue) -> bool:
        """Whether a listener still gets events."""
        return listener in self._listeners

    def forget(self, listener: queue.Queue) -> None:
        """End a `listen`."""
        self._listeners.discard(listener)

    def tell(self, event: dict[str, Any]) -> None:
        """Hand an event to everybody who listens; who does not keep up is forgotten, and comes again."""
        for listener in tuple(self._listeners):
            try:
                listener.put_nowait(event)
            except queue.Full:
                self.forget(listener)

    def submit(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Start a job that the page asks for. Raises Busy, or UsageError and the like in one sentence."""
        job = checked_job(given, self.config, self.describe(), self.results)
        with self._lock:
            if self._job is not None:
                raise Busy("A texture is being painted; wait for it, or stop it.")
            self._job = job
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return {}

    def start_from(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take a texture that the page sends as a result, of which a region can be painted again; its number.
        Raises Busy, or UsageError in one sentence."""
        name, pixels = checked_texture(given)
        if self._job is not None:
            raise Busy("A texture is being painted; wait for it, or stop it.")
        number = self.add_texture(name, pixels)
        self.tell({**self.describe(), "made": [number], "said": None})
        return {"number": number}

    def add_texture(self, name: str, pixels: Any) -> int:
        """The number of a result that shows a texture from elsewhere: [T, T, 3] uint8, row 0 at the top.
        Raises UsageError where none fits the mesh."""
        self.require_uvs()
        return self._keep(f"{name}, as it was given", float_texture(pixels))

    def stop(self) -> None:
        """End the running job after its present step."""
        job = self._job
        if job is not None:
            job.stop.set()

    def _run(self, job: PaintTask) -> None:
        """Paint; whatever goes wrong is told to the page."""
        from workflow.cli.studio.watching import StoppedByUser

        said, made = None, []
        try:
            keep = None if job.keeping is None else job.keeping.kept(self.mesh)
            for choice in job.choices:
                made.append(self._paint(job, choice, keep))
        except StoppedByUser:
            said = "Stopped."
        except Exception as error:
            said = plain_sentence(error)
            if said is None:
                traceback.print_exc()
                said = f"{type(error).__name__}: {error}"
        with self._lock:
            self._job = None
        self.tell({**self.describe(), "made": made, "said": said})

    def _paint(self, job: PaintTask, choice: ChosenMethod, keep: Any) -> int:
        """One texture by one choice; the number of its result."""
        from workflow.cli.studio.watching import painted

        self.tell({"kind": "begin", "words": f"{choice.name}: loading"})
        method = self._method(choice)
        begun = time.monotonic()
        self.tell({"kind": "begin", "words": f"{choice.name}: {job.prompt}"})
        texture = painted(method, self.mesh, (job.prompt, job.seed), keep, job.stop, self.tell)
        seconds = time.monotonic() - begun
        tuned = "" if choice.tuned is None else f" with {choice.tuned.name}"
        again = "" if keep is None else ", a region"
        return self._keep(
            f"{choice.name}{tuned}{again}: {job.prompt}, seed {job.seed}, {seconds:.1f} s", texture
        )

    def _keep(self, words: str, texture: Any) -> int:
        """Write a texture [3, T, T] and its mesh as the next result; the oldest make room. Its number."""
        from texgen.mesh.export import save_texture_png, write_glb

        with self._lock:
            self._count += 1
            number = self._count
        glb, png = (self.folder / f"{number}.{ending}" for ending in ("glb", "png"))
        write_glb(glb, self.mesh.to("cpu"), texture)
        save_texture_png(png, texture)
        self.results[number] = FinishedTexture(number, f"{number}. {words}", glb, png)
        while len(self.results) > MOST_RESULTS:
            old = self.results.pop(next(iter(self.results)))
            old.glb.unlink(missing_ok=True)
            old.png.unlink(missing_ok=True)
        return number

    def _method(self, choice: ChosenMethod) -> Any:
        """The painter of a choice. One stays in memory: adapters are merged into its weights."""
        key = (choice.name, repr(sorted(choice.changes.items())), choice.tuned)
        if self._loaded[0] != key:
            self._loaded = (None, None)  # freed before the next one is loaded
            self._loaded = (key, choice.load(self.folder / "official"))
        return self._loaded[1]
