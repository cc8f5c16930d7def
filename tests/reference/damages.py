"""What can happen to a file after it was written, by name, and the records of a tiny run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def _cut_at_a_line(path: Path, other: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: max(1, len(lines) * 2 // 3)] if len(lines) > 1 else []))


def _flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x41
    path.write_bytes(data)


def _folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _swap(path: Path, other: Path) -> None:
    """Another asset's, method's or mesh's file of the same kind."""
    shutil.copyfile(other, path)


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda path, other: path.write_bytes(b""),
    "cut at a line": _cut_at_a_line,
    "cut in a line": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without its last byte": lambda path, other: path.write_bytes(path.read_bytes()[:-1]),
    "zeroed": lambda path, other: path.write_bytes(bytes(path.stat().st_size)),
    "bit flipped": _flip,
    "null": lambda path, other: path.write_bytes(b"null"),
    "[]": lambda path, other: path.write_bytes(b"[]"),
    "{}": lambda path, other: path.write_bytes(b"{}"),
    "nested": lambda path, other: path.write_bytes(b"[" * 100_000),
    "swapped": _swap,
    "missing": lambda path, other: path.unlink(),
    "a folder": _folder,
    "a link to itself": _loop,
    "unreadable": lambda path, other: path.chmod(0),
}

# Kind -> (pattern below results of what is damaged, pattern of the file that it is swapped with).
KINDS = {
    "run": ("textures/tuned/unseen--red--0/run.json", "textures/tuned/unseen--blue--0/run.json"),
    "texture": (
        "textures/tuned/unseen--red--0/texture.png",
        "textures/pretrained/unseen--red--0/texture.png",
    ),
    "painted": (
        "textures/pretrained/unseen--blue--0/painted.png",
        "textures/tuned/unseen--red--0/texture.png",
    ),
    "glb": ("textures/pretrained/unseen--red--0/mesh.glb", "textures/tuned/unseen--red--0/mesh.glb"),
    "manifest": ("textures/pretrained/shard-0.json", "textures/tuned/shard-0.json"),
    "mesh": ("meshes/unseen/mesh.npz", "meshes/seen/mesh.npz"),
    "geometry": ("meshes/unseen/geometry.npz", "meshes/seen/geometry.npz"),
    "mesh record": ("meshes/unseen/mesh.json", "meshes/seen/mesh.json"),
    "adapter": ("models/tuned/pytorch_lora_weights.safetensors", "models/tuned/history.jsonl"),
    "history": ("models/tuned/history.jsonl", "models/tuned/config.json"),
    "model record": ("models/tuned/config.json", "meshes/seen/mesh.json"),
    "checkpoint": ("training/tuned/checkpoint.*.pt", "models/tuned/pytorch_lora_weights.safetensors"),
    "scores": ("scores/aesthetic/tuned.tsv", "scores/aesthetic/pretrained.tsv"),
    "score record": ("scores/clipscore/tuned.json", "scores/clipscore/pretrained.json"),
    "quality": ("quality.tsv", "scores/aesthetic/tuned.tsv"),
    "quality record": ("quality.json", "scores/aesthetic/tuned.json"),
    "settings": ("settings/texture.tuned.0.*.json", "settings/texture.pretrained.0.*.json"),
    "table settings": ("settings/table.*.json", "settings/score.aesthetic.*.json"),
    "benchmark": ("benchmarks/texture/tuned.0.tsv", "benchmarks/texture/pretrained.0.tsv"),
}


def one(results: Path, pattern: str) -> Path:
    """The file of a pattern, the first where there are several."""
    return sorted(results.glob(pattern))[0]


# Kind -> the jobs of which one is named before a run. Of the others: a checkpoint is checked by the training
# that goes on from it, a settings file is written again by every parse, the table checks a benchmark.
JOBS = {
    "run": {"texture.tuned.0"},
    "texture": {"texture.tuned.0", "texture.pretrained.0"},
    "painted": {"texture.pretrained.0", "texture.tuned.0"},
    "glb": {"texture.pretrained.0", "texture.tuned.0"},
    "manifest": {"texture.pretrained.0", "texture.tuned.0"},
    "mesh": {"mesh.unseen", "mesh.seen"},
    "geometry": {"mesh.unseen", "mesh.seen"},
    "mesh record": {"mesh.unseen", "mesh.seen"},
    "adapter": {"model.tuned"},
    "history": {"model.tuned"},
    "model record": {"model.tuned", "mesh.seen"},
    "scores": {"score.tuned", "score.pretrained"},
    "score record": {"score.tuned", "score.pretrained"},
    "quality": {"quality", "score.tuned"},
    "quality record": {"quality", "score.tuned"},
}


def damaged_path(results: Path, kind: str, swapped: bool = False) -> Path:
    """The file that `damage` damages."""
    return one(results, KINDS[kind][swapped])


def damage(results: Path, kind: str, how: str, swapped: bool = False, whole: Path | None = None) -> Path:
    """Damage the record of a kind, or the other file of its pair; the path of what was damaged.

    whole: results of the same names that nothing is damaged in, from which the other file is taken.
    """
    ours = damaged_path(results, kind, swapped)
    DAMAGES[how](ours, damaged_path(whole or results, kind, not swapped))
    return ours
