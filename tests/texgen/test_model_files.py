"""Which files a diffusion model needs, told from names and indices alone."""

import json

import pytest
from reference import tiny_models

from texgen.storage.model_files import BACKBONE, CONTROLNET, INPAINTING, SCORER, files_of, missing_in

SD15 = [  # of the published repository
    ".gitattributes",
    "README.md",
    "model_index.json",
    "v1-5-pruned-emaonly.safetensors",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]


def test_of_a_published_backbone_each_part_is_taken_once():
    files, missing = files_of(SD15, BACKBONE)
    assert missing == []
    assert sorted(files) == [
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert files_of(SD15, INPAINTING)[0] == ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize("gone", files_of(SD15, BACKBONE)[0])
def test_every_file_that_is_missing_is_named(gone):
    others = [name for name in SD15 if name != gone and not name.endswith(".bin")]
    missing = files_of(others, BACKBONE)[1]
    assert missing == ([] if gone == "tokenizer/special_tokens_map.json" else [gone])


def test_an_index_alone_is_no_model():
    assert len(files_of(["model_index.json"], BACKBONE)[1]) == 10
    assert files_of(["config.json"], CONTROLNET)[1] == ["diffusion_pytorch_model.safetensors"]
    pickled = ["config.json", "diffusion_pytorch_model.bin"]
    assert files_of(pickled, CONTROLNET) == (pickled, [])


def test_weights_in_several_files_are_complete_or_named(tmp_path):
    stem = "diffusion_pytorch_model"
    pieces = [f"{stem}-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
    index = f"{stem}.safetensors.index.json"
    text = json.dumps({"weight_map": {f"layer{i}": piece for i, piece in enumerate(pieces)}})
    remote = ["config.json", index, *pieces]
    assert files_of(remote, CONTROLNET) == (remote, [])
    assert files_of(remote[:-1], CONTROLNET)[1] == [f"the files that {index} names"]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / index).write_text(text)
    assert missing_in(tmp_path, CONTROLNET) == pieces
    for piece in pieces[:2]:
        (tmp_path / piece).write_bytes(b"")
    assert missing_in(tmp_path, CONTROLNET) == pieces[2:]
    (tmp_path / pieces[2]).write_bytes(b"")
    assert missing_in(tmp_path, CONTROLNET) == []
    (tmp_path / index).write_text("cut o")
    assert missing_in(tmp_path, CONTROLNET) == [f"the files that {index} names"]


def test_a_scorer_that_is_not_listed_needs_its_weights_too():
    assert files_of(["config.json", "tokenizer.json"], SCORER)[1] == ["model.safetensors"]
    assert files_of(["config.json", "vocab.txt", "pytorch_model.bin"], SCORER)[1] == []


def test_what_the_loader_opens_is_complete(tmp_path):
    tiny_models.write_sd15(tmp_path)
    assert missing_in(tmp_path / "sd15", BACKBONE) == []
    (tmp_path / "sd15" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert missing_in(tmp_path / "sd15", BACKBONE) == ["vae/diffusion_pytorch_model.safetensors"]
