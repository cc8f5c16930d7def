"""The miniature's preference pairs and scorers, trained at the scale that checks the code."""

import pytest
import torch
from transformers import CLIPModel

from rewards.preference.clip_score import CLIPScore
from rewards.preference.image_reward import ImageReward
from texgen.miniature import pretrain_blip, pretrain_clip, pretrain_preferences
from texgen.miniature.clip_towers import image_embeddings, make_clip
from texgen.miniature.materials import BACKGROUND
from texgen.miniature.preferences import (
    DISAGREEMENT,
    KINDS,
    WRONG_COLOUR,
    WRONG_MATERIAL,
    draw_pairs,
    other_paint,
    paint_numbers,
    recomposed,
    repainted,
    sample_images,
)
from texgen.miniature.training import load_samples, make_world


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all scorers trained for a few steps."""
    folder = tmp_path_factory.mktemp("scorers")
    make_world(folder / "world", "test")
    arguments = ["--data", str(folder / "world"), "--out", str(folder), "--scale", "test", "--threads", "1"]
    pretrain_clip.main(arguments)
    for part in ("pickscore", "hpsv2"):
        pretrain_preferences.main([*arguments, "--part", part])
    pretrain_blip.main(arguments)
    return folder


@pytest.fixture(scope="module")
def samples(folder):
    return load_samples(folder / "world")


def test_every_kind_of_pair_spoils_the_object_alone(samples):
    for kind in KINDS:
        index = torch.arange(4)
        pairs = draw_pairs(samples, index, torch.Generator().manual_seed(3), (kind,))
        assert pairs.kinds == [kind] * 4
        alpha = (samples.alpha[index] > 0)[:, None].float()
        change = (pairs.better - pairs.worse).abs()
        assert float((change * (1 - alpha)).max()) < 1e-5, kind
        assert float((change * alpha).sum() / alpha.sum()) > 0.005, kind


def test_other_paints_differ_in_what_they_should():
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        recoloured = other_paint("striped", ("red", "blue"), WRONG_COLOUR, generator)
        assert recoloured.material == "striped" and set(recoloured.colours) != {"red", "blue"}
        assert other_paint("zebra", (), WRONG_COLOUR, generator).material != "zebra"
        other = other_paint("striped", ("red", "blue"), WRONG_MATERIAL, generator)
        assert other.material != "striped" and set(other.colours) <= {"red", "blue"}


def test_views_disagree_on_one_side_of_a_plane(samples):
    image = sample_images(samples, torch.tensor([0]))[0][0]
    out = repainted(samples, 0, image, DISAGREEMENT, torch.Generator().manual_seed(1))
    seen = samples.alpha[0] == 255
    changed = ((out - image).abs().sum(0) > 1e-6)[seen].float().mean()
    assert 0.1 < float(changed) < 0.8


def test_recomposing_equals_composing_over_the_new_background(samples):
    images, alpha = sample_images(samples, torch.arange(3))
    new = torch.rand(3, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    foreground = images - torch.tensor(BACKGROUND).view(1, 3, 1, 1) * (1 - alpha)
    assert torch.allclose(
        recomposed(images, alpha, new), (foreground + new * (1 - alpha)).clamp(0, 1), atol=1e-6
    )


def test_three_clip_scorers_are_different_models_that_open(folder):
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    scores = []
    for name in ("clip", "pickscore", "hpsv2"):
        model = CLIPModel.from_pretrained(folder / name)
        scorer = CLIPScore.load(folder / name)
        scores.append(scorer(images, ["a red chair", "a zebra chair"]))
        assert model.config.vision_config.image_size == (96 if name == "hpsv2" else 128)
    assert not torch.allclose(scores[0], scores[1], atol=1e-6)
    assert not torch.allclose(scores[0], scores[2], atol=1e-6)


def test_the_small_blip_opens_as_image_reward_and_gives_the_same_rewards(folder, samples):
    reward = ImageReward.load(folder / "image_reward")
    images = sample_images(samples, torch.arange(3))[0]
    prompts = samples.captions[:3]
    model = pretrain_blip.Blip(reward.text.config.vocab_size)
    model.vision.load_state_dict(reward.vision.state_dict())
    model.text.load_state_dict(reward.text.state_dict())
    model.head.load_state_dict({"weight": reward.head["weight"], "bias": reward.head["bias"]})
    ids, mask = reward.tokens(prompts)
    with torch.no_grad():
        raw = model.eval()(model.image_tokens(images), ids, mask)
        assert torch.allclose(reward(images, prompts), (raw - reward.mean) / reward.std, atol=1e-4)


def test_clips_image_tower_lives_on_in_blip():
    """With tokens of equal spread the folded layer norm is exact."""
    torch.manual_seed(0)
    clip = make_clip(100, 1).eval()
    tower = clip.vision_model
    with torch.no_grad():
        tower.embeddings.patch_embedding.weight.zero_()
        tower.embeddings.position_embedding.weight.copy_(
            torch.randn_like(tower.embeddings.position_embedding.weight)
        )
        weight = tower.embeddings.position_embedding.weight
        weight /= weight.std(1, keepdim=True, unbiased=False)
        tower.embeddings.class_embedding.zero_()
        tower.pre_layrnorm.weight.uniform_(0.5, 1.5)
        tower.pre_layrnorm.bias.normal_()
        blip = pretrain_blip.Blip(100).eval()
        pretrain_blip.start_from_clip(blip, clip)
        images = torch.rand(1, 3, 128, 128)
        expected = tower.post_layernorm(tower((images - 0.5) / 0.25).last_hidden_state)
        assert torch.allclose(blip.image_tokens(images), expected, atol=0.02)


def test_wrong_prompts_have_another_paint(samples):
    numbers = paint_numbers(samples)
    index = torch.arange(len(samples))
    wrong = pretrain_blip.other_prompts(index, numbers, torch.Generator().manual_seed(0))
    assert bool((numbers[wrong] != numbers[index]).all())
    assert len(set(zip(samples.materials, samples.colours, strict=True))) == len(numbers.unique())


def test_image_embeddings_are_those_of_transformers():
    torch.manual_seed(0)
    clip = make_clip(100, 1).eval()
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        theirs = clip.get_image_features(pixel_values=(images - 0.5) / 0.25)
        theirs = getattr(theirs, "pooler_output", theirs)
        assert torch.allclose(
            image_embeddings(clip, images), torch.nn.functional.normalize(theirs, dim=-1), atol=1e-6
        )
