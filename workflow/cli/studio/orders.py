"""What the studio's page asks for, checked: jobs, regions, and textures from elsewhere."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from texgen.diffusion.prompts import require_words
from workflow.cli.checks import UsageError, check_number
from workflow.cli.keeping import Keeping, mask_of, parse_box, texture_of
from workflow.cli.painter import ChosenMethod, MethodRequest, choose
from workflow.config.configuration import Config

MOST_WORDS = 2000
FIELDS = {"prompt", "negative", "seed", "steps", "methods", "model", "base", "box", "part", "mask"}
REGIONS = ("box", "part", "mask")
Default = TypeVar("Default", int, None)


@dataclass(frozen=True)
class FinishedTexture:
    """One texture to look at. glb, png: files below the session's folder. words: for people."""

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


def checked_job(
    given: Mapping[str, Any], config: Config, known: Mapping[str, Any], results: Mapping[int, FinishedTexture]
) -> PaintTask:
    """The job of a form. known: what the page was shown, its `methods` and `models`. Raises UsageError."""
    _refuse_others(given, FIELDS)
    prompt = _text(given, "prompt")
    require_words(prompt)
    seed, steps = _number(given, "seed", 0), _number(given, "steps", None)
    check_number("The seed", seed, 0, 2**53)  # what a page's numbers hold
    check_number("The number of steps", steps, 1, 1000)
    names, model = given.get("methods"), _text(given, "model")
    if not isinstance(names, list) or not 1 <= len(names) <= 2:
        raise UsageError("Choose one method or two.")
    for name in names:
        if name not in known["methods"]:
            raise UsageError(f"There is no method {str(name)[:80]!r} to choose; load the page again.")
    if model and model not in known["models"]:
        raise UsageError(f"There is no tuned model {model[:80]!r} to choose; load the page again.")
    keeping = _keeping(given, results)
    settings = {
        "steps": steps,
        "negative_prompt": _text(given, "negative") or None,
        "texture_size": None if keeping is None else keeping.size,
    }
    choices = tuple(choose(config, MethodRequest(name, settings, model or None)) for name in names)
    for choice in choices:
        if keeping is not None and not choice.keeps:
            raise UsageError(f"The method {choice.name!r} cannot keep a part of a texture; choose another.")
    return PaintTask(choices, prompt, seed, keeping)


def checked_texture(given: Mapping[str, Any]) -> tuple[str, Any]:
    """(name, [T, T, 3] uint8, row 0 at the top) of a texture that the page sends. Raises UsageError."""
    _refuse_others(given, {"name", "texture"})
    name = _text(given, "name") or "a texture"
    with _sent_picture(given.get("texture"), "texture") as image:
        return name, texture_of(image, f"The texture {name[:80]}")


def _keeping(given: Mapping[str, Any], results: Mapping[int, FinishedTexture]) -> Keeping | None:
    """The result to start from and its region; None where everything is painted."""
    base = _number(given, "base", None)
    regions = [name for name in REGIONS if given.get(name)]
    if base is None:
        if regions:
            raise UsageError("Choose the result of which a region is painted again.")
        return None
    if base not in results:
        raise UsageError(f"There is no result {base} any more; choose another.")
    if len(regions) != 1:
        raise UsageError("Give one region to paint again: a box, a part or a mask.")
    import numpy as np
    from PIL import Image

    with Image.open(results[base].png) as image:
        texture = np.array(image.convert("RGB"))
    if regions == ["box"]:
        return Keeping(texture, box=parse_box(_text(given, "box"), "The box"))
    if regions == ["part"]:
        return Keeping(texture, parts=(_text(given, "part"),))
    with _sent_picture(given["mask"], "mask") as image:
        return Keeping(texture, mask=mask_of(image, "The mask", "of the result", len(texture)))


@contextmanager
def _sent_picture(text: Any, what: str) -> Iterator[Any]:
    """The picture of a data: address, open. Raises UsageError."""
    from PIL import Image

    try:
        with Image.open(BytesIO(base64.b64decode(str(text).partition(",")[2], validate=True))) as image:
            yield image
    except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        raise UsageError(f"The {what} is not a complete picture; give a PNG.") from None


def _refuse_others(given: Mapping[str, Any], fields: set[str]) -> None:
    unknown = sorted(set(given) - fields)
    if unknown:
        raise UsageError(f"The page sent {unknown[0]!r}, which is not a field of it; load it again.")


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > MOST_WORDS:
        raise UsageError(f"The field {name} must be a text of at most {MOST_WORDS} characters.")
    return value


def _number(given: Mapping[str, Any], name: str, default: Default) -> int | Default:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"The field {name} must be a whole number.")
    return value
