"""The judge, the unseen views and the figures of the miniature's evaluation, on tiny instances."""

import json

import numpy as np
import pytest
import torch
from reference import tiny_models

from texgen.miniature import evaluate, judge
from texgen.miniature.evaluate_generation import (
    SamplingSettings,
    autoencoded,
    generate,
    inpainting,
    inpainting_masks,
    psnr,
    silhouette_iou,
    velocity_errors,
)
from texgen.miniature.evaluate_scorers import rank_correlation, ranking_accuracy
from texgen.miniature.judge import Judge, chance_levels, verdicts
from texgen.miniature.materials import MATERIALS
from texgen.miniature.preferences import KINDS
from texgen.miniature.scale import Sizes
from texgen.miniature.shapes import HELD_OUT, LONGEST_SIDE, SHAPES
from texgen.miniature.unseen import unseen_meshes, unseen_samples, unseen_views
from texgen.miniature.world_arrays import COLOUR_NAMES
from texgen.miniature.world_makers import make_world


@pytest.fixture(scope="module")
def samples():
    return unseen_samples(unseen_views(4, 0), 8, 0, others=4)


def test_unseen_meshes_are_none_of_the_world():
    meshes = unseen_meshes()
    assert len(meshes) == 12 and not set(meshes) & set(SHAPES)
    assert {"bunny", "cow", "airplane", "bone", "trefoil"} <= HELD_OUT & set(meshes)
    for vertices, faces in meshes.values():
        low, high = vertices.amin(0), vertices.amax(0)
        assert float((high - low).max()) == pytest.approx(LONGEST_SIDE, rel=1e-5)
        assert int(faces.max()) < len(vertices)


def test_unseen_samples_have_canonical_prompts(samples):
    for text, number, marks in zip(samples.captions, samples.material, samples.marks, strict=True):
        material = MATERIALS[number]
        assert all(COLOUR_NAMES[k] in text for k in marks.nonzero()[:, 0])
        assert material in text or material in ("plain", "polka-dotted", "dalmatian"), text
    assert float((samples.alpha_of() > 0).float().mean()) > 0.05


def test_verdicts_equal_a_plain_reading(samples):
    torch.manual_seed(0)
    model = Judge().eval()
    images, materials, marks = samples.pictures(), samples.material, samples.marks
    material, colour = verdicts(model, images, materials, marks)
    material_logits, colour_logits = model(images)
    for i in range(len(samples)):
        assert bool(material[i]) == (int(material_logits[i].argmax()) == int(materials[i]))
        wanted = set(marks[i].nonzero()[:, 0].tolist())
        if not wanted:
            assert bool(colour[i].isnan())
            continue
        order = colour_logits[i].argsort(descending=True)[: len(wanted)].tolist()
        assert bool(colour[i]) == (set(order) == wanted)


def test_chance_of_one_and_two_colours():
    marks = torch.zeros(3, 11)
    marks[0, 2] = marks[1, 3] = marks[1, 4] = 1
    material, colour = chance_levels(marks)
    assert material == pytest.approx(1 / 25)
    assert colour == pytest.approx((1 / 11 + 1 / 55) / 2)


def test_the_judge_trains_and_opens(tmp_path):
    make_world(tmp_path / "world", Sizes(views=2, samples=4))
    judge.main(
        ["--data", str(tmp_path / "world"), "--out", str(tmp_path), "--scale", "test", "--device", "cpu"]
    )
    assert not judge.load_judge(tmp_path).training


