"""Rewards and methods in files of your own: `file: my_reward.py:MyReward`.

The file need not be part of any package; its code is part of the identity of every job that runs it. Its
arguments are checked by reading its source. Imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError

from workflow.config.signatures import REQUIRED, Signature, of_file
from workflow.provenance import ROOT

Place = Annotated[str, StringConstraints(pattern=r"^[^:]+\.py:[A-Za-z_]\w*$")]
PLACE = "Python file and the class or function in it, as FILE.py:NAME; the file from the root."


def path_of(place: str) -> Path:
    """The file of a place, from the working directory, else from the root of the project."""
    path = Path(place.rpartition(":")[0]).expanduser()
    return path if path.is_file() else ROOT / path


def signature_of(place: str, method: str = "__init__") -> Signature:
    """What the class or function takes. Raises ValueError in one sentence."""
    return of_file(path_of(place), place.rpartition(":")[2], method)


def check_arguments(
    place: str, signature: Signature, arguments: Mapping[str, Any], handed: tuple[str, ...] = ()
) -> None:
    """Refuse arguments that a class or function does not take, or of another type, or that are missing.

    place: its name for people. handed: parameters that the workflow fills itself. Raises ValueError in one
    sentence.
    """
    known = {each.name: each for each in signature.parameters if each.name not in handed}
    for name, value in arguments.items():
        if name in handed or name not in known and not signature.open:
            allowed = ", ".join(known) or "none"
            raise ValueError(f"arguments.{name} is not an argument of {place}; its arguments are {allowed}")
        if name in known:
            try:
                TypeAdapter(known[name].annotation).validate_python(value, strict=True)
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise ValueError(
                    f"arguments.{name} is {value!r}; {message[0].lower()}{message[1:]}"
                ) from None
    missing = [name for name, each in known.items() if each.default is REQUIRED and name not in arguments]
    if missing:
        raise ValueError(f"arguments lacks {missing[0]}, which {place} needs")


def load(place: str) -> Any:
    """The class or function itself. Raises ImportError in one sentence where its file cannot be run."""
    path, name = path_of(place).resolve(), place.rpartition(":")[2]
    key = f"texreward_custom_{sha256(str(path).encode()).hexdigest()[:12]}"
    if key not in sys.modules:
        spec = spec_from_file_location(key, path)
        assert spec is not None and spec.loader is not None  # `check_place` lets .py files pass alone
        module = module_from_spec(spec)
        sys.modules[key] = module  # dataclasses look their module up
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # for files beside it; last, so that they hide nothing
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[key]
            raise ImportError(f"{path} cannot be imported ({type(error).__name__}: {error}).") from error
    return getattr(sys.modules[key], name)
