"""The miniature's training programs, run at the scale that checks the code."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer

from texgen.backbone import Backbone
from texgen.cameras import Cameras, direction_word, pixel_rays
from texgen.mesh import area_weighted_normals
from texgen.miniature import pretrain_backbone, pretrain_clip, pretrain_vae
from texgen.miniature.dataset import build_views, paint_views, view_shape
from texgen.miniature.lighting import soft_light
from texgen.miniature.pretrain_vae import LATENT_CHANNELS
from texgen.miniature.scale import CAPTION_LENGTH
from texgen.miniature.shapes import make_shape
from texgen.miniature.tokenizer import make_tokenizer, open_tokenizer, tokenize
from texgen.miniature.training import learning_rate, load_samples, load_views, make_world, save_half
from texgen.rasterize import first_hits


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with everything trained for a few steps."""
    folder = tmp_path_factory.mktemp("miniature")
    make_world(folder / "world", "test")
    arguments = ["--data", str(folder / "world"), "--out", str(folder), "--scale", "test", "--threads", "2"]
    for program in (pretrain_vae, pretrain_backbone, pretrain_clip):
        program.main(arguments)
    return folder


def test_the_world_is_the_same_for_the_same_seed(trained, tmp_path):
    make_world(tmp_path, "test")
    first, second = load_samples(trained / "world"), load_samples(tmp_path)
    assert first.captions == second.captions
    assert torch.equal(first.images, second.images)


def test_the_world_does_not_depend_on_the_number_of_workers():
    # Three shapes, the last of one view: more than the workers, so that their order could be lost.
    one, two = (list(build_views(5, seed=3, size=16, views_per_shape=2, workers=n)) for n in (1, 2))
    assert len(one) == len(two) == 5 and len({view.shape for view in one}) == 3
    for ours, theirs in zip(one, two, strict=True):
        for name, value in vars(ours).items():
            other = getattr(theirs, name)
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def test_images_agree_with_their_masks(trained):
    samples = load_samples(trained / "world")
    background = samples.alpha == 0
    assert float(background.float().mean()) > 0.2
    assert bool((samples.depth[samples.alpha == 255] > 0).any())
    assert bool((samples.depth[background] == 0).all())
    colours = samples.images.permute(0, 2, 3, 1)[background].float()
    assert float(colours.std(0).max()) == 0


def test_views_know_their_normals_direction_and_word(trained):
    views = load_views(trained / "world")
    for view in views:
        normals = view.normals.float() / 127
        assert float((normals.norm(dim=1) - 1).abs().max()) < 0.02
        # the camera sees outward faces only, but for smoothed normals at the silhouette
        assert float(((normals @ view.eye) > -0.2).float().mean()) > 0.9
        x, y, z = view.eye.tolist()
        azimuth, elevation = math.degrees(math.atan2(x, z)), math.degrees(math.asin(y))
        assert view.word == direction_word(azimuth, elevation)


def test_a_view_equals_its_whole_frame():
    """Rays are cast in the window of the object only; casting all of them gives the same view."""
    vertices, faces = (torch.from_numpy(a) for a in make_shape("mug", np.random.default_rng(0)))
    normals = area_weighted_normals(vertices, faces)
    camera = Cameras.orbit(40.0, 20.0, 2.5)
    view = view_shape("mug", vertices, faces, normals, camera, 48)
    origin, rays = pixel_rays(camera, 96)
    face, distance, _ = first_hits(vertices, faces, origin.expand(96 * 96, 3).contiguous(), rays.view(-1, 3))
    hits = (face >= 0).view(48, 2, 48, 2).permute(0, 2, 1, 3).reshape(48 * 48, 4)
    points = (
        (origin + rays.view(-1, 3) * distance[:, None])
        .view(48, 2, 48, 2, 3)
        .transpose(1, 2)
        .reshape(-1, 4, 3)
    )
    seen = hits.any(1)
    assert torch.equal(view.pixels.long(), seen.nonzero()[:, 0])
    assert torch.equal(view.coverage.long(), (hits[seen].float().mean(1) * 255).round().long())
    mean = (points * hits[..., None]).sum(1)[seen] / hits[seen].sum(1, keepdim=True)
    assert torch.allclose(view.positions.float(), mean, atol=2e-3)


def test_soft_light_shades_and_flat_samples_keep_the_bare_colour(trained):
    views = load_views(trained / "world")[:2]
    samples = paint_views(views, 40, 1)
    assert 0 < sum(samples.soft) < 20
    for i in range(len(samples)):
        if samples.materials[i] != "plain":
            continue
        inside = samples.images[i].permute(1, 2, 0)[samples.alpha[i] == 255].float()
        assert (float(inside.std(0).max()) > 0.5) == samples.soft[i], samples.captions[i]


def test_light_falls_off_with_the_angle_to_the_lamp():
    eye = torch.tensor([0.0, 0.0, 1.0])
    angles = torch.linspace(0, math.pi, 50)
    normals = torch.stack([0 * angles, 0 * angles, angles.cos()], 1)
    normals[:, 0] = angles.sin()
    for seed in range(5):
        light = soft_light(normals, eye, torch.Generator().manual_seed(seed))
        assert float(light.min()) >= 0.2 and float(light.max()) <= 1
        assert float(light[:15].mean()) > float(light[-15:].mean()) + 0.2


def test_what_was_trained_opens_as_a_backbone(trained):
    backbone = Backbone.load(trained / "backbone")
    assert backbone.latent_scale == 4 and backbone.latent_channels == LATENT_CHANNELS
    text = backbone.encode_prompts(["", "a red chair"])
    latents = torch.zeros(1, LATENT_CHANNELS, 32, 32)
    out = backbone.predict(latents, 500, text, torch.zeros(1, 6, 128, 128), "depth_inpaint", 3.0)
    assert out.shape == latents.shape and bool(out.isfinite().all())


