"""`texreward weights` for diffusion models: every file of every part, from a mirror, opened offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from reference import hub, tiny_models

from workflow.config.configuration import load_config
from workflow.provenance import ROOT
from workflow.weights.published import needs

SD, CONTROL, INPAINT = "someone/sd", "someone/control", "someone/inpaint"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """A backbone, its ControlNet in two files, an inpainting model, each with files that nobody needs."""
    root = tmp_path_factory.mktemp("hub")
    tiny_models.write_sd15(root)
    (root / "sd15" / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"a variant")
    (root / "sd15" / "v1-5-pruned.safetensors").write_bytes(b"everything in one")
    control = next(path for path in root.iterdir() if path.name != "sd15")
    pieces = [f"diffusion_pytorch_model-{i:05}-of-00002.safetensors" for i in (1, 2)]
    split(control, pieces)
    inpaint = root / "inpaint"
    shutil.copytree(root / "sd15" / "unet", inpaint / "unet")
    (inpaint / "vae").mkdir()
    (inpaint / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not opened")
    return {SD: root / "sd15", CONTROL: control, INPAINT: inpaint}


def split(folder: Path, pieces: list[str]) -> None:
    """Weights of one file in two, with their index."""
    from safetensors.torch import load_file, save_file

    whole = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    shares = (names[: len(names) // 2], names[len(names) // 2 :])
    for piece, share in zip(pieces, shares, strict=True):
        save_file({name: tensors[name] for name in share}, folder / piece, metadata={"format": "pt"})
    where = {name: piece for piece, share in zip(pieces, shares, strict=True) for name in share}
    index = {"metadata": {"total_size": whole.stat().st_size}, "weight_map": where}
    (folder / f"{whole.name}.index.json").write_text(json.dumps(index))
    whole.unlink()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    data |= {"models": {}, "methods": {"pretrained": {"kind": "texgen"}, "texture": {"kind": "texture"}}}
    data["presets"]["texture"] |= {"control_role": "depth_inpaint", "window_role": "unet"}
    data["metrics"] = {"alignment": {"kind": "alignment"}}
    data["backbone"] = {
        "hub": SD,
        "revision": hub.COMMIT,
        "controlnets": {"depth_inpaint": {"hub": CONTROL}},
        "inpainting": {"hub": INPAINT, "revision": hub.COMMIT},
    }
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def weights(action: str, config: Path, folder: Path, endpoint: str | None, *more: str):
    """`texreward weights`, as in a shell: the hub's client reads its variables once."""
    environment = os.environ | {"HF_HOME": str(folder), "TEXREWARD_WEIGHTS": str(folder / "own")}
    environment |= {"HF_HUB_OFFLINE": "1"} if endpoint is None else {"HF_HUB_OFFLINE": "0"}
    environment |= {"HF_ENDPOINT": endpoint or "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "workflow.cli.main", "weights", action, "--config", str(config), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


LOAD = """
import sys
from workflow.config.configuration import load_config
from workflow.steps.loading import load_backbone
settings = load_config(sys.argv[1]).backbone
backbone = load_backbone(settings, "cpu")
print(sorted(backbone.controlnets), backbone.inpainting is not None)
"""


def test_the_inpainting_model_is_needed_too(config):
    found = {need.name: need for need in needs(load_config(config))}
    assert set(found) == {SD, CONTROL, INPAINT} and found[INPAINT].users == ("inpainting",)
    data = yaml.safe_load(config.read_text())
    del data["methods"]["texture"]
    (config.parent / "less.yaml").write_text(yaml.safe_dump(data))
    less = {need.name for need in needs(load_config(config.parent / "less.yaml"))}
    assert less == {SD, CONTROL}, "what no method opens is not downloaded"


def test_everything_is_fetched_from_a_mirror_once_and_opened_offline(config, repositories, tmp_path):
    missing = weights("check", config, tmp_path, None, "--json")
    rows = json.loads(missing.stdout)
    assert missing.returncode == 1 and not any(row["present"] for row in rows)
    files = {(row["source"], row["file"]) for row in rows}
    assert (INPAINT, "unet/diffusion_pytorch_model.safetensors") in files and len(files) == 14

    with hub.serving(repositories) as (endpoint, asked):
        fetched = weights("fetch", config, tmp_path, endpoint)
        assert fetched.returncode == 0, fetched.stderr
        said = fetched.stderr
        assert said.index("to download in all: ") < said.index(f"downloading {SD}")
        assert f"to download: {SD}@{hub.COMMIT[:12]}, 10 files, " in said
        assert f"{CONTROL} is not pinned; this is its revision {hub.COMMIT}" in said
        names = {line.rpartition("/")[2] for line in asked if line.startswith("GET") and "resolve" in line}
        assert not names & {"diffusion_pytorch_model.fp16.safetensors", "v1-5-pruned.safetensors"}
        assert "diffusion_pytorch_model-00002-of-00002.safetensors" in names
        assert not any("inpaint" in line and "vae" in line for line in asked)
        asked.clear()
        again = weights("fetch", config, tmp_path, endpoint)
        assert again.returncode == 0 and not any("resolve" in line for line in asked)

    present = json.loads(weights("check", config, tmp_path, None, "--json").stdout)
    assert all(row["present"] and row["hash"] in ("ok", "-") for row in present)
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9"}  # nobody answers there
    opened = subprocess.run(
        [sys.executable, "-c", LOAD, str(config)], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert opened.stdout.strip() == "['depth_inpaint'] True", opened.stderr[-2000:]

    # A cut-off download is not taken for a model.
    piece = next(tmp_path.rglob("diffusion_pytorch_model-00002-of-00002.safetensors"))
    piece.unlink()
    lacking = weights("fetch", config, tmp_path, None)
    assert lacking.returncode == 2
    assert f"diffusion_pytorch_model-00002-of-00002.safetensors of {CONTROL} at" in lacking.stderr


def test_a_repository_that_lacks_a_part_is_refused(config, repositories, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(repositories[SD], broken)
    shutil.rmtree(broken / "vae")
    with hub.serving(repositories | {SD: broken}) as (endpoint, _):
        done = weights("fetch", config, tmp_path / "cache", endpoint)
    assert done.returncode == 2
    assert f"{SD} has no vae/config.json, vae/diffusion_pytorch_model.safetensors" in done.stderr
