"""CycleReward, ICT, HP and Reward3D from tiny checkpoints in their published layouts, beside plain twins."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from reference.tiny_meshes import sphere_mesh
from reference.tiny_scorers import SIDE, write_blip_extras, write_pick_high
from transformers import CLIPModel

from rewards.base import Textured, TextureReward
from rewards.multiview.reward3d import Reward3D
from rewards.preference.cycle_reward import CycleReward
from rewards.preference.pick_high import HP, ICT
from rewards.preference.preprocess import CLIP_MEAN, CLIP_STD
from texgen.render.cameras import Cameras

PROMPTS = ["a red cow", "a blue bunny", "a red cow"]


@pytest.fixture(scope="module")
def extras(tmp_path_factory):
    """Folder of the scores on BLIP, their common towers, and the tensors of their heads."""
    folder = tmp_path_factory.mktemp("extras")
    return folder, *write_blip_extras(folder)


@pytest.fixture(scope="module")
def pick_high(tmp_path_factory, clip_folder):
    folder = tmp_path_factory.mktemp("pick_high")
    return folder, write_pick_high(folder, clip_folder)


def images(count=3, seed=0):
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def layer(head, name, x):
    return F.linear(x, head[f"{name}.weight"], head[f"{name}.bias"])


def blip_features(towers, tokenizer, pixels, prompts):
    """The towers one after the other, as transformers documents them; their first text state."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    seen = towers.vision(pixel_values=(pixels - mean) / std).last_hidden_state
    text = tokenizer(prompts, padding=True, return_tensors="pt")
    return towers.text(
        input_ids=text["input_ids"], attention_mask=text["attention_mask"], encoder_hidden_states=seen
    ).last_hidden_state[:, 0]


def same_values_and_gradients(ours, plain, pixels):
    one, other = pixels.clone().requires_grad_(), pixels.clone().requires_grad_()
    value, expected = ours(one), plain(other)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    value.sum().backward()
    expected.sum().backward()
    assert one.grad.abs().max() > 0
    torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-3)


def test_cycle_reward_is_a_head_with_gelu_on_blip(extras):
    folder, towers, heads = extras
    score = CycleReward.load(folder, "Combo", folder / "tokenizer")
    head = heads["CycleReward-Combo.pth"]

    def plain(pixels):
        states = blip_features(towers, score.tokenizer, pixels, PROMPTS)
        for index in (0, 2, 4, 6):
            states = F.gelu(layer(head, f"mlp.layers.{index}", states))
        return layer(head, "mlp.layers.8", states)[:, 0]

    same_values_and_gradients(lambda pixels: score(pixels, PROMPTS), plain, images())
    assert score.version.startswith("CycleReward-Combo@")
    assert score.tokens(PROMPTS)[0].shape == (3, 128)


def test_cycle_reward_refuses_other_files_by_name(extras, tmp_path):
    folder, _, heads = extras
    with pytest.raises(ValueError, match="allowed are Combo, T2I, I2T"):
        CycleReward.load(folder, "Best", folder / "tokenizer")
    with pytest.raises(FileNotFoundError, match="CycleReward-T2I.pth"):
        CycleReward.load(folder, "T2I", folder / "tokenizer")
    with pytest.raises(ValueError, match="no tokenizer"):
        CycleReward.load(folder)
    state = torch.load(folder / "CycleReward-Combo.pth")
    (tmp_path / "med_config.json").write_bytes((folder / "med_config.json").read_bytes())
    for changes, message in (
        ({"mlp.layers.8.bias": None}, "'mlp.layers.8.bias' of the head is missing"),
        ({"blip.text_encoder.encoder.layer.0.output.dense.bias": None}, "is missing"),
        ({"reward.weight": torch.zeros(1)}, "'reward.weight' is unexpected"),
    ):
        broken = {key: value for key, value in (state | changes).items() if value is not None}
        torch.save(broken, tmp_path / "CycleReward-Combo.pth")
        with pytest.raises(ValueError, match=message):
            CycleReward.load(tmp_path, "Combo", folder / "tokenizer")


