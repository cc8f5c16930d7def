"""The miniature's training programs, run at the scale that checks the code."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer

from texgen.diffusion.backbone import Backbone
from texgen.diffusion.guidance import Control
from texgen.miniature import pretrain_backbone, pretrain_clip, pretrain_vae, train
from texgen.miniature.architecture import LATENT_CHANNELS, Architecture
from texgen.miniature.denoiser import new_denoiser, open_finished
from texgen.miniature.scale import CAPTION_LENGTH, SCALES
from texgen.miniature.tokenizer import make_tokenizer, open_tokenizer, tokenize
from texgen.miniature.trained_parts import PARTS
from texgen.miniature.training_loop import save_half
from texgen.miniature.world_arrays import open_world
from texgen.miniature.world_makers import make_world

ROOT = Path(__file__).resolve().parents[2]
CPU = ["--device", "cpu", "--scale", "test"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with everything that the tests open trained for a few steps."""
    folder = tmp_path_factory.mktemp("miniature")
    make_world(folder / "world", SCALES["test"]["cpu"].world)
    arguments = ["--data", str(folder / "world"), "--out", str(folder), *CPU, "--threads", "2"]
    for program in (pretrain_vae, pretrain_backbone, pretrain_clip):
        program.main(arguments)
    return folder


def test_what_was_trained_opens_as_a_backbone(trained):
    backbone = Backbone.load(trained / "backbone")
    assert backbone.latent_scale == 4 and backbone.latent_channels == LATENT_CHANNELS
    text = backbone.encode_prompts(["", "a red chair"])
    latents = torch.zeros(1, LATENT_CHANNELS, 32, 32)
    out = backbone.predict(latents, 500, text, [Control("depth_inpaint", torch.zeros(1, 6, 128, 128))], 3.0)
    assert out.shape == latents.shape and bool(out.isfinite().all())


def test_the_scorers_open_in_transformers(trained):
    model = CLIPModel.from_pretrained(trained / "clip")
    tokenizer = CLIPTokenizer.from_pretrained(trained / "clip")
    assert tokenizer.model_max_length == CAPTION_LENGTH
    assert model.config.vision_config.image_size == 128
    assert json.loads((trained / "aesthetic" / "config.json").read_text())["clip"] == "../clip"


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
    model = open_finished(finished, other).eval()
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
    shutil.copytree(trained / "backbone" / "vae", tmp_path / "backbone" / "vae")
    command = ["--data", str(trained / "world"), "--out", str(tmp_path), *CPU, "--threads", "2"]
    pretrain_backbone.main([*command, "--steps", "1", "--begin-with", str(trained / "backbone")])
    rows = (tmp_path / "backbone.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 1
    # One warm-up step moves a weight by a hundredth of the peak rate; random weights would be far away.
    new, old = (Backbone.load(folder / "backbone") for folder in (tmp_path, trained))
    pairs = [(new.unet, old.unet)]
    pairs += [(new.controlnets[role], old.controlnets[role]) for role in ("depth_inpaint", "uv_position")]
    for ours, theirs in pairs:
        for (name, value), before in zip(
            ours.state_dict().items(), theirs.state_dict().values(), strict=True
        ):
            assert float((value - before).abs().max()) < 1e-3, name


def test_a_finished_autoencoder_trains_its_decoder_alone(trained, tmp_path):
    """What diffusion models know of latents stays true: encoder and scale are the old ones."""
    command = ["--data", str(trained / "world"), "--out", str(tmp_path), *CPU, "--threads", "2"]
    pretrain_vae.main([*command, "--steps", "2", "--begin-with", str(trained / "backbone")])
    new, old = (
        pretrain_vae.AutoencoderTiny.from_pretrained(folder / "backbone" / "vae")
        for folder in (tmp_path, trained)
    )
    assert new.config.scaling_factor == old.config.scaling_factor
    for (name, value), before in zip(new.named_parameters(), old.parameters(), strict=True):
        assert torch.equal(value, before) == name.startswith("encoder."), name
    assert str(trained) not in (tmp_path / "backbone" / "vae" / "config.json").read_text()


def test_half_precision_is_in_the_file_only(tmp_path):
    torch.manual_seed(6)
    net = Architecture().unet()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.register_to_config(_name_or_path=str(tmp_path))  # where it was opened
    save_half(net, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "_name_or_path" not in json.loads((tmp_path / "config.json").read_text())
    stored = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(stored[name], value.half()) for name, value in before.items())


def test_another_architecture_is_one_options_away_and_opens(trained, tmp_path):
    shutil.copytree(trained / "backbone" / "vae", tmp_path / "backbone" / "vae")
    command = ["--data", str(trained / "world"), "--out", str(tmp_path), *CPU, "--steps", "1"]
    shape = ["--channels", "16,32,32", "--attention", "0,2", "--layers-per-block", "2"]
    pretrain_backbone.main([*command, *shape, "--conditioning-channels", "4,8,16"])
    backbone = Backbone.load(tmp_path / "backbone")
    config = backbone.unet.config
    assert tuple(config.block_out_channels) == (16, 32, 32) and config.layers_per_block == 2
    assert list(config.down_block_types) == ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"]
    for net in backbone.controlnets.values():
        assert tuple(net.config.block_out_channels) == (16, 32, 32)
        assert tuple(net.config.conditioning_embedding_out_channels) == (4, 8, 16)
    with pytest.raises(SystemExit, match="leave channels out"):
        pretrain_backbone.main([*command, "--begin-with", "x", "--channels", "8,8,8"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"channels": (30, 64, 128)}, "multiple of 8"),
        ({"attention": (3,)}, "levels go from 0 to 2"),
        ({"conditioning_channels": (8, 16)}, "give 3"),
    ],
)
def test_an_architecture_that_cannot_be_built_says_why(wrong, said):
    with pytest.raises(ValueError, match=said):
        Architecture(**wrong)


