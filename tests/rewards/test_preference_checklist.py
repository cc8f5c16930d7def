"""What makes a score of images fit to train with, asserted for each of them: one test per requirement."""

import pytest
import torch
from reference.tiny_scorers import SIDE, write_blip_extras, write_image_reward, write_pick_high

from rewards.base import ImageScore
from rewards.preference.aesthetic import Aesthetic
from rewards.preference.clip_score import CLIPScore
from rewards.preference.cycle_reward import CycleReward
from rewards.preference.hps import HPSv2
from rewards.preference.image_reward import ImageReward
from rewards.preference.pick_high import HP, ICT
from rewards.preference.pick_score import PickScore
from rewards.preference.preprocess import preprocess

NAMES = ("aesthetic", "clipscore", "imagereward", "hpsv2", "pickscore", "cyclereward", "ict", "hp")
WITHOUT_PROMPT = ("aesthetic", "hp")
ON_BLIP = ("imagereward", "cyclereward")
PROMPTS = ["a red cow", "a blue bunny", "a striped vase"]


@pytest.fixture(scope="module")
def load(clip_folder, head_folder, tmp_path_factory):
    """A tiny score by name; options are those of its class. fresh: one that no other test shares."""
    blip = write_image_reward(tmp_path_factory.mktemp("blip"))
    extras, pick_high = tmp_path_factory.mktemp("extras"), tmp_path_factory.mktemp("pick_high")
    write_blip_extras(extras)
    write_pick_high(pick_high, clip_folder)
    tokenizer = {"tokenizer": extras / "tokenizer"}
    loaders = {
        "aesthetic": lambda **options: Aesthetic.load(clip_folder, head_folder, **options),
        "clipscore": lambda **options: CLIPScore.load(clip_folder, **options),
        "imagereward": lambda **options: ImageReward.load(blip, **options),
        "hpsv2": lambda **options: HPSv2.load(clip_folder, **options),
        "pickscore": lambda **options: PickScore.load(clip_folder, **options),
        "cyclereward": lambda **options: CycleReward.load(extras, **tokenizer, **options),
        "ict": lambda **options: ICT.load(pick_high, clip_folder, **options),
        "hp": lambda **options: HP.load(pick_high, clip_folder, **options),
    }
    made = {}

    def load(name, fresh=False, **options):
        key = (name, *sorted(options.items()))
        if fresh or key not in made:
            made[key] = loaders[name](**options)
        return made[key]

    return load


