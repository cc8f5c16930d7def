"""What a guidance pair on a CPU does once instead of several times: against the plain networks."""

import pytest
import torch
from reference import tiny_models

from texgen.diffusion import winograd
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.control_embedding import embedded_once
from texgen.diffusion.guidance import Control
from texgen.diffusion.lora import LAYERS, lora_layers
from texgen.diffusion.shared_halves import computed_once, shared_layers
from texgen.shipped import located

ROLE = tiny_models.ROLE


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_miniature(root)
    return tiny_models.load_miniature(root, torch.float64)


def inputs(backbone, channels, dtype):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, channels, 16, 16, generator=generator, dtype=dtype)
    control = torch.rand(1, 6, 64, 64, generator=generator, dtype=dtype)
    return latents, control, backbone.encode_prompts(["", "a red cat"])


def rows(module):
    """How many pictures each call of a module gets; the list grows."""
    seen = []
    module.register_forward_pre_hook(lambda _, values: seen.append(len(values[0])))
    inner = module.conv_in
    inner.register_forward_pre_hook(lambda _, values: seen.append(-len(values[0])))
    return seen


def test_a_control_image_is_embedded_once_and_anew_when_something_changed(miniature):
    latents, control, text = inputs(miniature, 4, torch.float64)
    layers = miniature.controlnets[ROLE].controlnet_cond_embedding
    seen = rows(layers)

    def predict():
        return miniature.predict(latents, 501, text, [Control(ROLE, control)], 3.0)

    with torch.no_grad():
        first = predict()
        assert torch.equal(predict(), first)
        assert [each for each in seen if each < 0] == [-1]  # once, and for one half
        control.mul_(0.5)
        other = predict()
        layers.conv_in.weight.mul_(1.5)
        assert [each for each in seen if each < 0] == [-1, -1]
        third = predict()
        assert [each for each in seen if each < 0] == [-1, -1, -1]
        layers.conv_in.weight.div_(1.5)
    assert not torch.equal(first, other) and not torch.equal(other, third)
    torch.testing.assert_close(predict().detach(), other)
    wanted = control.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        miniature.predict(latents, 501, text, [Control(ROLE, wanted)], 3.0).square().sum(), wanted
    )
    assert float(gradient.abs().max()) > 0
    assert "forward" not in layers.__dict__
    with pytest.raises(ZeroDivisionError), embedded_once(miniature.controlnets[ROLE], control):
        raise ZeroDivisionError
    assert "forward" not in layers.__dict__


def test_layers_before_attention_see_one_half():
    backbone = Backbone.load(located("models/miniature/backbone"), {ROLE: depth_inpaint()})
    net, halves = backbone.unet, torch.zeros(2, 8, 16, 16)
    assert [type(layer).__name__ for layer in shared_layers(net)] == ["Conv2d", "DownBlock2D"]
    seen = []
    handle = (
        net.down_blocks[0].resnets[0].register_forward_pre_hook(lambda _, values: seen.append(len(values[0])))
    )
    latents, control, text = inputs(backbone, 8, torch.float32)
    with torch.no_grad():
        pair = backbone.predict(latents, 501, text, [Control(ROLE, control)], 3.0)
        alone = backbone.predict(latents, 501, text, [Control(ROLE, control)], 1.0)
    handle.remove()
    assert seen == [1, 1] and alone.shape == pair.shape
    with pytest.raises(ZeroDivisionError), computed_once(net, halves, 2):
        assert "forward" in net.conv_in.__dict__
        raise ZeroDivisionError
    assert "forward" not in net.conv_in.__dict__


def depth_inpaint():
    return located("models/miniature/backbone/controlnet_depth_inpaint")


def test_the_miniature_predicts_as_with_plain_convolutions_merged_and_not(monkeypatch):
    backbone = Backbone.load(located("models/miniature/backbone"), {ROLE: depth_inpaint()})
    assert sum(type(layer) is winograd.FastConv2d for layer in backbone.unet.modules()) > 5
    backbone.add_lora(2, 4.0, LAYERS["attention+convolutions"])
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    latents, control, text = inputs(backbone, 8, torch.float32)

    def predict():
        with torch.no_grad():
            return backbone.predict(latents, 501, text, [Control(ROLE, control)], 3.0)

    quick = predict()
    with backbone.lora_merged():
        merged = predict()
    assert torch.equal(predict(), quick), "transformed weights of the merged adapter are not kept"
    with backbone.lora_disabled():
        untuned = predict()
    monkeypatch.setattr(winograd, "MIN_SIDE", 10**6)  # never
    plain = predict()
    assert any(type(layer.get_base_layer()) is winograd.FastConv2d for _, layer in lora_layers(backbone.unet))
    assert float((quick - plain).abs().max()) < 2e-4 * float(plain.std())
    assert float((merged - plain).abs().max()) < 2e-4 * float(plain.std())
    assert float((untuned - plain).abs().max()) > 1e-2 * float(plain.std())