def test_the_default_architecture_is_that_of_the_shipped_weights():
    """So that `--begin-with` and a training from nothing make the same nets."""
    shipped = ROOT / "models" / "miniature" / "backbone"
    unet = Architecture().unet()
    controlnet = Architecture().controlnet(unet, 6)
    for net, folder in ((unet, "unet"), (controlnet, "controlnet_depth_inpaint")):
        stored = load_file(shipped / folder / "diffusion_pytorch_model.safetensors")
        assert {name: value.shape for name, value in net.state_dict().items()} == {
            name: value.shape for name, value in stored.items()
        }
    text = Architecture().text_encoder(100, 1).config
    assert (
        text.hidden_size == json.loads((shipped / "text_encoder" / "config.json").read_text())["hidden_size"]
    )


def test_new_nets_read_the_tokenizers_ids_and_six_channels():
    tokenizer = make_tokenizer(["a red chair"] * 3)
    model = new_denoiser(Architecture(channels=(16, 16), attention=(1,)), tokenizer)
    assert model.controlnet.config.conditioning_channels == 6
    assert model.text_encoder.config.vocab_size == len(tokenizer)
    assert train.architecture.given(train.parse(["judge", "--data", "d", "--out", "o"])[0]) == {}


def test_parts_know_their_stages_and_what_they_build_on():
    for scales in SCALES.values():
        for scale in scales.values():
            assert set(scale.stages) == set(PARTS)
    order = list(PARTS)
    for name, part in PARTS.items():
        assert all(order.index(before) < order.index(name) for before in part.after)


def test_parts_are_trained_in_a_given_time_beside_finished_ones(trained, tmp_path):
    """What trains the backbone alone, in seconds: files in, a whole folder of models out."""
    finished = tmp_path / "finished"
    for part in PARTS.values():
        for file in part.files:
            if (trained / file).exists():
                shutil.copytree(trained / file, finished / file, dirs_exist_ok=True)
            else:
                (finished / file).parent.mkdir(parents=True, exist_ok=True)
                (finished / file).write_text("finished")
    make_tokenizer(["a red chair"] * 3).save_pretrained(finished / "backbone" / "tokenizer")
    arguments = [
        "--finished",
        str(finished),
        "--data",
        str(trained / "world"),
        "--out",
        str(tmp_path / "out"),
    ]
    arguments += [*CPU, "--processes", "1", "--budget", "1", "--channels", "8,16,16"]
    assert train.main(["backbone", "controlnet_depth", *arguments]) == 0
    out = tmp_path / "out"
    assert Backbone.load(out / "backbone").unet.config.block_out_channels == [8, 16, 16]
    assert (
        CLIPTokenizer.from_pretrained(out / "backbone" / "tokenizer").get_vocab()
        == make_tokenizer(["a red chair"] * 3).get_vocab()
    )
    vae = "backbone/vae/diffusion_pytorch_model.safetensors"
    assert (out / vae).read_bytes() == (finished / vae).read_bytes()
    assert (out / "judge.safetensors").read_text() == "finished"
    assert json.loads((out / "controlnet_depth.jsonl").read_text().splitlines()[-1])["step"] >= 1


def test_a_part_that_fails_takes_those_that_build_on_it_along(trained, tmp_path, monkeypatch, capsys):
    done = []

    def fake(name, *_):
        if name == "clip":
            raise RuntimeError("no luck")
        done.append(name)

    monkeypatch.setattr(train, "train_part", fake)
    common = ["--data", str(trained / "world"), "--out", str(tmp_path), *CPU]
    assert train.main(["hpsv2", "clip", "judge", *common]) == 1
    assert done == ["judge"]
    assert "hpsv2 is left out, since clip failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["sculpture"], "no part 'sculpture'"),
        (["clip", "judge", "--rate", "1"], "where one part is trained"),
        (["judge", "--channels", "8,8"], "for the part backbone"),
        (["--processes", "0"], "1 or more"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(wrong, said, capsys):
    with pytest.raises(SystemExit):
        train.parse([*wrong, "--data", "d", "--out", "o"])
    assert said in capsys.readouterr().err


def test_two_processes_train_one_model(trained, tmp_path):
    """Started as the workflow starts them; both see the same gradients, and one writes."""
    arguments = ["judge", "--data", str(trained / "world"), "--out", str(tmp_path), *CPU]
    assert train.main([*arguments, "--processes", "2", "--steps", "2"]) == 0
    rows = (tmp_path / "judge.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 2 and len(rows) <= 2
    assert "material.weight" in load_file(tmp_path / "judge.safetensors")


def test_a_program_without_a_world_says_how_to_make_one(tmp_path):
    with pytest.raises(SystemExit, match=r"texgen.miniature.world --out"):
        open_world(tmp_path)
    with pytest.raises(SystemExit, match="is missing"):
        train.main(["judge", "--finished", str(tmp_path), "--data", "d", "--out", str(tmp_path / "o"), *CPU])
