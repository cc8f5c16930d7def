"""The backbone on tiny random weights in the genuine folder layouts."""

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from reference import tiny_models

from texgen.diffusion import lora
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.backbone_files import pinned, resolve_source
from texgen.diffusion.guidance import Control
from texgen.diffusion.lora import LAYERS, lora_layers
from texgen.errors import DamagedFileError

ROLE = tiny_models.ROLE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    tiny_models.write_miniature(root)
    return root


@pytest.fixture(scope="module")
def sd15(root):
    return tiny_models.load_sd15(root, torch.float64)


@pytest.fixture(scope="module")
def miniature(root):
    return tiny_models.load_miniature(root, torch.float64)


def inputs(backbone, size, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = size // backbone.latent_scale
    latents = torch.randn(batch, 4, small, small, generator=generator, dtype=torch.float64)
    control = torch.rand(batch, 6, size, size, generator=generator, dtype=torch.float64)
    return latents, control, backbone.encode_prompts(["", "a red cat"])


def test_published_layout_loads_frozen(sd15):
    assert (sd15.latent_scale, sd15.latent_channels, sd15.dtype) == (8, 4, torch.float64)
    assert sd15.scheduler_config["steps_offset"] == 1
    for module in (sd15.unet, sd15.vae, sd15.text_encoder, sd15.controlnets[ROLE]):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_miniature_layout_finds_its_own_controlnet(root):
    backbone = Backbone.load(root / "miniature")
    assert list(backbone.controlnets) == [ROLE]
    assert backbone.latent_scale == 4
    assert backbone.controlnets[ROLE].config.conditioning_channels == 6


def test_prompts_equal_the_plain_encoding_and_keep_their_order(sd15):
    prompts = ["a cat", "a much longer prompt about a cat", "a cat"]
    tokens = sd15.tokenizer(prompts, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        plain = sd15.text_encoder(tokens.input_ids)[0]
    torch.testing.assert_close(sd15.encode_prompts(prompts), plain)
    torch.testing.assert_close(sd15.encode_prompts(prompts[1:2]), plain[1:2])  # from the cache


def test_long_prompt_is_cut_with_a_warning(sd15):
    with pytest.warns(UserWarning, match="only the first 77 count"):
        assert sd15.encode_prompts(["x " * 100]).shape == (1, 77, 16)


def test_latents_equal_the_plain_encoding(sd15, miniature):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = sd15.vae.encode(images * 2 - 1).latent_dist.mean * 0.18215
    torch.testing.assert_close(sd15.encode_images(images), plain)
    torch.testing.assert_close(sd15.decode_latents(plain), (sd15.vae.decode(plain / 0.18215).sample + 1) / 2)

    plain = (miniature.vae.encode(images * 2 - 1).latents - 0.1) * 0.7
    torch.testing.assert_close(miniature.encode_images(images), plain)
    decoded = (miniature.vae.decode(plain / 0.7 + 0.1).sample + 1) / 2
    torch.testing.assert_close(miniature.decode_latents(plain), decoded)
    assert miniature.decode_latents(plain).shape == images.shape


def test_posterior_sample_follows_the_generator(sd15):
    images = torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64)
    a, b, c = (sd15.encode_images(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert not torch.equal(a, sd15.encode_images(images))


def plain_prediction(backbone, latents, t, text, control):
    down, middle = backbone.controlnets[ROLE](
        latents, t, encoder_hidden_states=text, controlnet_cond=control, return_dict=False
    )
    return backbone.unet(
        latents,
        t,
        encoder_hidden_states=text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample


def test_guidance_formula_values_gradients_and_counts(sd15):
    latents, control, text = inputs(sd15, 64)
    latents.requires_grad_()
    unconditional = plain_prediction(sd15, latents, 501, text[:1], control)
    conditional = plain_prediction(sd15, latents, 501, text[1:], control)
    expected = unconditional + 7.5 * (conditional - unconditional)
    expected_gradient = torch.autograd.grad(expected.square().sum(), latents)[0]

    sd15.calls.reset()
    guided = sd15.predict(latents, 501, text, [Control(ROLE, control)], 7.5)
    assert sd15.calls.as_dict() == {"unet": 1, "controlnet": 1}
    torch.testing.assert_close(guided, expected)
    torch.testing.assert_close(torch.autograd.grad(guided.square().sum(), latents)[0], expected_gradient)
    torch.testing.assert_close(sd15.predict(latents, 501, text, [Control(ROLE, control)], 1.0), conditional)
    assert sd15.calls.unet == 2
    without = sd15.predict(latents, 501, text, [], 7.5)
    assert sd15.calls.as_dict() == {"unet": 3, "controlnet": 2}
    assert (without - guided).abs().max() > 1e-3  # the control image matters


def test_a_batch_is_its_parts(miniature):
    latents, control, text = inputs(miniature, 32, batch=2)
    both = miniature.predict(latents, 300, text, [Control(ROLE, control)], 3.0)
    for i in range(2):
        one = miniature.predict(latents[i : i + 1], 300, text, [Control(ROLE, control[i : i + 1])], 3.0)
        torch.testing.assert_close(both[i : i + 1], one)
    with pytest.raises(ValueError, match="text has 3 rows"):
        miniature.predict(latents, 300, text[[0, 1, 1]], [Control(ROLE, control)], 3.0)


def randomise(backbone, seed=5):
    """Give the adapter a non-zero second factor."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def test_untouched_adapter_changes_nothing_and_is_seeded(root):
    first, second = (tiny_models.load_sd15(root, torch.float64) for _ in range(2))
    latents, control, text = inputs(first, 64)
    base = first.predict(latents, 100, text, [Control(ROLE, control)], 3.0)
    state = torch.get_rng_state()
    first.add_lora(2, 4.0)
    torch.manual_seed(123)
    second.add_lora(2, 4.0)
    assert torch.equal(first.predict(latents, 100, text, [Control(ROLE, control)], 3.0), base)
    pairs = zip(first.lora_parameters(), second.lora_parameters(), strict=True)
    assert all(torch.equal(a, b) and a.requires_grad for a, b in pairs)
    torch.set_rng_state(state)
    with pytest.raises(ValueError, match="already has a LoRA"):
        first.add_lora(2)


def test_adapter_can_be_disabled_and_scaled(root):
    backbone = tiny_models.load_sd15(root, torch.float64)
    latents, control, text = inputs(backbone, 64)

    def predict():
        return backbone.predict(latents, 100, text, [Control(ROLE, control)], 3.0)

    base = predict()
    with backbone.lora_disabled():  # nothing to disable yet
        assert torch.equal(predict(), base)
    backbone.add_lora(2)
    randomise(backbone)
    tuned = predict()
    assert (tuned - base).abs().max() > 1e-3
    frozen = backbone.lora_parameters()[0].requires_grad_(False)
    with backbone.lora_disabled():
        torch.testing.assert_close(predict(), base)
    assert torch.equal(predict(), tuned)
    assert not frozen.requires_grad and backbone.lora_parameters()[1].requires_grad
    backbone.set_lora_scale(0.0)
    torch.testing.assert_close(predict(), base)
    backbone.set_lora_scale(1.0)
    torch.testing.assert_close(predict(), tuned)


@pytest.mark.parametrize("layers", list(LAYERS))
def test_saved_adapter_loads_in_plain_diffusers(root, tmp_path, layers):
    ours = tiny_models.load_sd15(root)
    ours.add_lora(3, 6.0, LAYERS[layers])
    assert any("conv" in name for name, _ in lora_layers(ours.unet)) == ("convolutions" in layers)
    randomise(ours)
    path = ours.save_lora(tmp_path / "adapter")
    assert path.name == "pytorch_lora_weights.safetensors"
    generator = torch.Generator().manual_seed(0)
    call = (torch.randn(1, 4, 8, 8, generator=generator), 10, torch.randn(1, 77, 16, generator=generator))
    expected = ours.unet(*call).sample

    pipeline = StableDiffusionPipeline.from_pretrained(root / "sd15", safety_checker=None)
    pipeline.load_lora_weights(tmp_path / "adapter")
    torch.testing.assert_close(pipeline.unet(*call).sample, expected)
    unet = UNet2DConditionModel.from_pretrained(root / "sd15" / "unet")
    unet.load_lora_adapter(tmp_path / "adapter", weight_name=path.name, prefix="unet")
    torch.testing.assert_close(unet(*call).sample, expected)

    fresh, present = (tiny_models.load_sd15(root) for _ in range(2))
    fresh.load_lora(tmp_path / "adapter")
    present.add_lora(3, 6.0, LAYERS[layers])
    present.load_lora(path)
    for backbone in (fresh, present):
        torch.testing.assert_close(backbone.unet(*call).sample, expected)
    other = tiny_models.load_sd15(root)
    other.add_lora(2, targets=LAYERS[layers])
    with pytest.raises(ValueError, match="another rank"):
        other.load_lora(tmp_path / "adapter")
    with pytest.raises(FileNotFoundError, match="no LoRA file"):
        fresh.load_lora(tmp_path / "nothing")


@pytest.mark.parametrize("layers", list(LAYERS))
def test_a_merged_adapter_predicts_the_same(root, layers):
    backbone = tiny_models.load_sd15(root, torch.float64)
    latents, control, text = inputs(backbone, 64)
    backbone.add_lora(2, 4.0, LAYERS[layers])
    randomise(backbone)
    backbone.set_lora_scale(0.7)

    def predict():
        return backbone.predict(latents, 100, text, [Control(ROLE, control)], 3.0)

    beside = predict()
    weights = [layer.get_base_layer().weight for _, layer in lora_layers(backbone.unet)]
    before = [(weight.data_ptr(), weight.clone()) for weight in weights]
    lora.merge(backbone.unet)
    lora.merge(backbone.unet)  # no twice
    assert all(layer.merged for _, layer in lora_layers(backbone.unet))
    torch.testing.assert_close(predict(), beside)
    with backbone.lora_disabled():
        untuned = predict()
    torch.testing.assert_close(predict(), beside)
    backbone.set_lora_scale(0.0)
    torch.testing.assert_close(predict(), untuned)
    backbone.set_lora_scale(0.7)
    lora.unmerge(backbone.unet)
    for weight, (place, value) in zip(weights, before, strict=True):
        assert weight.data_ptr() == place and torch.equal(weight, value), "to the bit, where it lay"
    assert torch.equal(predict(), beside)
    with backbone.lora_merged():
        assert all(layer.merged for _, layer in lora_layers(backbone.unet))
    assert torch.equal(predict(), beside)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_16_bits_a_merged_adapter_errs_no_more_than_one_beside(root, dtype):
    exact = tiny_models.load_miniature(root, torch.float32)
    rounded = tiny_models.load_miniature(root, dtype)
    latents, control, text = (x.float() for x in inputs(exact, 32))
    generator = torch.Generator().manual_seed(1)
    for backbone in (exact, rounded):
        backbone.add_lora(2)
    for one, other in zip(exact.lora_parameters(), rounded.lora_parameters(), strict=True):
        value = 0.02 * torch.randn(one.shape, generator=generator)  # changes of some percent of the weights
        for parameter in (one, other):
            parameter.data.copy_(value)

    def error():
        found = rounded.predict(latents, 10, text, [Control(ROLE, control)], 3.0)
        return (found - wanted).square().mean().sqrt()

    with torch.no_grad():
        wanted = exact.predict(latents, 10, text, [Control(ROLE, control)], 3.0)
        beside = error()
        before = [layer.get_base_layer().weight.clone() for _, layer in lora_layers(rounded.unet)]
        lora.merge(rounded.unet)
        merged = error()
        lora.unmerge(rounded.unet)
    after = [layer.get_base_layer().weight for _, layer in lora_layers(rounded.unet)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert merged < 1.25 * beside


def test_adapter_of_a_16_bit_backbone_is_32_bit(root):
    backbone = tiny_models.load_miniature(root, torch.bfloat16)
    backbone.add_lora(2)
    assert {parameter.dtype for parameter in backbone.lora_parameters()} == {torch.float32}
    latents, control, text = inputs(backbone, 32)
    latents = latents.float()
    out = backbone.predict(latents, 10, text, [Control(ROLE, control)], 3.0)
    assert out.dtype == torch.float32 and bool(out.isfinite().all())
    assert backbone.decode_latents(latents).dtype == torch.float32


def test_errors_name_what_is_wrong(sd15, root, tmp_path):
    latents, control, text = inputs(sd15, 64)
    with pytest.raises(ValueError, match="no ControlNet for the role 'tile'"):
        sd15.predict(latents, 1, text, [Control("tile", control)], 3.0)
    with pytest.raises(ValueError, match="no ControlNet for the role 'tile'"):
        sd15.control_channels("tile")
    assert sd15.control_channels(ROLE) == 6
    with pytest.raises(ValueError, match="takes 6 channels"):
        sd15.predict(latents, 1, text, [Control(ROLE, control[:, :3])], 3.0)
    with pytest.raises(ValueError, match="multiples of 8"):
        sd15.encode_images(torch.zeros(1, 3, 60, 64))
    with pytest.raises(ValueError, match="no LoRA adapter"):
        sd15.lora_parameters()
    with pytest.raises(FileNotFoundError, match="no model folder"):
        Backbone.load(tmp_path / "missing")
    (tmp_path / "half" / "unet").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no vae/"):
        Backbone.load(tmp_path / "half")


def test_moved_hub_ids_are_replaced(tmp_path):
    moved = resolve_source("runwayml/stable-diffusion-v1-5")
    assert moved == ("stable-diffusion-v1-5/stable-diffusion-v1-5", False)
    assert resolve_source("owner/name") == ("owner/name", False)
    assert resolve_source(tmp_path) == (str(tmp_path), True)


def test_a_revision_of_the_hub_is_asked_for_by_its_id(root, tmp_path, monkeypatch):
    assert pinned("owner/name@v1.0") == ("owner/name", "v1.0") and pinned("owner/name") == (
        "owner/name",
        None,
    )
    for folder in (tmp_path / "a@b", "./a@b/c", "/a/b@c"):
        assert pinned(folder) == (folder, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name@v1.0").mkdir(parents=True)
    assert pinned("owner/name@v1.0") == ("owner/name@v1.0", None)  # a folder that is there
    asked = []

    def from_hub(where, **options):
        asked.append((where, options.get("revision")))
        raise OSError("no network here")

    monkeypatch.setattr(ControlNetModel, "from_pretrained", from_hub)
    with pytest.raises(DamagedFileError):
        Backbone.load(root / "sd15", {ROLE: "owner/control@def"})
    monkeypatch.setattr(AutoencoderKL, "load_config", from_hub)
    with pytest.raises(DamagedFileError):
        Backbone.load("owner/other@abc")
    assert asked == [("owner/control", "def"), ("owner/other", "abc")]
