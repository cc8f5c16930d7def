"""Published layouts through the converters: exact, strict, and back."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from reference.tiny_scorers import SIDE, image_reward, official_towers, write_image_reward
from transformers import CLIPModel

from rewards.checkpoints import blip
from rewards.checkpoints.linear_head import LAION_LAYERS, fold_head
from rewards.checkpoints.open_clip import TowerSettings, clip_from_open_clip
from rewards.checkpoints.tensors import read_tensors
from rewards.preference.hps import HPSv2
from rewards.preference.image_reward import HeadSettings, ImageReward
from rewards.preference.prompt_text import clean_text

TINY = TowerSettings(vision_heads=2, text_heads=2, hidden_act="quick_gelu")


def to_open_clip(model):
    """The readable twin of the converter, the other way round: key by key, as open_clip writes them."""
    state = model.state_dict()
    theirs = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T,
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        theirs[f"ln_final.{kind}"] = state[f"text_model.final_layer_norm.{kind}"]
        theirs[f"visual.ln_pre.{kind}"] = state[f"vision_model.pre_layrnorm.{kind}"]
        theirs[f"visual.ln_post.{kind}"] = state[f"vision_model.post_layernorm.{kind}"]
        for prefix, tower in (("", "text_model"), ("visual.", "vision_model")):
            for layer in range(2):
                old = f"{tower}.encoder.layers.{layer}"
                new = f"{prefix}transformer.resblocks.{layer}"
                heads = [state[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                theirs[f"{new}.attn.in_proj_{kind}"] = torch.cat(heads)
                theirs[f"{new}.attn.out_proj.{kind}"] = state[f"{old}.self_attn.out_proj.{kind}"]
                theirs[f"{new}.ln_1.{kind}"] = state[f"{old}.layer_norm1.{kind}"]
                theirs[f"{new}.ln_2.{kind}"] = state[f"{old}.layer_norm2.{kind}"]
                theirs[f"{new}.mlp.c_fc.{kind}"] = state[f"{old}.mlp.fc1.{kind}"]
                theirs[f"{new}.mlp.c_proj.{kind}"] = state[f"{old}.mlp.fc2.{kind}"]
    return {key: tensor.contiguous() for key, tensor in theirs.items()}


def test_open_clip_tensors_become_the_same_model(clip_folder):
    model = CLIPModel.from_pretrained(clip_folder)
    theirs = to_open_clip(model) | {"attn_mask": torch.zeros(24, 24)}
    ours = clip_from_open_clip(theirs, TINY, "tiny").state_dict()
    expected = model.state_dict()
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


def test_an_hps_file_in_half_precision_scores_in_float32(clip_folder, tmp_path):
    half = {key: value.half() for key, value in to_open_clip(CLIPModel.from_pretrained(clip_folder)).items()}
    torch.save({"state_dict": half}, tmp_path / "HPS_v2.1_compressed.pt")
    score = HPSv2.load(tmp_path, "v2.1", clip_folder, TINY)
    assert score.version.startswith("HPSv2.1@")
    rebuilt = clip_from_open_clip({key: value.float() for key, value in half.items()}, TINY, "tiny")
    pixels = torch.rand(2, 3, SIDE, SIDE)
    features = rebuilt.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(
        score.clip.embed_pixels(pixels), torch.nn.functional.normalize(features, dim=-1), atol=1e-6, rtol=1e-5
    )
    with pytest.raises(FileNotFoundError, match="HPS_v2_compressed.pt"):
        HPSv2.load(tmp_path, "v2.0", clip_folder)
    with pytest.raises(ValueError, match="allowed are v2.0, v2.1"):
        HPSv2.load(tmp_path, "v3", clip_folder)
    with pytest.raises(ValueError, match="no tokenizer"):
        HPSv2.load(tmp_path, "v2.1")


def test_other_keys_and_shapes_are_refused_by_name(clip_folder):
    theirs = to_open_clip(CLIPModel.from_pretrained(clip_folder))
    for changes, part in (
        ({"extra.weight": torch.zeros(1)}, "'extra.weight' is unexpected"),
        ({"ln_final.weight": None}, "final_layer_norm.weight' is missing"),
        ({"visual.conv1.weight": None}, "'visual.conv1.weight' is missing"),
        ({"ln_final.bias": torch.zeros(3)}, "final_layer_norm.bias' has another shape"),
    ):
        broken = {key: value for key, value in (theirs | changes).items() if value is not None}
        with pytest.raises(ValueError, match=part):
            clip_from_open_clip(broken, TINY, "tiny")


def to_official(reward):
    """An ImageReward under the keys of its published checkpoint, with a head of five layers."""
    state = official_towers(reward)
    widths = (16, 20, 10, 8, 6, 1)
    for layer, inputs, outputs in zip(LAION_LAYERS, widths[:-1], widths[1:], strict=True):
        state[f"mlp.{layer}.weight"] = torch.randn(outputs, inputs)
        state[f"mlp.{layer}.bias"] = torch.randn(outputs)
    return state


def test_the_official_imagereward_file_becomes_the_same_networks(tmp_path):
    reward = image_reward(tmp_path / "tokenizer")
    state = to_official(reward)
    torch.save(state, tmp_path / "ImageReward.pt")
    med = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    med |= {"vocab_size": reward.text.config.vocab_size, "max_position_embeddings": 24}
    (tmp_path / "med_config.json").write_text(json.dumps({**med, "encoder_width": 16, "model_type": "bert"}))
    loaded = ImageReward.load(
        tmp_path, tmp_path / "tokenizer", vision_heads=2, settings=HeadSettings(max_length=24)
    )
    for ours, plain in ((loaded.vision, reward.vision), (loaded.text, reward.text)):
        assert all(torch.equal(value, plain.state_dict()[key]) for key, value in ours.state_dict().items())
    images, prompts = torch.rand(2, 3, SIDE, SIDE), ["a cow", "a vase"]
    pixels = (images - torch.tensor(loaded.preprocessing.mean)[:, None, None]) / torch.tensor(
        loaded.preprocessing.std
    )[:, None, None]
    ids, mask = reward.tokens(prompts)
    seen = reward.vision(pixel_values=pixels).last_hidden_state
    hidden = reward.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
    plain = hidden[:, 0].double()
    for layer in LAION_LAYERS:
        plain = plain @ state[f"mlp.{layer}.weight"].double().T + state[f"mlp.{layer}.bias"].double()
    expected = ((plain[:, 0] - 0.16717362830052426) / 1.0333394966054072).float()
    torch.testing.assert_close(loaded(images, prompts), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="no tokenizer"):
        ImageReward.load(tmp_path)
    for key in ("blip.visual_encoder.norm.weight", "blip.text_encoder.encoder.layer.0.output.dense.bias"):
        broken = {name: value for name, value in state.items() if name != key}
        with pytest.raises(ValueError, match="is missing"):
            blip.blip_from_image_reward(broken, med, "tiny", vision_heads=2)
    with pytest.raises(ValueError, match="'blip.extra' is unexpected"):
        blip.blip_from_image_reward(state | {"blip.extra": torch.zeros(1)}, med, "tiny", vision_heads=2)


def test_the_defaults_of_the_text_tower_are_those_of_the_checkpoint():
    config = blip.text_config_of({}, encoder_width=1024)
    assert (config.num_attention_heads, config.vocab_size, config.encoder_hidden_size) == (12, 30524, 1024)
    assert config.layer_norm_eps == 1e-12


def test_the_plain_folder_is_opened_as_it_was_saved(tmp_path):
    reward = image_reward(tmp_path / "tokenizer")
    folder = write_image_reward(tmp_path / "blip")
    loaded = ImageReward.load(folder)
    images, prompts = torch.rand(2, 3, SIDE, SIDE), ["a cow", "a vase"]
    torch.testing.assert_close(loaded(images, prompts), reward(images, prompts), atol=1e-6, rtol=1e-6)
    assert loaded.version.startswith("blip@")
    shutil.copy(folder / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no ImageReward"):
        ImageReward.load(tmp_path)


@pytest.mark.parametrize(
    ("prompt", "clean"),
    [
        ("a  cow \n in&amp;out", "a cow in&out"),
        ("“quoted” ’s", '"quoted" \'s'),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("plain", "plain"),
    ],
)
def test_prompts_are_cleaned_as_the_first_tokenizer_did(prompt, clean):
    assert clean_text(prompt) == clean


def test_the_published_head_is_one_affine_map():
    folder = os.environ.get("TEXREWARD_WEIGHTS")
    path = Path(folder or "") / "sac+logos+ava1-l14-linearMSE.pth"
    if not folder or not path.is_file():
        pytest.skip("TEXREWARD_WEIGHTS names no folder with sac+logos+ava1-l14-linearMSE.pth")
    state = read_tensors(path)
    weight, bias = fold_head(state, str(path))
    assert float(weight.norm()) == pytest.approx(17.9956, abs=1e-4)
    assert float(bias) == pytest.approx(5.23665, abs=1e-5)
    x = torch.nn.functional.normalize(
        torch.randn(64, 768, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    plain = x
    for layer in LAION_LAYERS:
        plain = torch.nn.functional.linear(plain, state[f"{layer}.weight"], state[f"{layer}.bias"])
    torch.testing.assert_close(x @ weight.float() + bias.float(), plain[:, 0], atol=5e-6, rtol=1e-6)
