"""A further adapter under the tuned one: its weights are those of a plain sum, whatever its names."""

import pytest
import torch
from reference import tiny_models
from safetensors.torch import load_file, save_file

from texgen.diffusion import lora
from texgen.diffusion.lora_bake import bake
from texgen.errors import DamagedFileError

RANK, ALPHA, SCALE = 2, 3.0, 0.7


def drawn(backbone, seed, targets=lora.ATTENTION_TARGETS):
    backbone.add_lora(RANK, ALPHA, targets)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.normal_(std=0.3, generator=generator)
    return backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two adapters of one backbone, the first one of convolutions, too."""
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    targets = lora.LAYERS["attention+convolutions"]
    drawn(tiny_models.load_sd15(root), 0, targets).save_lora(root / "style")
    drawn(tiny_models.load_sd15(root), 1).save_lora(root / "tuned")
    return root


def fresh(folder):
    return tiny_models.load_sd15(folder)


def predicted(backbone):
    generator = torch.Generator().manual_seed(5)
    latents, text = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 16, generator=generator)
    with torch.no_grad():
        return backbone.unet(latents, torch.tensor(7), text).sample


def test_baked_weights_are_a_plain_sum(folder):
    backbone, before = fresh(folder), fresh(folder).unet.state_dict()
    bake(backbone.unet, folder / "style" / lora.FILE_NAME, SCALE)
    after = backbone.unet.state_dict()
    assert set(after) == set(before) and not lora.lora_layers(backbone.unet)
    stored = load_file(folder / "style" / lora.FILE_NAME)
    changed = set()
    for key in (key for key in stored if ".lora_A." in key):
        first, second = stored[key], stored[key.replace(".lora_A.", ".lora_B.")]
        name = key.removeprefix("unet.").replace(".lora_A.weight", ".weight")
        if first.dim() == 4:  # the second factor of a convolution is one of 1 x 1
            delta = torch.einsum("or,rixy->oixy", second[:, :, 0, 0], first)
        else:
            delta = second @ first
        torch.testing.assert_close(after[name], before[name] + SCALE * ALPHA / RANK * delta)
        changed.add(name)
    assert len(changed) > 10
    assert all(torch.equal(after[name], before[name]) for name in set(before) - changed)


def test_the_tuned_adapter_stands_on_it_alone(folder):
    backbone, plain = fresh(folder), fresh(folder)
    bake(backbone.unet, folder / "style" / lora.FILE_NAME, SCALE)
    baked = predicted(backbone)
    backbone.load_lora(folder / "tuned")
    both = predicted(backbone)
    lora.merge(backbone.unet)
    torch.testing.assert_close(predicted(backbone), both, rtol=1e-4, atol=1e-5)
    backbone.set_lora_scale(0.0)
    torch.testing.assert_close(predicted(backbone), baked)
    # Beside the same two in peft, which carries any number of adapters.
    for name in ("style", "tuned"):
        plain.unet.load_lora_adapter(
            str(folder / name), weight_name=lora.FILE_NAME, prefix="unet", adapter_name=name
        )
    plain.unet.set_adapters(["style", "tuned"], [SCALE, 1.0])
    torch.testing.assert_close(predicted(plain), both, rtol=1e-4, atol=1e-5)
    assert (both - baked).abs().max() > 1e-3


def kohya(folder):
    """The style's attention layers with the names and the alpha of kohya's files."""
    stored = load_file(folder / "style" / lora.FILE_NAME)
    found = {}
    for key, value in stored.items():
        name = key.removeprefix("unet.")
        layer, _, factor = name.removesuffix(".weight").rpartition(".")
        place = "lora_unet_" + layer.replace(".", "_")
        found[f"{place}.{'lora_down' if factor == 'lora_A' else 'lora_up'}.weight"] = value
        found[f"{place}.alpha"] = torch.tensor(ALPHA)
    return {key: value.contiguous() for key, value in found.items() if "_attn" in key}


def test_files_of_kohya_mean_the_same(folder, tmp_path):
    stored = load_file(folder / "style" / lora.FILE_NAME)
    save_file(kohya(folder), tmp_path / "kohya.safetensors")
    ours = {key: value for key, value in stored.items() if ".attn" in key}
    config = fresh(folder)
    drawn(config, 0).save_lora(tmp_path)  # the metadata of an adapter of attention alone
    from safetensors import safe_open

    with safe_open(tmp_path / lora.FILE_NAME, "pt") as file:
        metadata = file.metadata()
    save_file(ours, tmp_path / lora.FILE_NAME, metadata=metadata)
    results = []
    for path in (tmp_path / lora.FILE_NAME, tmp_path / "kohya.safetensors"):
        backbone = fresh(folder)
        bake(backbone.unet, path, SCALE)
        results.append(predicted(backbone))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(results[0], predicted(fresh(folder)))


def test_what_does_not_fit_is_refused_and_leaves_the_unet_as_it_was(folder, tmp_path):
    backbone = fresh(folder)
    plain = predicted(backbone)
    stored = load_file(folder / "style" / lora.FILE_NAME)
    path = tmp_path / "odd.safetensors"
    strange = {
        key.replace("unet.", "unet.elsewhere.", 1): value.clone() for key, value in list(stored.items())[:2]
    }
    for tensors, said in (
        (stored | strange, "layers that this UNet lacks, first 'elsewhere"),
        (stored | {"text_encoder.x.lora_A.weight": torch.ones(2, 2)}, "changes the text encoder, too"),
    ):
        save_file(tensors, path)
        with pytest.raises(DamagedFileError, match=said):
            bake(backbone.unet, path)
        assert not lora.lora_layers(backbone.unet) and torch.equal(predicted(backbone), plain)
    path.write_bytes(b"nothing")
    with pytest.raises(DamagedFileError, match="is not a complete adapter"):
        bake(backbone.unet, path)
    with pytest.raises(FileNotFoundError, match="There is no adapter"):
        bake(backbone.unet, tmp_path / "none.safetensors")
    backbone.load_lora(folder / "tuned")
    with pytest.raises(ValueError, match="has an adapter already"):
        bake(backbone.unet, folder / "style" / lora.FILE_NAME)
