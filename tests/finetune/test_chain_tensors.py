"""What a view's chain holds inside its ControlNets and its alternation has a gradient, too."""

import copy
import dataclasses

import pytest
import torch
from reference.tiny_models import ROLE
from reference.tiny_painter import ITEMS, redness, tiny_painter

from texgen.finetune.algorithms import Sample
from texgen.finetune.direct import Direct
from texgen.finetune.gradients import Exact
from texgen.painting.pipeline import TexGen

OTHER = "other"
SAMPLE = Sample(ITEMS[0], 5)


@pytest.fixture(scope="module")
def painter(tmp_path_factory) -> TexGen:
    """Two ControlNets at every step of both views, but in the very last step the second one alone."""
    method = tiny_painter(tmp_path_factory.mktemp("models"), torch.float64)
    nets = method.backbone.controlnets
    nets[OTHER] = copy.deepcopy(nets[ROLE])
    random = torch.Generator().manual_seed(3)
    for parameter in (parameter for net in nets.values() for parameter in net.parameters()):
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    last = method.preset.steps - 1
    # TexGen refuses such presets, but its chains and gradients are those of every method.
    method.preset = method.preset.replace(
        also_controls=((OTHER, 0.7),), window=(last, last), window_role=OTHER, control_scale=0.9
    )
    return method


class Plain:
    """Plain autograd: every graph is kept. changed: what the sampler gets in place of each chain."""

    def __init__(self, changed=lambda chain: chain):
        self.changed, self.chains = changed, []

    def frozen(self):
        return False

    def view(self, run, inputs, parameters, fixed_geometry):
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        chain = self.changed(chain)
        self.chains.append(chain)
        for i in range(len(scheduler.timesteps)):
            latents = step(backbone, scheduler, chain, latents, i)
        return latents


def by_autograd(painter, changed=lambda chain: chain):
    """The reward, and its gradient to the adapter through the conditioning."""
    texture, painted = SAMPLE.paint(painter, Plain(changed), detach_conditioning=False)
    value = redness(texture, painted, SAMPLE.item)
    found = torch.autograd.grad(value, painter.backbone.lora_parameters())
    return float(value.detach()), torch.cat([each.flatten() for each in found])


def by_training(painter, replay):
    """The same as `gradient: {through_conditioning: true}` trains it."""
    parameters = painter.backbone.lora_parameters()
    for parameter in parameters:
        parameter.grad = None
    outcome = Direct(redness, Exact(replay), detach_conditioning=False).accumulate(painter, SAMPLE)
    return outcome.reward, -torch.cat([parameter.grad.flatten() for parameter in parameters])


def difference(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def tensors_inside(value):
    """All tensors in a value, found without knowledge of its classes."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        value = tuple(value.values())
    return [x for each in value for x in tensors_inside(each)] if isinstance(value, tuple | list) else []


def test_a_chain_lists_and_replaces_every_tensor_in_it(painter):
    plain = Plain()
    with torch.no_grad():
        SAMPLE.paint(painter, plain)
    first, second = plain.chains
    assert [control.role for control in first.controls] == [ROLE, OTHER] and first.alternation is None
    assert [control.role for control in second.alternation.controls] == [OTHER]
    masked = dataclasses.replace(second.alternation, inpainting=torch.zeros(1, 5, 4, 4))
    for chain, count in ((first, 8), (second, 9), (dataclasses.replace(second, alternation=masked), 10)):
        held = tensors_inside(chain)
        assert len(held) == count and {id(each) for each in held} == {id(each) for each in chain.tensors()}
        other = chain.mapped(lambda tensor: tensor + 1)
        for before, after in zip(held, tensors_inside(other), strict=True):
            assert torch.equal(after, before + 1)
        assert [control.scale for control in other.controls] == [0.9, 0.7]


@pytest.mark.parametrize("replay", [True, False])
def test_training_through_the_conditioning_has_the_gradient_of_every_control_image(painter, replay):
    wanted_reward, wanted = by_autograd(painter)
    reward, found = by_training(painter, replay)
    assert reward == pytest.approx(wanted_reward, rel=1e-12)
    assert difference(found, wanted) < 1e-9


@pytest.mark.parametrize("which", ["first", "second", "alternation's"])
def test_each_control_image_has_a_part_in_that_gradient(painter, which):
    """A tensor that is missed would take its part away, which is far above the tolerance."""

    def without(chain):
        parts = {"first": chain.controls[:1], "second": chain.controls[1:]}
        parts["alternation's"] = () if chain.alternation is None else chain.alternation.controls
        hidden = [id(control.image) for control in parts[which]]
        return chain.mapped(lambda tensor: tensor.detach() if id(tensor) in hidden else tensor)

    wanted_reward, wanted = by_autograd(painter)
    reward, found = by_autograd(painter, without)
    assert reward == pytest.approx(wanted_reward, rel=1e-12)
    assert difference(found, wanted) > 1e-6
