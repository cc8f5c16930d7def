"""Weights that are missing, cut off, of another shape, or programs in disguise: named, never run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.outcomes import check_sentence, outcome
from reference.tiny_models import write_miniature
from reference.tiny_scorers import write_clip, write_head
from safetensors.torch import load_file, save_file

from texgen.diffusion.backbone import Backbone
from workflow.config.inputs import BackboneWeights
from workflow.config.kinds import ADAPTER_FILE
from workflow.config.metrics import parse_metric
from workflow.steps.loading import adapter_hashes, load_backbone
from workflow.steps.scorers import load_metric

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
DEPTH = "controlnet_depth_inpaint/diffusion_pytorch_model.safetensors"


class Trap:
    """What unpickling this would do."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: min(200, path.stat().st_size // 2)])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def header_bomb(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def trap(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap()))


def trap_beside(path: Path) -> None:
    """Only a pickle, under the name that libraries fall back to."""
    path.unlink()
    name = "diffusion_pytorch_model.bin" if path.stem.startswith("diffusion") else "pytorch_model.bin"
    torch.save({"weight": Trap()}, path.with_name(name))


def old_trap_beside(path: Path) -> None:
    """The same without the zip archive around it."""
    path.unlink()
    name = "diffusion_pytorch_model.bin" if path.stem.startswith("diffusion") else "pytorch_model.bin"
    path.with_name(name).write_bytes(pickle.dumps(Trap()))


def first_of(state: dict) -> str:
    return next(key for key in sorted(state) if key.endswith("weight"))


def without_one(path: Path) -> None:
    state = load_file(path)
    state.pop(first_of(state))
    save_file(state, path, metadata={"format": "pt"})


def other_shape(path: Path) -> None:
    state = load_file(path)
    key = first_of(state)
    state[key] = torch.zeros([size + 1 for size in state[key].shape])
    save_file(state, path, metadata={"format": "pt"})


def one_more(path: Path) -> None:
    save_file(load_file(path) | {"more": torch.zeros(2)}, path, metadata={"format": "pt"})


def broken_json(path: Path) -> None:
    path.write_text('{"a": [')


def json_list(path: Path) -> None:
    path.write_text("[]")


