"""The miniature's training programs, run at the scale that checks the code."""

import json

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from texgen.backbone import Backbone
from texgen.miniature import pretrain_backbone, pretrain_clip, pretrain_vae
from texgen.miniature.pretrain_vae import LATENT_CHANNELS
from texgen.miniature.scale import CAPTION_LENGTH
from texgen.miniature.tokenizer import make_tokenizer
from texgen.miniature.training import learning_rate, load_samples, make_world


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


def test_images_agree_with_their_masks(trained):
    samples = load_samples(trained / "world")
    background = samples.alpha == 0
    assert float(background.float().mean()) > 0.2
    assert bool((samples.depth[samples.alpha == 255] > 0).any())
    assert bool((samples.depth[background] == 0).all())
    colours = samples.images.permute(0, 2, 3, 1)[background].float()
    assert float(colours.std(0).max()) == 0


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


def test_learning_rate_rises_then_falls():
    rates = [learning_rate(step, 1000, 1e-3, warmup=100) for step in range(1000)]
    peak = rates.index(max(rates))
    assert 99 <= peak <= 101
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(5e-5, rel=0.05)