def clip_features(folder, file, pixels, prompts, tokenizer):
    """Embeddings of images and prompts, as they come, by a CLIPModel that is filled with the file."""
    model = CLIPModel.from_pretrained(folder).eval()
    state = torch.load(file)
    model.load_state_dict({key: value for key, value in state.items() if "position_ids" not in key})
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(settings[f"image_{name}"])[:, None, None] for name in ("mean", "std"))
    vision = model.visual_projection(model.vision_model((pixels - mean) / std).pooler_output)
    text = model.text_model(**tokenizer(prompts, padding=True, return_tensors="pt")).pooler_output
    return vision, model.text_projection(text)


def test_ict_is_the_cosine_of_its_own_clip(clip_folder, pick_high):
    folder, _ = pick_high
    score = ICT.load(folder, clip_folder)

    def plain(pixels):
        file = folder / "pytorch_model.bin"
        return F.cosine_similarity(*clip_features(clip_folder, file, pixels, PROMPTS, score.clip.tokenizer))

    same_values_and_gradients(lambda pixels: score(pixels, PROMPTS), plain, images())
    assert score.clip.tokens(["a&amp;b"])[0].equal(score.clip.tokens(["a&b"])[0])


def test_hp_is_a_logistic_function_of_the_embedding_as_it_is(clip_folder, pick_high):
    folder, head = pick_high
    score = HP.load(folder, clip_folder)

    def plain(pixels):
        file = folder / "hp_backbone" / "pytorch_model.bin"
        states = clip_features(clip_folder, file, pixels, PROMPTS, score.clip.tokenizer)[0]
        for index in (0, 2, 4, 6, 7):
            states = layer(head, f"layers.{index}", states)
        return torch.sigmoid(states[:, 0])

    same_values_and_gradients(score, plain, images())
    assert torch.equal(score(images(), PROMPTS), score(images()))


