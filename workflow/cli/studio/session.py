"""What the studio's page works on: one mesh, one job at a time, the results so far, and who listens."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from texgen.diffusion.prompts import require_words
from texgen.errors import PlainError
from workflow.cli.checks import UsageError, below_root, check_number
from workflow.cli.keeping import Keeping, mask_of, parse_box
from workflow.cli.painter import ChosenMethod, choose
from workflow.config.configuration import Config
from workflow.config.kinds import ADAPTER_FILE, METHODS
from workflow.runtime.step_errors import plain_sentence

MOST_RESULTS = 24
MOST_EVENTS = 10_000
MOST_WORDS = 2000
FIELDS = {"prompt", "negative", "seed", "steps", "methods", "model", "base", "box", "part", "mask"}


class Busy(PlainError):
    """Another job is running."""


@dataclass(frozen=True)
class FinishedTexture:
    """One finished texture. glb, png: files below the session's folder. words: for people."""

    number: int
    words: str
    glb: Path
    png: Path


@dataclass(frozen=True)
class PaintTask:
    """What is painted: by each of some choices in turn, with one prompt and seed."""

    choices: tuple[ChosenMethod, ...]
    prompt: str
    seed: int
    keeping: Keeping | None = None
    stop: threading.Event = field(default_factory=threading.Event)


class Session:
    """All that the page can do. Methods may be called from any thread.

    mesh: the working mesh. folder: an empty one, for the files of results.
    """

    def __init__(self, mesh: Any, config: Config, folder: Path) -> None:
        self.mesh, self.config, self.folder = mesh, config, folder
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
            "methods": {name: self.config.methods[name].label or name for name in methods},
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

    def submit(self, given: Mapping[str, Any]) -> None:
        """Start a job that the page asks for. Raises Busy, or UsageError and the like in one sentence."""
        job = self._checked(given)
        with self._lock:
            if self._job is not None:
                raise Busy("A texture is being painted; wait for it, or stop it.")
            self._job = job
        threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def stop(self) -> None:
        """End the running job after its present step."""
        job = self._job
        if job is not None:
            job.stop.set()

    def _checked(self, given: Mapping[str, Any]) -> PaintTask:
        unknown = sorted(set(given) - FIELDS)
        if unknown:
            raise UsageError(f"The page sent {unknown[0]!r}, which is no field of it; load it again.")
        prompt = _text(given, "prompt")
        require_words(prompt)
        seed, steps = _number(given, "seed", 0), _number(given, "steps", None)
        check_number("The seed", seed, 0, 2**53)  # what a page's numbers hold
        check_number("The number of steps", steps, 1, 1000)
        known = self.describe()
        names, model = given.get("methods"), _text(given, "model")
        if not isinstance(names, list) or not 1 <= len(names) <= 2:
            raise UsageError("Choose one method or two.")
        for name in names:
            if name not in known["methods"]:
                raise UsageError(f"There is no method {str(name)[:80]!r} to choose; load the page again.")
        if model and model not in known["models"]:
            raise UsageError(f"There is no tuned model {model[:80]!r} to choose; load the page again.")
        keeping = self._keeping(given)
        settings = {
            "steps": steps,
            "negative_prompt": _text(given, "negative") or None,
            "texture_size": None if keeping is None else keeping.size,
        }
        choices = tuple(choose(self.config, name, settings, model or None) for name in names)
        for choice in choices:
            if keeping is not None and not choice.keeps:
                raise UsageError(
                    f"The method {choice.name!r} cannot keep a part of a texture; choose another."
                )
        return PaintTask(choices, prompt, seed, keeping)

    def _keeping(self, given: Mapping[str, Any]) -> Keeping | None:
        """The result to start from and its region; None where everything is painted."""
        base = _number(given, "base", None)
        regions = [name for name in ("box", "part", "mask") if given.get(name)]
        if base is None:
            if regions:
                raise UsageError("Choose the result of which a region is painted again.")
            return None
        if base not in self.results:
            raise UsageError(f"There is no result {base} any more; choose another.")
        if len(regions) != 1:
            raise UsageError("Give one region to paint again: a box, a part or a mask.")
        import numpy as np
        from PIL import Image

        with Image.open(self.results[base].png) as image:
            texture = np.array(image.convert("RGB"))
        if regions == ["box"]:
            return Keeping(texture, box=parse_box(_text(given, "box"), "The box"))
        if regions == ["part"]:
            return Keeping(texture, parts=(_text(given, "part"),))
        try:
            with Image.open(BytesIO(_decoded(given["mask"]))) as image:
                return Keeping(texture, mask=mask_of(image, "The mask", "of the result", len(texture)))
        except (OSError, SyntaxError, Image.DecompressionBombError):
            raise UsageError("The mask is not a complete picture; give a PNG.") from None

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
        except UsageError as error:
            said = str(error)
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
        from texgen.mesh.export import save_texture_png, write_glb
        from workflow.cli.studio.watching import painted

        self.tell({"kind": "begin", "words": f"{choice.name}: loading"})
        method = self._method(choice)
        begun = time.monotonic()
        self.tell({"kind": "begin", "words": f"{choice.name}: {job.prompt}"})
        texture = painted(method, self.mesh, (job.prompt, job.seed), keep, job.stop, self.tell)
        seconds = time.monotonic() - begun
        self._count += 1
        number = self._count
        glb, png = (self.folder / f"{number}.{ending}" for ending in ("glb", "png"))
        write_glb(glb, self.mesh.to("cpu"), texture)
        save_texture_png(png, texture)
        tuned = "" if choice.tuned is None else f" with {choice.tuned.name}"
        again = "" if keep is None else ", a region"
        words = f"{number}. {choice.name}{tuned}{again}: {job.prompt}, seed {job.seed}, {seconds:.1f} s"
        self.results[number] = FinishedTexture(number, words, glb, png)
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


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > MOST_WORDS:
        raise UsageError(f"The field {name} must be a text of at most {MOST_WORDS} characters.")
    return value


def _number(given: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"The field {name} must be a whole number.")
    return value


def _decoded(text: Any) -> bytes:
    """The bytes of a data: address."""
    import base64
    import binascii

    try:
        return base64.b64decode(str(text).partition(",")[2], validate=True)
    except binascii.Error:
        raise UsageError("The mask is not a complete picture; give a PNG.") from None