def test_true_renders_are_perfect(samples):
    images = samples.pictures()
    assert psnr(images, samples) > 90
    assert psnr((images + 0.1).clamp(max=2), samples) == pytest.approx(20, abs=1e-3)
    assert silhouette_iou(samples, images) > 0.95
    assert silhouette_iou(samples, torch.roll(images, 40, 3)) < 0.8
    known = inpainting_masks(samples, 0)
    perfect = inpainting(samples, known, images)
    assert perfect["known PSNR"] > 90 and perfect["border gradient"] == pytest.approx(1, abs=1e-6)
    inside = samples.alpha_of() == 1
    share = (known * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    assert bool(((share > 0.1) & (share < 0.9)).all())
    broken = torch.where(known > 0, images, 1 - images)
    assert inpainting(samples, known, broken)["border gradient"] > 1.2


def test_generation_runs_on_the_miniatures_layout(tmp_path, samples):
    backbone = tiny_models.load_miniature(tmp_path)
    few = unseen_samples(unseen_views(2, 0), 2, 0)
    known = inpainting_masks(few, 0)
    for scheduler, steps in (("ddim", 1), ("unipc", 2)):
        made = generate(backbone, few, few.captions, known, sampling=SamplingSettings(scheduler, steps))
        assert made.shape == few.images.shape and bool(made.isfinite().all())
    assert 0 < psnr(autoencoded(backbone, few), few) < 60
    errors = velocity_errors(backbone, few)
    assert list(errors) == ["150", "300", "500", "700"] and all(0.1 < value < 10 for value in errors.values())
    assert velocity_errors(backbone, few) == errors


def test_scorers_that_know_the_answer_rank_everything_right(samples):
    clean = samples.pictures()

    def oracle(images, prompts):
        inside = samples.alpha_of()[: len(images)] == 1
        near = (images - clean[: len(images)]).abs() * inside
        right = torch.tensor([float(p == c) for p, c in zip(prompts, samples.captions, strict=False)])
        return right - near.mean((1, 2, 3))

    scorers = {"oracle": oracle, "opposite": lambda images, prompts: -oracle(images, prompts)}
    accuracy, correlation = ranking_accuracy(scorers, samples, 4, 0)
    assert set(accuracy) == {*KINDS, "wrong prompt"}
    for kind, row in accuracy.items():
        assert row == {"oracle": 1.0, "opposite": 0.0}, kind
    assert correlation[0, 1] == pytest.approx(-1)


def test_a_scorer_that_does_not_read_prompts_is_not_asked_about_them(samples):
    scorers = {"brightness": lambda images, prompts: images.mean((1, 2, 3))}
    accuracy, _ = ranking_accuracy(scorers, samples, 4, 0)
    assert accuracy["wrong prompt"] == {"brightness": None}
    assert accuracy["holes"]["brightness"] is not None
    assert evaluate.percent(None) == "–"


def test_rank_correlation_equals_scipy():
    from scipy.stats import spearmanr

    scores = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    assert np.allclose(rank_correlation(scores), spearmanr(scores.numpy(), axis=1).statistic)


def test_tables_name_every_figure():
    results = json.loads(
        json.dumps(
            {
                "judge": {f"{a} {b}": 0.5 for a in evaluate.TITLES for b in ("colour", "material")},
                "silhouette IoU": {"generated": 0.9, "depth alone": 0.92, "autoencoded": 0.95, "real": 0.98},
                "velocity error": {"150": 0.123, "700": 0.084},
                "inpainting": {
                    "generated": {"known PSNR": 30.0, "border gradient": 1.1},
                    "autoencoded": {"known PSNR": 31.0, "border gradient": 1.05},
                },
                "VAE PSNR": 27.5,
                "ranking": {"holes": {"a": 0.75, "b": 0.5}},
                "rank correlation": {"scorers": ["a", "b"], "matrix": [[1, 0.2], [0.2, 1]]},
            }
        )
    )
    text = evaluate.markdown(results)
    for part in (
        "| colour named by the judge | 50 % |",
        "| silhouette IoU | 0.900 | 0.920 | 0.950 | 0.980 | – |",
        "0.123 at t = 150, 0.084 at t = 700",
        "30.0 dB",
        "1.10 times",
        "1.05 times",
        "27.5 dB",
        "| holes | 75 % | 50 % |",
        "0.20",
    ):
        assert part in text, part
    assert evaluate.sheet(torch.rand(5, 3, 8, 8), columns=3).size == (24, 16)
