"""The benchmark of how alike the gradients of textures are, against loops and one backward pass."""

import itertools

import pytest
import torch
from reference.tiny_painter import ITEMS, redness, tiny_painter

from benchmarks.gradient_agreement import agreement, table, term_gradients
from texgen.finetune.algorithms import Sample
from texgen.finetune.gradients import LastK


def test_agreement_equals_plain_loops():
    gradients = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) + 0.3
    found = agreement(torch.cat([gradients, torch.zeros(1, 40)]))  # one that says nothing

    def mean(rows):
        pairs = [torch.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(rows, 2)]
        return torch.stack(pairs).mean()

    left = torch.stack([mean([g for j, g in enumerate(gradients) if j != i]) for i in range(6)])
    assert found.textures == 6 and found.cosine == pytest.approx(float(mean(gradients)), rel=1e-5)
    error = (5 / 6 * (left - left.mean()).square().sum()).sqrt()
    assert found.error == pytest.approx(float(error), rel=1e-4)
    assert found.median_norm == pytest.approx(float(gradients.norm(dim=1).median()))


def test_equal_gradients_agree_wholly_and_two_are_too_few():
    assert agreement(torch.ones(3, 4)).cosine == pytest.approx(1)
    with pytest.raises(ValueError, match="2 textures have a gradient"):
        agreement(torch.ones(2, 4))


def test_weighted_gradients_of_terms_sum_to_that_of_the_reward(tmp_path):
    painter = tiny_painter(tmp_path, torch.float64)
    parameters = painter.backbone.lora_parameters()
    sample = Sample(ITEMS[0], 3)

    def brightness(texture, painted, item):
        return texture.square().mean()

    terms = {
        "red": redness,
        "bright": brightness,
        "both": lambda *args: 2 * redness(*args) + 3 * brightness(*args),
    }
    found = term_gradients(painter, LastK(2, replay=False), terms, sample, parameters)
    assert float(found["red"].norm()) > 0 and float(found["bright"].norm()) > 0
    torch.testing.assert_close(found["both"], 2 * found["red"] + 3 * found["bright"])


def test_the_table_says_where_nothing_is_to_be_told():
    same = agreement(torch.ones(4, 8) + 0.1 * torch.randn(4, 8, generator=torch.Generator().manual_seed(1)))
    none = agreement(torch.eye(8)[:4])
    text = table({"sure": same, "unsure": none}, "last_1")
    assert "| sure | 4 |" in text and "some 1 |" in text and text.count("not told from 0") == 1
