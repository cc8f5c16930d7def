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
    KINDS,
    check_pairs,
    disagreeing,
    draw_index,
    draw_pairs,
    layout,
    other_paint,
    other_rows,
    quantile,
    recomposed,
)
from texgen.miniature.scale import SCALES, Sizes
from texgen.miniature.world_arrays import (
    OTHER_KINDS,
    WRONG_COLOUR,
    WRONG_MATERIAL,
    World,
    WorldSamples,
    open_world,
)
from texgen.miniature.world_makers import make_world


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all scorers trained for a few steps."""
    folder = tmp_path_factory.mktemp("scorers")
    make_world(folder / "world", SCALES["test"]["cpu"].world)
    arguments = ["--data", str(folder / "world"), "--out", str(folder), "--scale", "test", "--device", "cpu"]
    pretrain_clip.main(arguments)
    for part in ("pickscore", "hpsv2"):
        pretrain_preferences.main([*arguments, "--part", part])
    pretrain_blip.main(arguments)
    return folder


@pytest.fixture(scope="module")
def samples(folder):
    return open_world(folder / "world", others=True)


def test_every_kind_of_pair_spoils_the_object_alone(samples):
    torch.manual_seed(3)
    index = torch.arange(4)
    alpha = (samples.alpha_of(index) > 0).float()
    for kind in KINDS:
        better, worse = draw_pairs(samples, index, ((kind, 4),))
        change = (better - worse).abs()
        assert float((change * (1 - alpha)).max()) < 1e-5, kind
        assert float((change * alpha).sum() / alpha.sum()) > 0.005, kind


def test_a_layout_shares_a_batch_out_and_every_row_gets_its_kind(samples):
    rows = layout((*KINDS, "noise", "blur", "blur"), 26)
    assert dict(rows)["holes"] == 2 and dict(rows)["noise"] == 4 and dict(rows)["blur"] == 6
    torch.manual_seed(0)
    index = draw_index(samples, rows)
    assert len(index) == sum(count for _, count in rows)
    better, worse = draw_pairs(samples, index, rows)
    start = 0
    for kind, count in rows:
        part = slice(start, start + count)
        if kind in OTHER_KINDS:  # only the first samples are painted wrongly, too
            assert int(index[part].max()) < len(samples.others)
            other = samples.others[index[part], OTHER_KINDS.index(kind)].float() / 255
            seen = samples.alpha_of(index[part]) == 1
            assert torch.allclose((worse[part] * seen), other * seen, atol=1e-6)
        start += count
    assert better.shape == worse.shape == (len(index), 3, 128, 128)


def test_worlds_without_what_pairs_are_made_of_are_named(samples):
    check_pairs(samples)
    arrays = World(Sizes(views=3, samples=3, others=3))
    with pytest.raises(ValueError, match="painted twice"):
        check_pairs(WorldSamples(arrays, torch.device("cpu")))
    with pytest.raises(ValueError, match="--others"):
        check_pairs(WorldSamples(World(Sizes(views=3, samples=6)), torch.device("cpu")))


def test_quantiles_of_seen_values_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    values, seen = (
        torch.randn(3, 20, 20, generator=generator),
        torch.rand(3, 20, 20, generator=generator) > 0.4,
    )
    share = torch.tensor([0.3, 0.5, 0.7]).view(3, 1, 1)
    ours = quantile(values, seen, share, rounds=20)
    for i in range(3):
        theirs = values[i][seen[i]].quantile(float(share[i]), interpolation="higher")
        assert float(ours[i]) == pytest.approx(float(theirs), abs=0.05)
        below = (values[i][seen[i]] <= ours[i]).float().mean()
        assert float(below) == pytest.approx(float(share[i]), abs=0.01)


def test_other_paints_differ_in_what_they_should():
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        recoloured = other_paint("striped", ("red", "blue"), WRONG_COLOUR, generator)
        assert recoloured.material == "striped" and set(recoloured.colours) != {"red", "blue"}
        assert other_paint("zebra", (), WRONG_COLOUR, generator).material != "zebra"
        other = other_paint("striped", ("red", "blue"), WRONG_MATERIAL, generator)
        assert other.material != "striped" and set(other.colours) <= {"red", "blue"}


def test_views_disagree_on_one_side_of_a_plane(samples):
    torch.manual_seed(1)
    index = torch.arange(6)
    out, seen = disagreeing(samples, index), samples.alpha_of(index)[:, 0] == 1
    change = (out - samples.pictures(index)).abs().sum(1) > 1e-6
    for i in range(6):
        assert float(change[i][seen[i]].float().mean()) < 0.8
        assert not bool(change[i][samples.alpha_of(index)[i, 0] == 0].any())
    assert float(change[seen].float().mean()) > 0.1


def test_recomposing_equals_composing_over_the_new_background(samples):
    images, alpha = samples.pictures(torch.arange(3)), samples.alpha_of(torch.arange(3))
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
    images = samples.pictures(torch.arange(3))
    prompts = samples.captions[:3]
    model = pretrain_blip.BlipScorer(reward.text.config.vocab_size)
    model.vision.load_state_dict(reward.vision.state_dict())
    model.text.load_state_dict(reward.text.state_dict())
    model.head.load_state_dict({"weight": reward.head["weight"], "bias": reward.head["bias"]})
    ids, mask = reward.tokens(prompts)
    with torch.no_grad():
        raw = model.eval()(model.image_tokens(images), ids, pretrain_blip.additive_mask(mask))
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
        blip = pretrain_blip.BlipScorer(100).eval()
        pretrain_blip.start_from_clip(blip, clip)
        images = torch.rand(1, 3, 128, 128)
        expected = tower.post_layernorm(tower((images - 0.5) / 0.25).last_hidden_state)
        assert torch.allclose(blip.image_tokens(images), expected, atol=0.02)


def test_wrong_prompts_have_another_paint(samples):
    torch.manual_seed(0)
    wrong = other_rows(samples, torch.arange(len(samples)))
    assert bool((samples.paint[wrong] != samples.paint).all())


def test_a_ready_mask_says_what_the_plain_one_says():
    """transformers is handed the sum's mask itself, values and gradients as with ones and zeros."""
    torch.manual_seed(0)
    blip = pretrain_blip.BlipScorer(50).eval()
    seen, ids = torch.randn(2, 65, 192), torch.randint(0, 50, (2, 24))
    plain = torch.ones(2, 24, dtype=torch.long)
    plain[0, 5:] = 0
    results = []
    for mask in (pretrain_blip.additive_mask(plain), None):
        blip.zero_grad()
        if mask is None:
            states = blip.text(
                input_ids=ids,
                attention_mask=plain,
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(2, 65, dtype=torch.long),
            ).last_hidden_state
            reward = blip.head(states[:, 0])[:, 0]
        else:
            reward = blip(seen, ids, mask)
        reward.sum().backward()
        results.append((reward.detach(), blip.text.embeddings.word_embeddings.weight.grad.clone()))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


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
