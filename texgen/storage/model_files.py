"""Which files the parts of a diffusion model consist of, in the layouts of diffusers and transformers.

Torch-free: it looks at names, and reads the index of a model in several files, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFolder:
    """One folder of a model, "" = the root. settings: small files that must be there. weights: names, without
    ending, that its weights may have; none for a part without any. whole: all of its files are taken, because
    which ones there are differs between models (tokenizers).
    """

    folder: str
    settings: tuple[str, ...]
    weights: tuple[str, ...] = ()
    whole: bool = False

    def named(self, name: str) -> str:
        """A file of this part, as seen from the model's root."""
        return f"{self.folder}/{name}" if self.folder else name


_NET = ("diffusion_pytorch_model",)
UNET = ModelFolder("unet", ("config.json",), _NET)
BACKBONE = (
    UNET,
    ModelFolder("vae", ("config.json",), _NET),
    ModelFolder("text_encoder", ("config.json",), ("model", "pytorch_model")),
    ModelFolder("tokenizer", ("tokenizer_config.json",), whole=True),
    ModelFolder("scheduler", ("scheduler_config.json",)),
)
CONTROLNET = (ModelFolder("", ("config.json",), _NET),)
INPAINTING = (UNET,)
SCORER = (ModelFolder("", ("config.json",), ("model", "pytorch_model"), whole=True),)
"""A repository of a scorer that `rewards.checkpoints.published_files` does not list."""

_ENDINGS = ("safetensors", "bin")
_SMALL = (".json", ".txt", ".model")


def files_of(
    available: Collection[str], parts: Collection[ModelFolder], read: Callable[[str], str] | None = None
) -> tuple[list[str], list[str]]:
    """(files that make up some parts, names of what is missing), both as seen from the model's root.

    available: all names of a folder or a repository. Safetensors are chosen before pickled weights, one file
    before several, and never a variant such as fp16, as the libraries choose. read: the text of an available
    file, for the index of weights in several files; None = tell them by their numbered names alone.
    """
    names = set(available)
    files: list[str] = []
    missing: list[str] = []
    for part in parts:
        for name in map(part.named, part.settings):
            (files if name in names else missing).append(name)
        if part.whole:
            inside = [name for name in names if _is_in(name, part.folder) and name.endswith(_SMALL)]
            files += [name for name in sorted(inside) if name not in files]
            if part.folder == "tokenizer":
                missing += _lacking_vocabulary(part, names)
        if part.weights:
            found, lacking = _weights(part, names, read)
            files += found
            missing += lacking
    return files, missing


def missing_in(folder: str | Path, parts: Collection[ModelFolder]) -> list[str]:
    """What a folder lacks of some parts; empty where they are complete, all pieces of weights included."""
    folder = Path(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return files_of(names, parts, lambda name: (folder / name).read_text(encoding="utf-8"))[1]


def _is_in(name: str, folder: str) -> bool:
    return name.rpartition("/")[0] == folder


def _lacking_vocabulary(part: ModelFolder, names: Collection[str]) -> list[str]:
    if part.named("tokenizer.json") in names:
        return []
    return [name for name in map(part.named, ("vocab.json", "merges.txt")) if name not in names]


def _weights(
    part: ModelFolder, names: Collection[str], read: Callable[[str], str] | None
) -> tuple[list[str], list[str]]:
    """The weights of a part, and what is missing of them; the first choice of which nothing is missing."""
    incomplete: list[str] = []
    for ending in _ENDINGS:
        for stem in part.weights:
            single = part.named(f"{stem}.{ending}")
            if single in names:
                return [single], []
            index = f"{single}.index.json"
            if index in names:
                pieces = _pieces(index, part, stem, ending, names, read)
                lacking = [piece for piece in pieces if piece not in names]
                if pieces and not lacking:
                    return [index, *pieces], []
                incomplete = incomplete or lacking or [f"the files that {index} names"]
    return [], incomplete or [part.named(f"{part.weights[0]}.{_ENDINGS[0]}")]


def _pieces(
    index: str,
    part: ModelFolder,
    stem: str,
    ending: str,
    names: Collection[str],
    read: Callable[[str], str] | None,
) -> list[str]:
    """Names of the files that weights in several files lie in."""
    if read is not None:
        try:
            named = set(json.loads(read(index))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return []
        return sorted(map(part.named, named))
    pattern = re.compile(re.escape(part.named(stem)) + r"-\d+-of-(\d+)\." + ending)
    found = sorted(name for name in names if pattern.fullmatch(name))
    whole = bool(found) and len(found) == int(pattern.fullmatch(found[0])[1])  # type: ignore[index]
    return found if whole else []