def images(count=3, size=SIDE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def modules(score):
    return [score.vision, score.text] if score.name in ON_BLIP else [score.clip.model]


def gradient(score, pixels):
    pixels = pixels.clone().requires_grad_()
    score(pixels, PROMPTS).sum().backward()
    return pixels.grad


@pytest.mark.parametrize("name", NAMES)
def test_1_the_gradient_reaches_every_image_and_agrees_with_differences(load, name):
    score = load(name)
    assert isinstance(score, ImageScore)
    pixels = images(size=40)
    grad = gradient(score, pixels)
    assert grad.isfinite().all()
    assert (grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    direction = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))
    step = 1e-2
    inside = 0.1 + 0.8 * pixels  # nothing at the ends of [0, 1], where clamping has a kink
    high, low = (score(inside + sign * step * direction.sign(), PROMPTS).sum() for sign in (1, -1))
    expected = float((gradient(score, inside) * direction.sign()).sum())
    assert float(high - low) / (2 * step) == pytest.approx(expected, rel=0.1, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_1_eight_bit_rounding_passes_the_gradient(load, name):
    score = load(name, eight_bit=True)
    grad = gradient(score, images(size=40))
    assert grad.isfinite().all() and grad.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_2_weights_are_frozen_and_nothing_is_random(load, name):
    score = load(name)
    for module in modules(score):
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
    pixels = images()
    assert torch.equal(score(pixels, PROMPTS), score(pixels, PROMPTS))


@pytest.mark.parametrize("name", NAMES)
def test_3_the_score_is_float32_under_autocast_and_for_half_images(load, name):
    score = load(name)
    pixels = images()
    expected = score(pixels, PROMPTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = score(pixels, PROMPTS)
    assert expected.dtype == under.dtype == torch.float32
    assert score(pixels.bfloat16(), PROMPTS).dtype == torch.float32
    assert all(
        parameter.dtype == torch.float32 for module in modules(score) for parameter in module.parameters()
    )
    torch.testing.assert_close(under, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["clipscore", "hpsv2", "pickscore", "ict"])
def test_4_a_prompt_is_encoded_once_and_is_a_constant(load, name):
    score = load(name, fresh=True)
    calls = []
    score.clip.model.text_model.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        score(images(), PROMPTS)
    assert len(calls) == 1
    assert not score.clip.text_features(PROMPTS).requires_grad


@pytest.mark.parametrize("name", ON_BLIP)
def test_4_scores_on_blip_read_a_prompt_once(load, name, monkeypatch):
    # Looking for words that the vocabulary lacks takes a tokenizer apart; it is tested with
    # texgen.diffusion.prompts.
    monkeypatch.setattr("rewards.preference.blip_model.warn_of_prompt", lambda *given: None)
    score = load(name, fresh=True)
    read = []
    tokenizer = score.tokenizer
    score.tokenizer = lambda prompt, **options: read.append(prompt) or tokenizer(prompt, **options)
    score(images(), ["a cow", "a cow", "a vase"])
    score(images(), ["a vase", "a cow", "a cow"])
    assert read == ["a cow", "a vase"]


@pytest.mark.parametrize("name", ON_BLIP)
def test_4_padding_that_no_prompt_fills_is_not_read_and_changes_nothing(load, name):
    score = load(name, fresh=True)
    lengths = []
    score.text.register_forward_pre_hook(
        lambda module, args, given: lengths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    prompts = ["a cow", "cow", "a"]
    ids, mask = score.tokens(prompts)
    longest = int(mask.sum(dim=1).max())
    states = score.features(images(), prompts)
    assert lengths == [longest] and longest < ids.shape[1]
    seen = score.see(preprocess(images(), score.preprocessing))
    padded = score.text(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
    assert padded.shape[1] == ids.shape[1]
    torch.testing.assert_close(states, padded[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_5_each_image_is_judged_with_its_own_prompt_only(load, name):
    score = load(name)
    pixels = images()
    together = score(pixels, PROMPTS)
    assert together.shape == (3,)
    alone = torch.cat([score(pixels[i : i + 1], PROMPTS[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)
    turned = score(pixels[[2, 0, 1]], [PROMPTS[i] for i in (2, 0, 1)])
    torch.testing.assert_close(turned, together[[2, 0, 1]], atol=2e-5, rtol=1e-5)
    leak = pixels.clone().requires_grad_()
    score(leak, PROMPTS)[0].backward()
    assert leak.grad[0].abs().max() > 0 and not leak.grad[1:].any()
    if name not in WITHOUT_PROMPT:
        other = score(pixels, [PROMPTS[1], PROMPTS[0], PROMPTS[2]])
        assert (other[:2] != together[:2]).all()
        with pytest.raises(ValueError, match="one prompt per image"):
            score(pixels, PROMPTS[:2])


@pytest.mark.parametrize("name", NAMES)
def test_6_recomputed_layers_and_split_batches_change_nothing(load, name):
    whole, thrifty = load(name), load(name, max_batch=2, recompute=True)
    pixels = images(size=40)
    torch.testing.assert_close(thrifty(pixels, PROMPTS), whole(pixels, PROMPTS), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(gradient(thrifty, pixels), gradient(whole, pixels), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["imagereward", "hpsv2"])
def test_6_recomputed_layers_keep_less_for_the_way_back(load, name):
    kept = {}
    for recompute in (False, True):
        score = load(name, recompute=recompute)
        sizes = []
        pixels = images().requires_grad_()
        count = lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            score(pixels, PROMPTS)
        kept[recompute] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


@pytest.mark.parametrize("name", NAMES)
def test_7_views_stay_apart_until_they_are_averaged(load, name):
    score = load(name)
    views = images(4).reshape(2, 2, 3, SIDE, SIDE)
    flat = score(views.reshape(4, 3, SIDE, SIDE), ["a cow"] * 4).reshape(2, 2)
    apart = torch.stack([score(view, ["a cow"] * 2) for view in views])
    torch.testing.assert_close(flat, apart, atol=2e-5, rtol=1e-5)
    assert len(set(flat.flatten().tolist())) == 4


def pair_by_pair(score, pixels, prompts):
    """`[B, P]` by one call for every image and prompt."""
    rows = [[score(pixels[i : i + 1], [prompt])[0] for prompt in prompts] for i in range(len(pixels))]
    return torch.stack([torch.stack(row) for row in rows])


@pytest.mark.parametrize("options", [{}, {"max_batch": 2, "recompute": True}], ids=["whole", "thrifty"])
@pytest.mark.parametrize("name", NAMES)
def test_8_a_matrix_holds_what_every_pair_scores_alone_gradients_included(load, name, options):
    prompts = [PROMPTS[1], PROMPTS[0]]
    factors = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))  # each pair counts differently
    found = []
    for judge in (load(name, **options).score_matrix, lambda *given: pair_by_pair(load(name), *given)):
        pixels = images(size=40).requires_grad_()
        scores = judge(pixels, prompts)
        (factors * scores).sum().backward()
        found.append((scores.detach(), pixels.grad))
    (scores, grad), (expected, expected_grad) = found
    assert scores.shape == (3, 2) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(grad, expected_grad, atol=1e-5, rtol=1e-3)
    if name not in WITHOUT_PROMPT:
        assert (expected[:, 0] != expected[:, 1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_8_a_matrix_encodes_each_image_and_each_prompt_once(load, name):
    score = load(name, fresh=True, max_batch=2)
    if name in ON_BLIP:
        towers = {"image": score.vision, "text": score.text}
    else:
        towers = {"image": score.clip.model.vision_model, "text": score.clip.model.text_model}
    rows = {tower: [] for tower in towers}
    for tower, module in towers.items():
        module.register_forward_hook(lambda *call, tower=tower: rows[tower].append(len(call[-1][0])))
    prompts = [*PROMPTS, "a cow"]
    with torch.no_grad():
        score.score_matrix(images(), prompts)
    assert rows["image"] == [2, 1]
    if name in ON_BLIP:  # its text tower looks at the image: once for every pair
        assert rows["text"] == [2] * 6
    else:
        assert rows["text"] == ([] if name in WITHOUT_PROMPT else [4])


@pytest.mark.parametrize("name", NAMES)
def test_8_a_matrix_is_float32_under_autocast_and_takes_no_single_text(load, name):
    score = load(name)
    expected = score.score_matrix(images(), PROMPTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = score.score_matrix(images(), PROMPTS)
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, expected, atol=1e-5, rtol=1e-5)
    for wrong in ("a cow", []):
        with pytest.raises(ValueError, match="at least one prompt"):
            score.score_matrix(images(), wrong)


def test_8_the_prefix_of_a_clipscore_stands_in_its_matrix_too(load):
    plain, prefixed = load("clipscore"), load("clipscore", prefix="a photo of ")
    expected = plain.score_matrix(images(), [f"a photo of {prompt}" for prompt in PROMPTS])
    assert torch.equal(prefixed.score_matrix(images(), PROMPTS), expected)


@pytest.mark.parametrize("name", NAMES)
def test_precision_is_of_the_towers_alone(load, name):
    pixels = images(size=40)
    exact = load(name)(pixels, PROMPTS)
    assert torch.equal(load(name, fresh=True, precision="tf32")(pixels, PROMPTS), exact), "no TF32 on a CPU"
    score = load(name, fresh=True, precision="float16")
    assert {module.dtype for module in modules(score)} == {torch.float16}
    found = score(pixels, PROMPTS)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    scale = 100.0 if name == "pickscore" else 1.0
    torch.testing.assert_close(found / scale, exact / scale, rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="float32, tf32 or float16"):
        load(name, fresh=True, precision="half")