DAMAGE: list[tuple[Callable[[Path], None], str, tuple[str, ...]]] = [
    (gone, UNET, ()),
    (cut, UNET, ("unet",)),
    (empty, UNET, ("unet",)),
    (header_bomb, UNET, ("unet",)),
    (trap, UNET, ("unet",)),
    (trap_beside, UNET, ("unet",)),
    (old_trap_beside, UNET, ("unet",)),
    (without_one, UNET, ("unet", "lacks 1 weights")),
    (other_shape, UNET, ("unet", "shape")),
    (broken_json, "unet/config.json", ("unet",)),
    (gone, TEXT, ("text_encoder",)),
    (cut, TEXT, ("text_encoder",)),
    (trap, TEXT, ("text_encoder",)),
    (trap_beside, TEXT, ("text_encoder",)),
    (old_trap_beside, TEXT, ("text_encoder",)),
    (without_one, TEXT, ("text_encoder", "lacks 1 weights")),
    (other_shape, TEXT, ("text_encoder",)),
    (json_list, "text_encoder/config.json", ("text_encoder",)),
    (without_one, "vae/diffusion_pytorch_model.safetensors", ("vae", "lacks 1 weights")),
    (json_list, "vae/config.json", ("vae",)),
    (cut, DEPTH, ("controlnet_depth_inpaint",)),
    (gone, "tokenizer/vocab.json", ("tokenizer",)),
    (cut, "tokenizer/vocab.json", ("tokenizer",)),
    (broken_json, "scheduler/scheduler_config.json", ("scheduler",)),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Undamaged weights of every kind."""
    root = tmp_path_factory.mktemp("weights")
    base, _ = write_miniature(root / "models")
    write_clip(root / "clip")
    write_head(root / "head")
    backbone = Backbone.load(base)
    backbone.add_lora(2)
    backbone.save_lora(root / "adapter")
    return root


@pytest.fixture
def copied(written, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def backbone_block(folder: str = "models/miniature") -> BackboneWeights:
    net = {"folder": "models/miniature/controlnet_depth_inpaint"}
    return BackboneWeights(folder=folder, controlnets={"depth_inpaint": net})


@pytest.mark.parametrize(
    ("damage", "file", "parts"), DAMAGE, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_damaged_backbone_is_named(damage, file, parts, copied):
    damage(copied / "models" / "miniature" / file)
    said = outcome(lambda: load_backbone(backbone_block(), "cpu"))
    check_sentence(said, "models/miniature", *parts)
    assert not Path("executed").exists()


def test_tensors_that_no_network_asks_for_do_no_harm(copied):
    one_more(copied / "models" / "miniature" / UNET)
    assert outcome(lambda: load_backbone(backbone_block(), "cpu")) == ""


@pytest.mark.parametrize(
    ("folder", "parts"),
    [
        ("models/nowhere/at/all", ("models/nowhere/at/all", "no model folder")),
        ("models", ("models", "no unet/")),
        ("clip/config.json", ("clip/config.json",)),
    ],
)
def test_a_folder_that_holds_no_model_is_named(folder, parts, copied):
    settings = backbone_block(folder)
    check_sentence(outcome(lambda: load_backbone(settings, "cpu")), *parts)


def block_of_metric(kind: str, head: str = "head") -> Any:
    """The block of a metric in the configuration."""
    own = {"head": {"path": head}} if kind == "aesthetic" else {}
    return parse_metric({"kind": kind, "clip": {"folder": "clip"}, **own})


SCORERS: list[tuple[str, Callable[[Path], None], str, tuple[str, ...]]] = [
    ("clipscore", gone, "clip/config.json", ("clip",)),
    ("clipscore", gone, "clip/model.safetensors", ("clip",)),
    ("clipscore", cut, "clip/model.safetensors", ("clip",)),
    ("clipscore", trap, "clip/model.safetensors", ("clip",)),
    ("clipscore", trap_beside, "clip/model.safetensors", ("clip",)),
    ("clipscore", without_one, "clip/model.safetensors", ("clip", "missing")),
    ("clipscore", other_shape, "clip/model.safetensors", ("clip",)),
    ("clipscore", broken_json, "clip/preprocessor_config.json", ("clip",)),
    ("aesthetic", gone, "head/head.safetensors", ("head",)),
    ("aesthetic", cut, "head/head.safetensors", ("head",)),
    ("aesthetic", trap, "head/head.safetensors", ("head",)),
    ("aesthetic", without_one, "head/head.safetensors", ("head",)),
    ("aesthetic", other_shape, "head/head.safetensors", ("head",)),
]


@pytest.mark.parametrize(
    ("kind", "damage", "file", "parts"), SCORERS, ids=lambda value: getattr(value, "__name__", None)
)
def test_damaged_weights_of_a_score_are_named(kind, damage, file, parts, copied):
    damage(copied / file)
    check_sentence(outcome(lambda: load_metric(block_of_metric(kind), "cpu")), *parts)
    assert not Path("executed").exists()


@pytest.mark.parametrize("damage", [trap, old_trap_beside], ids=lambda value: value.__name__)
def test_a_pickled_head_is_not_run(damage, copied):
    path = copied / "head" / "head.pth"
    path.write_bytes(b"")
    torch.save({"weight": Trap()}, path) if damage is trap else path.write_bytes(pickle.dumps(Trap()))
    block = block_of_metric("aesthetic", "head/head.pth")
    check_sentence(outcome(lambda: load_metric(block, "cpu")), "head.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize("damage", [gone, cut, empty, trap, other_shape], ids=lambda value: value.__name__)
def test_a_damaged_adapter_is_named(damage, copied):
    backbone = load_backbone(backbone_block(), "cpu")
    damage(copied / "adapter" / ADAPTER_FILE)
    check_sentence(outcome(lambda: backbone.load_lora(copied / "adapter")), ADAPTER_FILE)
    if damage is not other_shape:  # whole as a file
        said = outcome(lambda: adapter_hashes(copied / "adapter"))
        check_sentence(said, ADAPTER_FILE)
    assert not Path("executed").exists()


def test_an_adapter_of_another_backbone_is_named(copied):
    path = copied / "adapter" / ADAPTER_FILE
    state = {key.replace("to_q", "to_nowhere"): value for key, value in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})
    backbone = load_backbone(backbone_block(), "cpu")
    check_sentence(outcome(lambda: backbone.load_lora(copied / "adapter")), ADAPTER_FILE)


def test_the_undamaged_weights_are_good(copied):
    backbone = load_backbone(backbone_block(), "cpu")
    backbone.load_lora(copied / "adapter")
    for kind in ("clipscore", "aesthetic"):
        assert load_metric(block_of_metric(kind), "cpu").name == kind
    assert json.loads((copied / "clip" / "config.json").read_text())["model_type"] == "clip"
