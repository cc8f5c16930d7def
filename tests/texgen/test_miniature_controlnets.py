"""Painted atlases and the training of further ControlNets, at the scale that checks the code."""

import numpy as np
import pytest
import torch
from reference import tiny_models

from texgen.backbone import Backbone
from texgen.miniature import pretrain_controlnet
from texgen.miniature.atlases import atlas_samples, position_maps, shape_atlas
from texgen.miniature.pretrain_backbone import Denoiser, make_scheduler, save_backbone
from texgen.miniature.pretrain_vae import make_vae
from texgen.miniature.shapes import make_shape
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training import make_world


def test_an_atlas_knows_its_surface_in_both_frames():
    view, framed = shape_atlas("cube", np.random.default_rng(0), 64)
    vertices, _ = make_shape("cube", np.random.default_rng(0))
    positions = view.positions.float()
    radius = np.linalg.norm(vertices, axis=1).max()
    expected = positions * (0.6 / radius) + torch.tensor([0, 0.25, 0])
    assert torch.allclose(framed.float(), expected, atol=2e-3)
    # every texel of a box lies on one of its sides
    half = torch.from_numpy(np.abs(vertices).max(0))
    assert float(((positions.abs() - half).abs().amin(1)).max()) < 2e-3
    assert len(view.pixels) == len(positions) > 500


def test_position_maps_are_black_outside_the_charts():
    samples = atlas_samples(2, 2, 1, 64)
    maps = position_maps(samples.positions, samples.alpha)
    outside = (samples.alpha == 0)[:, None].expand_as(maps)
    assert float(maps[outside].abs().max()) == 0
    assert float(maps.max()) <= 1 and float(maps[~outside].min()) > 0
    assert len(samples) == len(samples.images)
    assert torch.equal(atlas_samples(2, 2, 1, 64).images, samples.images)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained backbone and a world."""
    folder = tmp_path_factory.mktemp("controlnets")
    make_world(folder / "world", "test")
    tokenizer = open_tokenizer(folder / "none")
    torch.manual_seed(0)
    save_backbone(folder / "backbone", Denoiser(len(tokenizer), 1), make_vae(), tokenizer)
    return folder


@pytest.mark.parametrize("role", pretrain_controlnet.ROLES)
def test_training_changes_the_controlnet_alone(folder, role):
    unet = (folder / "backbone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    data = ["--data", str(folder / "world"), "--out", str(folder), "--scale", "test", "--threads", "1"]
    pretrain_controlnet.main([*data, "--part", role])
    assert (folder / "backbone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == unet
    backbone = Backbone.load(folder / "backbone")
    net = backbone.controlnets[role]
    assert net.config.conditioning_channels == 3
    assert float(net.controlnet_mid_block.weight.abs().max()) > 0  # began as zero


def test_a_new_controlnet_says_what_the_old_one_says_where_nothing_is_known():
    torch.manual_seed(0)
    old = Denoiser(60, 1).controlnet
    for p in old.parameters():  # its outputs begin as zero, which would equal anything
        torch.nn.init.normal_(p, std=0.1)
    new = pretrain_controlnet.new_controlnet(old)
    depth = torch.rand(1, 3, 64, 64)
    unknown = torch.cat([-torch.ones(1, 3, 64, 64), depth], 1)
    first, second = old.controlnet_cond_embedding.conv_in, new.controlnet_cond_embedding.conv_in
    inside = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(second(depth)[inside], first(unknown)[inside], atol=1e-5)
    for name, value in new.state_dict().items():
        if "conv_in" not in name or "cond_embedding" not in name:
            assert torch.equal(value, old.state_dict()[name])


def test_the_loss_counts_texels_in_charts_only(tmp_path):
    backbone = tiny_models.load_miniature(tmp_path)
    net = pretrain_controlnet.new_controlnet(backbone.controlnets["depth_inpaint"])
    channels = backbone.latent_channels
    generator = torch.Generator().manual_seed(0)
    noisy, target = torch.randn(2, 2, channels, 8, 8, generator=generator)
    text = backbone.encode_prompts(["a", "b"])
    weight = torch.zeros(2, 1, 8, 8)
    weight[:, :, :4] = 1
    alphas = make_scheduler().alphas_cumprod

    def loss(target):
        steps = torch.tensor([3, len(alphas) - 1])
        control = torch.zeros(2, 3, 8 * backbone.latent_scale, 8 * backbone.latent_scale)
        return pretrain_controlnet.controlled_loss(
            backbone.unet, net, noisy, steps, text, control, target, weight
        )

    other = target.clone()
    other[:, :, 4:] += 5
    assert torch.allclose(loss(target), loss(other))
    other[:, :, :4] += 5
    assert float((loss(other) - loss(target)).detach().abs()) > 0.1
