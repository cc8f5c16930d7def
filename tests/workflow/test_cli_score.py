"""`texreward score` and `texreward weights` on tiny models and without a network."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from PIL import Image
from reference.tiny_scorers import SIDE, write_clip, write_head, write_image_reward

from rewards.checkpoints.store import WeightsMissing
from rewards.picture_files import read_image
from workflow.cli.main import main
from workflow.config.configuration import load_config
from workflow.provenance import ROOT
from workflow.weights.published import needs, require


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("scorers")
    clip = {"folder": str(write_clip(root / "clip"))}
    data = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    data |= {"models": {}, "methods": {"pretrained": {"kind": "texgen"}}}
    data["metrics"] = {
        "aesthetic": {"kind": "aesthetic", "clip": clip, "head": {"path": str(write_head(root / "head"))}},
        "clipscore": {"kind": "clipscore", "clip": clip},
        "imagereward": {"kind": "imagereward", "weights": {"folder": str(write_image_reward(root / "blip"))}},
        "hpsv2": {"kind": "hpsv2", "weights": clip},
        "pickscore": {"kind": "pickscore", "weights": clip},
        "alignment": {"kind": "alignment"},
    }
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = torch.Generator().manual_seed(0)
    paths = []
    for index, size in enumerate(((SIDE, SIDE), (SIDE, SIDE), (40, 50))):
        pixels = torch.randint(0, 256, (*size, 4), generator=random, dtype=torch.uint8)
        paths.append(folder / f"{index}.png")
        Image.fromarray(pixels.numpy()).save(paths[-1])
    return [str(path) for path in paths]


def test_every_metric_that_judges_images_is_a_column(config, pictures, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["score", *pictures, "--prompt", "a red cow", "--config", str(config), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [record["image"] for record in data["images"]] == pictures
    assert data["background"] == [1.0, 1.0, 1.0] and data["backend"] == "native"
    assert set(data["versions"]) == {"aesthetic", "clipscore", "imagereward", "hpsv2", "pickscore"}
    arguments = ["score", pictures[1], "--prompt", "a red cow", "--config", str(config)]
    assert main([*arguments, "--metric", "hpsv2", "--metric", "clipscore"]) == 0
    head, row = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["image", "hpsv2", "clipscore"]
    assert row.split() == ["1.png", *(f"{data['images'][1][name]:.4f}" for name in ("hpsv2", "clipscore"))]


def test_images_are_opened_few_at_a_time_and_scored_as_before(config, pictures, capsys, monkeypatch):
    from workflow.cli import score as cli_score

    monkeypatch.chdir(ROOT)
    arguments = ["score", *pictures, "--prompt", "a red cow", "--config", str(config), "--json"]
    arguments += ["--metric", "clipscore", "--metric", "imagereward"]
    assert main(arguments) == 0
    together = json.loads(capsys.readouterr().out)
    assert cli_score.batches_of(pictures) == [[0, 1], [2]]
    monkeypatch.setattr(cli_score, "BATCH_PIXELS", SIDE * SIDE)
    assert cli_score.batches_of(pictures) == [[0], [1], [2]]
    opened, read = [], cli_score.read_image
    monkeypatch.setattr(cli_score, "read_image", lambda *a: opened.append(a[0]) or read(*a))
    assert main([*arguments, "--precision", "float16"]) == 0
    one_by_one = json.loads(capsys.readouterr().out)
    assert opened == pictures * 2 and one_by_one["precision"] == "float16"
    for before, after in zip(together["images"], one_by_one["images"], strict=True):
        for name in ("clipscore", "imagereward"):
            assert before[name] != after[name] and after[name] == pytest.approx(before[name], abs=0.02)


def test_every_image_with_every_prompt(config, pictures, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = ["score", *pictures, "--config", str(config), "--json"]
    prompts = ["a red cow", "a vase"]
    both = [*arguments, "--prompt", prompts[0], "--prompt", prompts[1], "--every-prompt"]
    assert main(both) == 0
    found = json.loads(capsys.readouterr().out)["images"]
    assert [(each["image"], each["prompt"]) for each in found] == [(i, p) for i in pictures for p in prompts]
    for place, prompt in enumerate(prompts):
        assert main([*arguments, "--prompt", prompt]) == 0
        expected = json.loads(capsys.readouterr().out)["images"]
        for one, other in zip(found[place::2], expected, strict=True):
            values = {key: value for key, value in other.items() if isinstance(value, float)}
            assert len(values) == 5
            assert {key: one[key] for key in values} == pytest.approx(values, abs=2e-5)
    assert main([each for each in both if each != "--json"] + ["--metric", "clipscore"]) == 0
    head, row, *rest = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["image", "prompt", "clipscore"] and len(rest) == 5
    assert row.split() == ["0.png", "a", "red", "cow", f"{found[0]['clipscore']:.4f}"]


def test_the_background_is_part_of_the_score(config, pictures, capsys):
    found = []
    for colour in ("1,1,1", "0,0,0"):
        arguments = [pictures[0], "--prompt", "cow", "--config", str(config), "--background", colour]
        assert main(["score", *arguments, "--metric", "clipscore", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["images"][0]["clipscore"])
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--metric", "magic"], "There is no image metric 'magic'"),
        (["--metric", "alignment"], "allowed are aesthetic"),
        (["--background", "white"], "give three numbers"),
        (["--prompt", "second"], "1 images but 2 prompts"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, part, config, pictures, capsys):
    assert main(["score", pictures[0], "--prompt", "cow", "--config", str(config), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert part in error and len(error.splitlines()) == 1


def test_a_file_that_is_no_image_is_named(config, tmp_path, capsys):
    (tmp_path / "text.png").write_text("hello")
    assert main(["score", str(tmp_path / "text.png"), "--prompt", "cow", "--config", str(config)]) == 2
    assert "text.png cannot be read as an image" in capsys.readouterr().err


def test_sixteen_bit_images_are_scored_at_their_brightness_and_do_not_turn_white(config, tmp_path, capsys):
    deep = str(tmp_path / "deep.tiff")
    Image.fromarray(torch.full((SIDE, SIDE), 1000, dtype=torch.int32).numpy()).save(deep)
    image = read_image(deep, (1.0, 1.0, 1.0))
    assert torch.allclose(image, torch.full((1, 3, SIDE, SIDE), 1000 / 65535), atol=1e-6)
    assert main(["score", deep, "--prompt", "cow", "--config", str(config), "--metric", "clipscore"]) == 0
    assert "deep.tiff" in capsys.readouterr().out


def test_local_models_need_no_weights(config, capsys):
    assert needs(load_config(config)) == []
    assert main(["weights", "check", "--config", str(config)]) == 0
    assert "needs no weights" in capsys.readouterr().out


def test_the_paper_lists_all_that_is_missing_and_stops(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEXREWARD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    paper = ROOT / "config" / "paper.yaml"
    monkeypatch.chdir(ROOT)
    with pytest.raises(WeightsMissing) as caught:
        require(load_config(paper), print)
    text = str(caught.value)
    for part in (
        "HPS_v2.1_compressed.pt",
        "ImageReward.pt",
        "PickScore_v1",
        "clip-vit-large-patch14",
        "linearMSE",
    ):
        assert part in text
    assert str(tmp_path / "xswu--HPSv2@697403c78157") in text
    assert main(["weights", "check", "--config", str(paper)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("xswu/HPSv2" in line and "1.97 GB" in line and "Apache-2.0" in line for line in lines)
    assert any("stable-diffusion-v1-5" in line and "text_encoder/model.safetensors" in line for line in lines)
    assert main(["weights", "fetch", "--config", str(paper)]) == 2