def test_pick_high_refuses_other_files_by_name(clip_folder, pick_high, tmp_path):
    folder, _ = pick_high
    with pytest.raises(FileNotFoundError, match="pytorch_model.bin"):
        ICT.load(tmp_path, clip_folder)
    state = torch.load(folder / "pytorch_model.bin")
    torch.save(state | {"hp_scorer.weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="'hp_scorer.weight' is unexpected"):
        ICT.load(tmp_path, clip_folder)


def attended(adapter, features):
    """Attention of each view to all views, one head, written out."""
    matrix, offset = (
        adapter["cross_view_adapter.self_attn.in_proj_weight"],
        "cross_view_adapter.self_attn.in_proj_bias",
    )
    query, key, value = (features @ matrix.T + adapter[offset]).chunk(3, dim=-1)
    weights = torch.softmax(query @ key.T / query.shape[-1] ** 0.5, dim=-1)
    return layer(adapter, "cross_view_adapter.self_attn.out_proj", weights @ value)


def plain_scorer(head, features):
    middle = layer(head, "mlp.layers.2", layer(head, "mlp.layers.0", features))
    states = torch.cat(list(middle))
    for name in ("fc1", "fc2", "fc3"):
        states = layer(head, f"Scorer.{name}", states)
    return (states[0] - 0.16717362830052426) / 1.0333394966054072


def plain_fusion(head, features):
    other = attended(head, features)
    gate = torch.sigmoid(layer(head, "cross_view_adapter.fusion_gate.0", torch.cat([features, other], -1)))
    states = (gate * other + (1 - gate) * features).mean(0)
    for index in (0, 2, 4, 6, 7):
        states = layer(head, f"mlp.layers.{index}", states)
    return (states[0] - 0.16717362830052426) / 5


@pytest.mark.parametrize(
    ("variant", "file", "join"),
    [
        ("scorer", "Reward3D_Scorer.pt", plain_scorer),
        ("fusion", "Reward3D_CrossViewFusion.pt", plain_fusion),
    ],
)
def test_reward3d_joins_four_views_read_with_their_directions(extras, variant, file, join):
    folder, towers, heads = extras
    reward = Reward3D.load(folder, variant, folder / "tokenizer")
    prompts = ["cow, front view", "cow, side view", "cow, back view", "cow, side view"]

    def plain(pixels):
        return join(heads[file], blip_features(towers, reward.blip.tokenizer, pixels, prompts))

    same_values_and_gradients(lambda pixels: reward.score_views(pixels, "cow"), plain, images(4))
    turned = images(4)[[1, 2, 3, 0]]
    assert reward.score_views(turned, "cow") != reward.score_views(images(4), "cow")
    with pytest.raises(ValueError, match="4 views of an object, not 3"):
        reward.score_views(images(3), "cow")


def test_reward3d_is_fit_to_train_with(extras):
    """The requirements of test_preference_checklist.py, for a reward of a textured mesh."""
    folder, _, _ = extras
    reward = Reward3D.load(folder, "scorer", folder / "tokenizer")
    thrifty = Reward3D.load(folder, "scorer", folder / "tokenizer", max_batch=2, recompute=True)
    assert isinstance(reward, TextureReward)
    for module in (reward.blip.vision, reward.blip.text, reward.joiner):
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
    mesh, results = sphere_mesh(), []
    for each in (reward, thrifty):
        texture = images(1)[0].requires_grad_()
        textured = Textured(mesh, texture, torch.ones(1, SIDE, SIDE), "cow")
        value = each(textured)
        value.backward()
        results.append((value.detach(), texture.grad))
    (value, grad), (other, other_grad) = results
    assert value.dtype == torch.float32 and value.shape == ()
    assert grad.isfinite().all() and grad.abs().max() > 0
    torch.testing.assert_close(other, value, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(other_grad, grad, atol=1e-5, rtol=1e-3)
    read = []
    tokenizer = reward.blip.tokenizer
    reward.blip.tokenizer = lambda prompt, **options: read.append(prompt) or tokenizer(prompt, **options)
    with torch.no_grad():
        views = textured.render(reward.cameras, SIDE, supersample=2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under = reward.score_views(views, "cow")
    assert read == []  # the prompts of the first call are kept
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, value, atol=1e-5, rtol=1e-5)


def test_reward3d_looks_from_quarter_turns(extras):
    folder, _, _ = extras
    reward = Reward3D.load(folder, "fusion", folder / "tokenizer")
    textured = Textured(sphere_mesh(), images(1)[0], torch.ones(1, SIDE, SIDE), "cow")
    views = textured.render(rig_of(0, 90, 180, 270), SIDE, supersample=2)
    torch.testing.assert_close(reward.score_views(views, "cow"), reward(textured))
    assert reward(textured) != reward(replace(textured, prompt="vase"))


def rig_of(*azimuths):
    return Cameras.orbit([float(azimuth) for azimuth in azimuths], 15.0)


def test_reward3d_refuses_other_files_by_name(extras, tmp_path):
    folder, _, _ = extras
    with pytest.raises(ValueError, match="allowed are scorer, fusion"):
        Reward3D.load(folder, "mean", folder / "tokenizer")
    (tmp_path / "med_config.json").write_bytes((folder / "med_config.json").read_bytes())
    for variant, file, key in (
        ("scorer", "Reward3D_Scorer.pt", "Scorer.fc2.weight"),
        ("fusion", "Reward3D_CrossViewFusion.pt", "cross_view_adapter.fusion_gate.0.bias"),
    ):
        state = torch.load(folder / file)
        torch.save({name: value for name, value in state.items() if name != key}, tmp_path / file)
        with pytest.raises(ValueError, match="missing"):
            Reward3D.load(tmp_path, variant, folder / "tokenizer")
