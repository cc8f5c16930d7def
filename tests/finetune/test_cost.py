"""The cost benchmark's own means: its count, its memory, and the released arrangement that it rebuilds."""

import pytest
import torch

from benchmarks.denoiser_cost import LiveBytes, counted, peak_memory
from benchmarks.finetune import gradient_step, measure
from benchmarks.tiny import ball, tiny_backbone
from texgen.finetune.gradients import Exact, LastK

SIZES = {"image_size": 16, "render_size": 16, "texture_size": 8}
VIEWS, STEPS = 2, 2


@pytest.fixture(scope="module")
def backbone():
    backbone = tiny_backbone()
    backbone.add_lora(1)
    return backbone


@pytest.mark.parametrize(
    ("arrangement", "forward", "backward"),
    [(Exact(), 2, 1), ("plain", 1, 1), ("nested", 3, 1)],
)
def test_passes_per_step_of_a_chain(backbone, arrangement, forward, backward):
    cost = measure(backbone, ball(4, 6), SIZES, VIEWS, STEPS, arrangement)
    chain = VIEWS * STEPS
    assert (cost.forward, cost.backward) == (forward * chain, backward * chain)
    assert cost.peak_bytes > 0
    if isinstance(arrangement, Exact):
        assert arrangement.evaluations.total == cost.evaluations


def test_live_bytes_follow_what_is_freed():
    def run():
        first = torch.ones(1000)  # 4000 bytes
        second = first + 1
        del first
        third = second.reshape(10, 100)  # a view takes nothing
        del second
        third * 2

    assert peak_memory(run, torch.device("cpu")) == 8000
    with LiveBytes() as live:
        run()
    assert live.level == 0


def test_all_arrangements_give_one_gradient(backbone):
    from texgen.painting.pipeline import TexGen
    from texgen.painting.presets import get_preset
    from texgen.render.cameras import Cameras

    preset = get_preset("texgen", **SIZES, steps=STEPS, guidance_scale=2.0, crop=False)
    method = TexGen(backbone, preset, cameras=Cameras.orbit([0.0, 180.0], 10.0))
    gradients = []
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter += 0.1
    for arrangement in ("plain", Exact(), "nested", LastK(STEPS)):
        with counted(backbone):
            gradient_step(method, ball(4, 6), VIEWS, arrangement)()
        gradients.append(torch.cat([p.grad.flatten() for p in backbone.lora_parameters()]))
    assert gradients[0].abs().max() > 0
    for gradient in gradients[1:]:
        assert (gradient - gradients[0]).norm() < 1e-4 * gradients[0].norm()
