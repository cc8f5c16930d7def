"""Our scores against the official packages, tiny (`make parity`), and against published golden values."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from rewards.official import environment

spec = importlib.util.spec_from_file_location("our_side", Path(__file__).with_name("our_side.py"))
our_side = importlib.util.module_from_spec(spec)
sys.modules["our_side"] = our_side
spec.loader.exec_module(our_side)

# Printed in the readme of ImageReward for its four demo images.
DEMO_PROMPT = "a painting of an ocean with clouds and birds, day time, low depth field effect"
DEMO_SCORES = (0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492)


# Each starts the official environment, which takes minutes where the processor is shared.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("score", our_side.SCORES)
def test_scores_gradients_tokens_and_pixels_equal_the_official_ones(score, tmp_path, capsys):
    if not os.environ.get("TEXREWARD_PARITY"):
        pytest.skip("the official packages are asked by `make parity` only")
    environment.interpreter()
    our_side.run_official(tmp_path, score, "tiny")
    row = our_side.compare(tmp_path)
    with capsys.disabled():  # the table that docs/scorers.md shows
        print(f"\n{our_side.HEADER}" if score == our_side.SCORES[0] else "")
        print(our_side.line(row), end="")
    assert our_side.passes(row), row
    assert row["spread"] > 1e-3  # else equal scores would say nothing


def test_golden_scores_of_imagereward(tmp_path):
    folder = os.environ.get("TEXREWARD_IMAGEREWARD_DEMO")
    if not folder:
        pytest.skip(
            "TEXREWARD_IMAGEREWARD_DEMO names no folder with 1.webp to 4.webp, ImageReward.pt, "
            "med_config.json and a folder tokenizer"
        )
    import numpy as np
    import torch
    from PIL import Image

    from rewards.preference.image_reward import ImageReward

    score = ImageReward.load(folder, Path(folder) / "tokenizer", eight_bit=True)
    for index, expected in enumerate(DEMO_SCORES, start=1):
        image = np.array(Image.open(Path(folder) / f"{index}.webp").convert("RGB"))
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        assert float(score(pixels, [DEMO_PROMPT])) == pytest.approx(expected, abs=1e-3)


def test_the_official_backend_scores_renders_as_png_files(tmp_path):
    if not os.environ.get("TEXREWARD_PARITY"):
        pytest.skip("the official packages are asked by `make parity` only")
    import torch

    from workflow.config.metrics import parse_metric
    from workflow.steps.scorers import load_metric

    our_side.run_official(tmp_path, "pickscore", "tiny")
    place = {"hub": None, "revision": None}
    block = parse_metric(
        {
            "kind": "pickscore",
            "weights": {"folder": str(tmp_path), "sha256": None, **place},
            "tokenizer": {"folder": str(tmp_path / "tokenizer"), **place},
        }
    )
    images = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    prompts = ["a cow", "a vase", "a cow"]
    ours = load_metric(block, "cpu")(images, prompts)
    official = load_metric(block, "cpu", backend="official")
    assert official.version == "official: model card of PickScore"
    eight_bit = (images * 255).round() / 255  # what a PNG file keeps
    torch.testing.assert_close(official(images, prompts), ours, atol=1e-3, rtol=0)
    torch.testing.assert_close(load_metric(block, "cpu")(eight_bit, prompts), ours, atol=1e-5, rtol=0)
    assert ours.max() - ours.min() > 0.5
