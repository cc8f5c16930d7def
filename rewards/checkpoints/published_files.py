"""Where the published weights of scorers are: hub ids, pinned revisions, files, hashes, licences.

Imports neither torch nor transformers: the workflow reads this at every parse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WeightFile:
    """One file of a repository; size in bytes and SHA-256 where they are known."""

    name: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A hub repository that we use: the pinned revision, its licence, what we take of it."""

    revision: str
    licence: str
    weights: tuple[WeightFile, ...] = ()
    settings: tuple[str, ...] = ()
    tokenizer: tuple[str, ...] = ()


_CLIP_SETTINGS = ("config.json", "preprocessor_config.json")
_CLIP_TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt")

PUBLISHED = {
    "openai/clip-vit-large-patch14": Published(
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        "code MIT; terms of the weights not stated",
        (
            WeightFile(
                "model.safetensors",
                1_710_540_580,
                "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            ),
        ),
        _CLIP_SETTINGS,
        _CLIP_TOKENIZER,
    ),
    "openai/clip-vit-base-patch32": Published(
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        "code MIT; terms of the weights not stated",
        (
            WeightFile(
                "pytorch_model.bin",
                605_247_071,
                "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
            ),
        ),
        _CLIP_SETTINGS,
        _CLIP_TOKENIZER,
    ),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": Published(
        "1c2b8495b28150b8a4922ee1c8edee224c284c0c",
        "MIT",
        (WeightFile("model.safetensors"),),
        _CLIP_SETTINGS,
        _CLIP_TOKENIZER,
    ),
    "yuvalkirstain/PickScore_v1": Published(
        "a4e4367c6dfa7288a00c550414478f865b875800",
        "MIT (code); of the weights not stated",
        (WeightFile("model.safetensors"),),
        ("config.json",),
    ),
    "xswu/HPSv2": Published(
        "697403c78157020a1ae59d23f111aa58ced35b0a",
        "Apache-2.0",
        (
            WeightFile("HPS_v2_compressed.pt"),
            WeightFile(
                "HPS_v2.1_compressed.pt",
                1_972_490_005,
                "c57a38fb4a2f7e7c15bf00da2ea377cdf165448b4dd1052a484c215a998c9837",
            ),
        ),
    ),
    "zai-org/ImageReward": Published(
        "5736be03b2652728fb87788c9797b0570450ab72",
        "Apache-2.0 (parts of BLIP: BSD-3-Clause)",
        (WeightFile("ImageReward.pt"),),
        ("med_config.json",),
    ),
    "google-bert/bert-base-uncased": Published(
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "Apache-2.0",
        (WeightFile("model.safetensors"),),
        ("config.json",),
        ("tokenizer_config.json", "tokenizer.json", "vocab.txt"),
    ),
}
# CLIP backbones that clipscore can be asked for by name.
CLIP_MODELS = {
    "ViT-B/32": "openai/clip-vit-base-patch32",
    "ViT-L/14": "openai/clip-vit-large-patch14",
}
LAION_HEAD_LICENCE = "Apache-2.0"
HPS_FILES = {"v2.0": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}


@dataclass(frozen=True)
class NeededFiles:
    """Files of one hub repository that a metric needs. No files: a repository that is not in our list."""

    hub: str
    revision: str | None
    files: tuple[WeightFile, ...]
    licence: str

    @property
    def size(self) -> int | None:
        """Bytes of the files, where all large ones are known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if sizes else None


def wanted(settings: dict[str, Any]) -> dict[str, NeededFiles]:
    """What a metric's settings need from hubs, by the field that names it: clip, weights, tokenizer."""
    needs = {}
    for field in ("clip", "weights", "tokenizer"):
        block = settings.get(field)
        if block is not None and block.get("hub") is not None:
            needs[field] = _wanted(field, block, settings)
    return needs


def _wanted(field: str, block: dict[str, Any], settings: dict[str, Any]) -> NeededFiles:
    published = PUBLISHED.get(block["hub"])
    if published is None:
        return NeededFiles(block["hub"], block["revision"], (), "see its page")
    pinned = block["revision"] in (None, published.revision)
    weights = published.weights
    if settings["kind"] == "hpsv2" and field == "weights":
        weights = tuple(file for file in weights if file.name == HPS_FILES[settings["version"]])
    small = tuple(WeightFile(name) for name in (*published.settings, *published.tokenizer))
    if field == "tokenizer":
        files = small
    else:
        files = (*(_checked(file, block, pinned) for file in weights), *small)
    return NeededFiles(block["hub"], block["revision"] or published.revision, files, published.licence)


def _checked(file: WeightFile, block: dict[str, Any], pinned: bool) -> WeightFile:
    """What is known of a file of weights; a hash in the configuration counts for any revision."""
    known = file if pinned else WeightFile(file.name)
    return WeightFile(file.name, known.size, block.get("sha256") or known.sha256)