def test_the_scorers_open_in_transformers(trained):
    model = CLIPModel.from_pretrained(trained / "clip")
    tokenizer = CLIPTokenizer.from_pretrained(trained / "clip")
    assert tokenizer.model_max_length == CAPTION_LENGTH
    assert model.config.vision_config.image_size == 128
    assert json.loads((trained / "aesthetic" / "config.json").read_text())["clip"] == "../clip"


def test_a_stopped_training_goes_on(trained, capsys):
    """All steps are done, so a second run takes none and keeps the weights."""
    before = (trained / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    arguments = ["--data", str(trained / "world"), "--out", str(trained), "--scale", "test"]
    torch.save(
        {
            "step": 3,
            "model": pretrain_vae.AutoencoderTiny.from_pretrained(trained / "vae").state_dict(),
            "optimizer": torch.optim.AdamW(pretrain_vae.make_vae().parameters()).state_dict(),
        },
        trained / "vae.resume.pt",
    )
    pretrain_vae.main(arguments)
    assert (trained / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == before
    assert '"step"' not in capsys.readouterr().out


def test_tokenizer_keeps_known_words_whole_and_survives_unknown_ones():
    tokenizer = make_tokenizer(["a red and white striped chair", "a polka-dotted mug"] * 5)
    assert tokenizer.tokenize("a red striped mug") == ["a</w>", "red</w>", "striped</w>", "mug</w>"]
    ids = tokenizer("xylophone qz 7!").input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_a_prolonged_training_keeps_its_vocabulary(tmp_path):
    first = open_tokenizer(tmp_path)
    assert first.tokenize("a red brick chair, front view") == [
        "a</w>",
        "red</w>",
        "brick</w>",
        "chair</w>",
        ",</w>",
        "front</w>",
        "view</w>",
    ]
    make_tokenizer(["only a few words"] * 3).save_pretrained(tmp_path)
    assert open_tokenizer(tmp_path).get_vocab() == make_tokenizer(["only a few words"] * 3).get_vocab()
    assert open_tokenizer(tmp_path / "none").get_vocab() == first.get_vocab()


def test_a_training_can_begin_with_finished_weights_of_another_vocabulary(trained, tmp_path):
    finished = trained / "backbone"
    tokenizer = open_tokenizer(finished / "tokenizer")
    other = make_tokenizer(["a red chair", "a wholly unheard thing"] * 5)
    torch.manual_seed(5)
    model = pretrain_backbone.Denoiser(len(other), other.eos_token_id)
    pretrain_backbone.load_finished(model, other, finished)
    old = Backbone.load(finished)
    with torch.no_grad():
        # "a", "red" and the end are pieces of both vocabularies; their numbers differ.
        moved = tokenize(other, ["a red"])
        ids = tokenize(tokenizer, ["a red"])
        assert not torch.equal(moved, ids)
        ours = model.text_encoder(moved).last_hidden_state[:, :4]
        theirs = old.text_encoder(ids).last_hidden_state[:, :4]
    assert torch.allclose(ours, theirs, atol=1e-5)
    for name, value in old.unet.state_dict().items():
        assert torch.equal(model.unet.state_dict()[name], value)


def test_steps_and_finished_weights_can_be_given_on_the_command_line(trained, tmp_path):
    shutil.copytree(trained / "vae", tmp_path / "vae")
    command = ["--data", str(trained / "world"), "--out", str(tmp_path), "--scale", "test", "--threads", "2"]
    pretrain_backbone.main([*command, "--steps", "1", "--begin-with", str(trained / "backbone")])
    rows = (tmp_path / "backbone.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 1
    # One warm-up step moves a weight by a hundredth of the peak rate; random weights would be far away.
    new, old = (Backbone.load(folder / "backbone").unet.state_dict() for folder in (tmp_path, trained))
    assert max(float((new[name] - old[name]).abs().max()) for name in new) < 1e-3


def test_a_finished_autoencoder_trains_its_decoder_alone(trained, tmp_path):
    """What diffusion models know of latents stays true: encoder and scale are the old ones."""
    command = ["--data", str(trained / "world"), "--out", str(tmp_path), "--scale", "test", "--threads", "2"]
    pretrain_vae.main([*command, "--steps", "2", "--begin-with", str(trained / "backbone")])
    new, old = (
        pretrain_vae.AutoencoderTiny.from_pretrained(folder / "vae") for folder in (tmp_path, trained)
    )
    assert new.config.scaling_factor == old.config.scaling_factor
    for (name, value), before in zip(new.named_parameters(), old.parameters(), strict=True):
        assert torch.equal(value, before) == name.startswith("encoder."), name
    assert str(trained) not in (tmp_path / "vae" / "config.json").read_text()


def test_half_precision_is_in_the_file_only(tmp_path):
    torch.manual_seed(6)
    net = pretrain_backbone.Denoiser(64, 3).unet
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.register_to_config(_name_or_path=str(tmp_path))  # where it was opened
    save_half(net, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "_name_or_path" not in json.loads((tmp_path / "config.json").read_text())
    stored = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(stored[name], value.half()) for name, value in before.items())


def test_the_share_of_the_fall_can_be_chosen():
    rates = [learning_rate(step, 1000, 1e-3, warmup=100, fall=0.6) for step in range(1000)]
    assert rates[399] == rates[200] == 1e-3 and rates[700] == pytest.approx(5e-4)


def test_learning_rate_rises_then_falls():
    rates = [learning_rate(step, 1000, 1e-3, warmup=100) for step in range(1000)]
    peak = rates.index(max(rates))
    assert 99 <= peak <= 101
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(2e-5, rel=0.05)
