"""CLIP preprocessing against PIL, and the frozen scores built on a tiny random CLIPModel saved to disk."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from rewards.base import ImageScore
from rewards.checkpoints.linear_head import LAION_LAYERS, fold_head
from rewards.preference import preprocess as preprocessing_module
from rewards.preference.aesthetic import Aesthetic
from rewards.preference.clip_model import FrozenClip
from rewards.preference.clip_score import CLIPScore
from rewards.preference.preprocess import Preprocessing, parse_preprocessing, preprocess

SIDE, MEAN, STD = 32, (0.4, 0.5, 0.6), (0.3, 0.2, 0.25)  # as in conftest.py


def random_images(count, height, width, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def striped_image(size):
    """Hard edges and fine stripes, the hardest content for resampling."""
    image = torch.ones(3, size, size)
    image[:, :, ::4] = 0
    image[0, size // 4 : size // 2] = 0.8
    return image


@pytest.mark.parametrize("size", [(96, 96), (80, 130), (131, 90)])
def test_preprocessing_is_that_of_pil_and_nearly_so_where_it_has_a_gradient(size):
    settings = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    image = striped_image(max(size))[:, : size[0], : size[1]]
    image = (0.7 * image + 0.3 * random_images(1, *size)[0]).mul(255).round() / 255
    pil = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    scale = SIDE / min(size)
    pil = pil.resize((max(SIDE, int(size[1] * scale)), max(SIDE, int(size[0] * scale))), Image.BICUBIC)
    left, top = (pil.width - SIDE) // 2, (pil.height - SIDE) // 2
    plain = torch.from_numpy(np.array(pil.crop((left, top, left + SIDE, top + SIDE)))).permute(2, 0, 1) / 255
    assert torch.equal(preprocess(image[None], settings, eight_bit=True)[0], plain)
    smooth = preprocess(image[None], settings)[0]
    assert (smooth - plain).abs().mean() < 0.35 / 255  # rounding alone is a quarter
    assert (smooth - plain).abs().max() < 2.01 / 255


def test_eight_bit_values_do_not_depend_on_whether_a_gradient_is_wanted():
    settings = Preprocessing(SIDE, MEAN, STD)
    image = striped_image(80)[None].mul(255).round() / 255
    weights = random_images(1, SIDE, SIDE, seed=3)
    gradients = []
    for eight_bit in (True, False):
        pixels = image.clone().requires_grad_()
        result = preprocess(pixels, settings, eight_bit)
        (result * weights).sum().backward()
        gradients.append(pixels.grad)
        if eight_bit:
            torch.testing.assert_close(
                result.detach(), preprocess(image, settings, eight_bit), atol=2e-6, rtol=0
            )
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


def test_resizing_is_clamped_and_leaves_the_right_size_alone():
    plain = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    image = striped_image(48)[None]
    small = preprocess(image, plain)
    assert small.shape == (1, 3, SIDE, SIDE)
    assert small.min() >= 0 and small.max() <= 1
    assert torch.equal(preprocess(small, plain), small)
    overshoot = preprocess(image, replace(plain, resample="tensor"))
    assert overshoot.max() > 1


@pytest.mark.parametrize("size", [(47, 90), (90, 47), (50, 50), (20, 31)])
def test_padding_keeps_the_whole_image_in_the_middle_on_black(size):
    settings = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fit="pad", resample="tensor")
    image = 0.5 + 0.5 * random_images(1, *size)
    height, width = (round(side * SIDE / max(size)) for side in size)
    plain = torch.zeros(1, 3, SIDE, SIDE)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    plain[..., top : top + height, left : left + width] = torch.nn.functional.interpolate(
        image, size=(height, width), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(preprocess(image, settings), plain, atol=2e-6, rtol=0)


def test_odd_margins_are_cropped_as_each_package_does():
    columns = torch.arange(35.0).div(255).expand(1, 3, SIDE, 35)  # margin 3: half of it is 1.5
    settings = Preprocessing(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert round(float(preprocess(columns, settings)[0, 0, 0, 0] * 255)) == 1
    assert round(float(preprocess(columns, replace(settings, fit="crop-even"))[0, 0, 0, 0] * 255)) == 2


def test_rounding_passes_the_gradient_straight_through():
    settings = Preprocessing(SIDE, MEAN, STD)
    image = random_images(1, SIDE, SIDE).requires_grad_()
    preprocess(image, settings, eight_bit=True).sum().backward()
    expected = (1 / torch.tensor(STD))[None, :, None, None].expand_as(image)
    torch.testing.assert_close(image.grad, expected)


@pytest.mark.parametrize("resample", ["pil", "tensor"])
def test_images_prepared_one_by_one_are_those_of_the_batch(resample):
    settings = Preprocessing(SIDE, MEAN, STD, resample=resample)
    images = random_images(3, 50, 70)
    together = preprocess(images.clone().requires_grad_(), settings)  # with a gradient all at once
    torch.testing.assert_close(preprocess(images, settings), together.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_resizing_on_several_threads_gives_the_same_bits(fit, monkeypatch):
    settings, images = Preprocessing(SIDE, MEAN, STD, fit=fit), random_images(5, 70, 90)
    one = preprocess(images, settings, eight_bit=True)
    seen = []
    resize = preprocessing_module._resize_by_pil

    def watched(pixels, target):
        seen.append(threading.get_ident())
        return resize(pixels, target)

    monkeypatch.setattr(preprocessing_module, "_resize_by_pil", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(preprocess(images, settings, eight_bit=True), one)
    assert len(seen) == 5 and threading.get_ident() not in seen
    with torch.no_grad():
        assert torch.equal(preprocess(images.requires_grad_(), settings, eight_bit=True), one)


def test_settings_that_are_missing_are_named():
    with pytest.raises(ValueError, match="image_mean"):
        parse_preprocessing({"image_std": STD, "size": 224})
    with pytest.raises(ValueError, match="size"):
        parse_preprocessing({"image_mean": MEAN, "image_std": STD})
    with pytest.raises(ValueError, match=r"\[B, 3, H, W\]"):
        preprocess(torch.zeros(3, 8, 8), Preprocessing())


def plain_embeddings(folder, images, prompts):
    """The towers called one by one, as transformers documents them, without any of our code."""
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    options = {"mode": "bicubic", "antialias": True}
    wide = torch.nn.functional.interpolate(images, size=(images.shape[-2], SIDE), **options).clamp(0, 1)
    pixels = torch.nn.functional.interpolate(wide, size=(SIDE, SIDE), **options).clamp(0, 1)
    vision = model.visual_projection(model.vision_model((pixels - mean) / std).pooler_output)
    tokens = tokenizer(prompts, padding=True, return_tensors="pt")
    text = model.text_projection(model.text_model(**tokens).pooler_output)
    return vision / vision.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)


def test_scores_and_gradients_equal_the_plain_computation(clip_folder, head_folder):
    images = random_images(3, 48, 48, seed=1)
    prompts = ["a red cow", "a blue bunny", "a red cow"]
    clip = FrozenClip.load(clip_folder)
    scores = [CLIPScore(clip), Aesthetic.load(clip_folder, head_folder)]
    for score in scores:
        ours, plain = images.clone().requires_grad_(), images.clone().requires_grad_()
        vision, text = plain_embeddings(clip_folder, plain, prompts)
        if score.name == "clipscore":
            expected = (vision * text).sum(-1)
        else:
            expected = vision @ score.weight + score.bias
        values = score(ours, prompts)
        assert values.shape == (3,) and values.dtype == torch.float32
        torch.testing.assert_close(values, expected, atol=2e-6, rtol=1e-5)
        values.sum().backward()
        expected.sum().backward()
        assert ours.grad.isfinite().all() and ours.grad.abs().max() > 0
        torch.testing.assert_close(ours.grad, plain.grad, atol=1e-7, rtol=1e-4)


def test_every_image_is_judged_with_its_own_prompt_only(clip_folder):
    score = CLIPScore.load(clip_folder)
    images = random_images(3, SIDE, SIDE, seed=2)
    prompts = ["a golden vase", "a striped cow", "wood"]
    together = score(images, prompts)
    alone = torch.cat([score(images[i : i + 1], [prompts[i]]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    with pytest.raises(ValueError, match="one prompt per image"):
        score(images, prompts[:2])


def test_models_are_frozen_and_deterministic(clip_folder, head_folder):
    score = Aesthetic.load(clip_folder, head_folder)
    assert not score.clip.model.training
    assert not any(parameter.requires_grad for parameter in score.clip.model.parameters())
    images = random_images(2, SIDE, SIDE)
    assert torch.equal(score(images), score(images, ["a", "b"]))
    assert isinstance(score, ImageScore) and score.typical_range == (3.0, 8.0)
    assert "@" in score.version


def test_text_is_encoded_once_per_prompt(clip_folder):
    clip = FrozenClip.load(clip_folder)
    calls = []
    clip.model.text_model.register_forward_hook(lambda *_: calls.append(1))
    first = clip.text_features(["a cow", "a cow", "a vase"])
    again = clip.text_features(["a vase", "a cow"])
    assert len(calls) == 1
    assert torch.equal(first[[2, 0]], again) and not first.requires_grad


def test_split_batches_give_the_same_scores_and_gradients(clip_folder):
    whole, split = FrozenClip.load(clip_folder), FrozenClip.load(clip_folder, max_batch=2)
    gradients = []
    for clip in (whole, split):
        images = random_images(5, SIDE, SIDE, seed=4).requires_grad_()
        clip.image_features(images).square().mul(torch.arange(12.0)).sum().backward()
        gradients.append(images.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-7, rtol=1e-4)


def test_the_laion_head_folds_to_one_affine_map():
    random = torch.Generator().manual_seed(0)
    widths = (12, 20, 10, 8, 6, 1)
    state = {}
    for name, inputs, outputs in zip(LAION_LAYERS, widths[:-1], widths[1:], strict=True):
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=random)
        state[f"{name}.bias"] = torch.randn(outputs, generator=random)
    weight, bias = fold_head(state)
    x = torch.randn(4, 12, generator=random).double()
    plain = x
    for name in LAION_LAYERS:
        plain = plain @ state[f"{name}.weight"].double().T + state[f"{name}.bias"].double()
    torch.testing.assert_close(x @ weight + bias, plain[:, 0])
    with pytest.raises(ValueError, match="layers.8.weight"):
        fold_head(state | {"layers.8.weight": torch.zeros(1)})


def test_bad_model_folders_are_reported(clip_folder, head_folder, tmp_path):
    clip = FrozenClip.load(clip_folder)
    with pytest.raises(ValueError, match="12"):
        Aesthetic(clip, torch.zeros(7), torch.zeros(1), "x")
    with pytest.raises(FileNotFoundError, match="no such file of weights"):
        Aesthetic.load(clip_folder, tmp_path / "head.safetensors")


def test_tf32_is_switched_for_the_networks_only(monkeypatch):
    from rewards.preference.precision import computing

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for precision, fast in (("float32", False), ("tf32", True), ("float16", False)):
        with computing(precision, torch.device("cuda")):
            assert torch.backends.cuda.matmul.allow_tf32 is fast and torch.backends.cudnn.allow_tf32 is fast
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
