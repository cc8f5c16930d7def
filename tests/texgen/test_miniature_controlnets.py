"""Painted atlases and the training of further ControlNets, at the scale that checks the code."""

import numpy as np
import pytest
import torch

from texgen.diffusion.backbone import Backbone
from texgen.miniature import pretrain_controlnet
from texgen.miniature.architecture import Architecture
from texgen.miniature.atlases import shape_atlas
from texgen.miniature.denoiser import new_denoiser, save_backbone
from texgen.miniature.diffusion_batches import (
    Noising,
    encode_images,
    encoded,
    position_control,
    position_maps,
)
from texgen.miniature.pretrain_vae import make_vae, save_vae
from texgen.miniature.scale import SCALES, TrainingStage
from texgen.miniature.shapes import make_shape
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training_loop import TrainingRun, save_half
from texgen.miniature.world_arrays import open_atlases
from texgen.miniature.world_makers import make_world


def test_an_atlas_knows_its_surface_in_both_frames():
    view, scale = shape_atlas("cube", np.random.default_rng(0), 64)
    vertices, _ = make_shape("cube", np.random.default_rng(0))
    positions = view.positions.float()
    assert scale == pytest.approx(0.6 / np.linalg.norm(vertices, axis=1).max())
    maps = position_maps(
        positions.T[None, :, :, None], torch.ones(1, len(positions), 1), torch.tensor([scale])
    )
    expected = (positions * scale + torch.tensor([0, 0.25, 0])) / 2 + 0.5
    assert torch.allclose(maps[0, :, :, 0].T, expected, atol=1e-6)
    # every texel of a box lies on one of its sides
    half = torch.from_numpy(np.abs(vertices).max(0))
    assert float(((positions.abs() - half).abs().amin(1)).max()) < 2e-3
    assert len(view.pixels) == len(positions) > 500


def test_position_maps_are_black_outside_the_charts(folder):
    atlases = open_atlases(folder / "world")
    assert 0 < len(atlases) == len(atlases.captions)
    maps, weight = position_control(atlases, torch.arange(len(atlases)))
    outside = (atlases.alpha[atlases.owner] == 0)[:, None].expand_as(maps)
    assert float(maps[outside].abs().max()) == 0
    assert float(maps.max()) <= 1 and float(maps[~outside].min()) > 0
    assert weight.shape == (len(atlases), 1, 32, 32) and 0 < float(weight.mean()) < 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained backbone and a world."""
    folder = tmp_path_factory.mktemp("controlnets")
    make_world(folder / "world", SCALES["test"]["cpu"].world)
    tokenizer = open_tokenizer(folder / "none")
    torch.manual_seed(0)
    save_backbone(folder / "backbone", new_denoiser(Architecture(), tokenizer), tokenizer)
    save_vae(make_vae(), folder / "backbone" / "vae")
    return folder


@pytest.mark.parametrize("role", pretrain_controlnet.ROLES)
def test_training_changes_the_controlnet_alone(folder, role):
    unet = (folder / "backbone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    data = ["--data", str(folder / "world"), "--out", str(folder), "--scale", "test", "--device", "cpu"]
    pretrain_controlnet.main([*data, "--part", role])
    assert (folder / "backbone" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == unet
    backbone = Backbone.load(folder / "backbone")
    net = backbone.controlnets[role]
    assert net.config.conditioning_channels == 3
    assert float(net.controlnet_mid_block.weight.abs().max()) > 0  # began as zero


def test_a_new_controlnet_says_what_the_old_one_says_where_nothing_is_known():
    torch.manual_seed(0)
    old = Architecture().controlnet(Architecture().unet(), 6)
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


def test_the_loss_counts_texels_in_charts_only():
    generator = torch.Generator().manual_seed(0)
    out, target = torch.randn(2, 2, 8, 8, 8, generator=generator)
    weight = torch.zeros(2, 1, 8, 8)
    weight[:, :, :4] = 1
    expected = (out - target)[:, :, :4].square().mean()
    assert torch.allclose(pretrain_controlnet.weighted_error(out, target, weight), expected)
    target[:, :, 4:] += 5
    assert torch.allclose(pretrain_controlnet.weighted_error(out, target, weight), expected)


def test_a_position_net_goes_on_where_the_backbone_left_it(folder, tmp_path):
    base = tmp_path / "backbone"
    first = pretrain_controlnet.beginning(folder / "backbone", "uv_position", None)
    with torch.no_grad():
        first.controlnet_mid_block.weight.fill_(0.5)
    save_half(first, base / "controlnet_uv_position")
    again = pretrain_controlnet.beginning(base, "uv_position", None)
    assert float(again.controlnet_mid_block.weight.detach().min()) == 0.5


def test_losses_reach_the_net_alone_and_dropped_captions_are_empty(folder):
    tokenizer = open_tokenizer(folder / "backbone" / "tokenizer")
    torch.manual_seed(0)
    noising = Noising(torch.randn(6, 8, 8, 8).half(), ["a red chair"] * 6, tokenizer)
    prompts = noising.prompts(torch.zeros(400, dtype=torch.long))
    dropped = (prompts == noising.empty).all(1).float().mean()
    assert 0.05 < float(dropped) < 0.16
    index = torch.arange(6)
    noisy, _, velocity = noising.noised(index, torch.zeros(6, dtype=torch.long))
    a = noising.alphas[0]
    clean = a.sqrt() * noisy - (1 - a).sqrt() * velocity
    assert torch.allclose(clean, noising.latents.float(), atol=1e-4)
    _, last, velocity = noising.noised(index, torch.full((6,), 999))
    assert torch.allclose(velocity, -noising.latents.float(), atol=1e-4) and int(last[0]) == 999


def test_each_process_encodes_its_part_and_all_see_the_whole(tmp_path):
    torch.manual_seed(0)
    vae = make_vae().eval()
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    stage = TrainingStage(1, 1, 1.0)
    first, second = (
        TrainingRun("backbone", tmp_path, torch.device("cpu"), stage, 1, None, 0.5, rank, 2)
        for rank in (0, 1)
    )
    with pytest.raises(FileNotFoundError):  # here no other process encodes its part at the same time
        encoded(first, "samples", vae, images)
    whole = encoded(second, "samples", vae, images)
    assert torch.allclose(whole.float(), encode_images(vae, images).float(), atol=1e-2)
    kept = {file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert torch.equal(encoded(first, "samples", vae, images), whole)
    assert {file.stat().st_mtime_ns for file in tmp_path.iterdir()} == kept
    with torch.no_grad():
        vae.encoder.layers[0].weight.add_(1)  # other latents: the kept ones are not those
    with pytest.raises(FileNotFoundError):
        encoded(first, "samples", vae, images)
