"""The official half of the parity check; runs in the environment of the official packages.

    .official/bin/python tests/parity/official_side.py FOLDER SCORE SIZE      (PYTHONPATH: the project's root)

Builds the official model of one score with random weights, tiny or full size, saves it in the layout of its
published checkpoint, and writes what it makes of fixed images and prompts: `official.safetensors` (tokens,
pixels, scores and gradients of the network, scores of the official call on PNG files) and `official.json`.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import sys
import time
from pathlib import Path

from rewards.official import shims

TORCHVISION = shims.install()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from rewards.official import scoring_calls  # noqa: E402

PROMPTS = [
    "a red brick bunny",
    "An ORANGE cat, “quoted” &amp; escaped — ﬁne  café ☕ 木",
    "very long " * 60 + "prompt",
]
JUDGED = list(PROMPTS)  # prompts that the network sees; full-size models judge the first image only
TINY = "parity"
MED_CONFIG = {
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "add_type_embeddings": False,
    "vocab_size": 30524,
    "encoder_width": 1024,
    "add_cross_attention": True,
}


def write_images(folder: Path) -> list[str]:
    """Three PNG files: smooth, smooth and wide, hard edges with fine stripes."""
    rows, columns = np.meshgrid(np.linspace(0, 1, 512), np.linspace(0, 1, 512), indexing="ij")
    smooth = np.stack(
        [
            0.5 + 0.4 * np.sin(7 * rows + 3 * columns),
            0.5 + 0.4 * np.cos(9 * columns * rows + 1),
            0.3 + 0.5 * rows * columns,
        ],
        axis=-1,
    )
    stripes = np.ones((512, 512, 3))
    stripes[:, ::6] = 0.1
    stripes[100:260, 90:300] = (0.8, 0.2, 0.1)
    paths = []
    for name, image in {"smooth": smooth, "wide": smooth[:301], "edges": stripes}.items():
        path = folder / f"{name}.png"
        Image.fromarray((image * 255).round().astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths


def write_clip_tokenizer(folder: Path) -> Path:
    """CLIP's tokenizer in transformers' files, from the vocabulary that open_clip carries."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer, default_bpe

    folder.mkdir(exist_ok=True)
    merges = gzip.open(default_bpe()).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in SimpleTokenizer().encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    special |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    image = {
        "crop_size": {"height": 224, "width": 224},
        "size": {"shortest_edge": 224},
        "do_center_crop": True,
        "do_resize": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_convert_rgb": True,
        "resample": 3,
        "image_processor_type": "CLIPImageProcessor",
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": list(open_clip.OPENAI_DATASET_MEAN),
        "image_std": list(open_clip.OPENAI_DATASET_STD),
        "processor_class": "CLIPProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    return folder


def write_bert_tokenizer(folder: Path) -> Path:
    """A WordPiece tokenizer of BERT's class with single letters and a few words."""
    from transformers import BertTokenizer

    folder.mkdir(exist_ok=True)
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = ["red", "brick", "bunny", "an", "orange", "cat", "very", "long", "prompt", "cafe", "fi", "##ne"]
    words += ["“", "”", "—", "木"]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{each}" for each in letters),
        *words,
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def scramble(model: torch.nn.Module) -> None:
    """Make biases, norms and heads count: fresh models have zeros and ones there, and heads near zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and "logit_scale" not in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            elif name.startswith("mlp.") or name.startswith("layers."):
                scale = parameter.shape[1] ** -0.5
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    model.eval().requires_grad_(False)


def gradient(network, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the network and the gradient of their sum with respect to its pixels."""
    pixels = pixels[: len(JUDGED)].clone().requires_grad_()
    scores = network(pixels).reshape(-1)
    scores.sum().backward()
    return scores.detach(), pixels.grad


def unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)


def shrink(score: str) -> None:
    """Make an official package build a tiny image tower, or know a tiny CLIP by the name TINY."""
    if score in ("imagereward", "cyclereward"):
        package = {"imagereward": "ImageReward.models.BLIP", "cyclereward": "cyclereward.blip"}[score]
        pretrain, vit = (importlib.import_module(f"{package}.{name}") for name in ("blip_pretrain", "vit"))
        pretrain.create_vit = lambda *_: (
            vit.VisionTransformer(img_size=224, patch_size=32, embed_dim=64, depth=2, num_heads=4),
            64,
        )
        return
    image = {"image_size": 224, "layers": 2, "width": 80, "head_width": 20, "patch_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 2}
    towers = {"vision_cfg": image, "text_cfg": text}
    if score == "hpsv2":
        from hpsv2.src.open_clip import factory

        factory._MODEL_CONFIGS[TINY] = {"embed_dim": 32, **towers}
    elif score in ("clipscore", "aesthetic"):
        import open_clip

        # As wide as ViT-L/14's embedding, which the official head is fixed to.
        open_clip.factory._MODEL_CONFIGS[TINY] = {"embed_dim": 768, "quick_gelu": True, **towers}


def write_med_config(folder: Path, tiny: bool) -> Path:
    """BLIP's text tower as the packages configure it, or a small one for the tokenizer of the folder."""
    config = dict(MED_CONFIG)
    if tiny:
        vocabulary = len((folder / "tokenizer" / "vocab.txt").read_text().splitlines()) + 2
        config |= {"num_hidden_layers": 2, "vocab_size": vocabulary, "intermediate_size": 128}
    path = folder / "med_config.json"
    path.write_text(json.dumps(config))
    return path


def image_reward(folder: Path, tiny: bool) -> dict:
    """ImageReward: `score_gard` for the network, `score` for files."""
    shims.bert_from(str(write_bert_tokenizer(folder / "tokenizer")))
    from ImageReward.ImageReward import ImageReward

    if tiny:
        shrink("imagereward")
    model = ImageReward(med_config=str(write_med_config(folder, tiny)), device="cpu")
    scramble(model)
    torch.save(model.state_dict(), folder / "ImageReward.pt")
    images = [Image.open(each) for each in write_images(folder)]
    pixels = torch.stack([model.preprocess(image) for image in images])
    text = model.blip.tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    ids, mask = text.input_ids, text.attention_mask
    count = len(JUDGED)
    scores, grads = gradient(lambda each: model.score_gard(ids[:count], mask[:count], each), pixels)
    paths = write_images(folder)
    calls = [model.score(prompt, path) for prompt, path in zip(JUDGED, paths, strict=False)]
    return {
        "tokens": ids,
        "pixels": pixels,
        "scores": scores,
        "gradient": grads,
        "calls": torch.tensor(calls),
    }


def cyclereward(folder: Path, tiny: bool) -> dict:
    """CycleReward: the steps of its `score` with gradient for the network, `score` for files."""
    shims.bert_from(str(write_bert_tokenizer(folder / "tokenizer")))
    if tiny:
        shrink("cyclereward")
    model = scoring_calls.empty_cycle_reward(str(write_med_config(folder, tiny)), "cpu")
    scramble(model)
    torch.save(model.state_dict(), folder / "CycleReward-Combo.pth")
    paths = write_images(folder)
    pixels = torch.stack([model.preprocess(Image.open(path)) for path in paths])
    text = model.blip.tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=model.max_length, return_tensors="pt"
    )
    count = len(JUDGED)

    def network(each):
        seen = model.blip.visual_encoder(each)
        states = model.blip.text_encoder(
            text.input_ids[:count],
            attention_mask=text.attention_mask[:count],
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
            return_dict=True,
        ).last_hidden_state
        return model.mlp(states[:, 0].float())

    scores, grads = gradient(network, pixels)
    calls = [float(model.score(each[None], prompt)) for prompt, each in zip(JUDGED, pixels, strict=False)]
    calls = torch.tensor(calls)
    return {"tokens": text.input_ids, "pixels": pixels, "scores": scores, "gradient": grads, "calls": calls}


def hpsv2(folder: Path, tiny: bool) -> dict:
    """HPSv2: the model's features for the network, `img_score.score` for files."""
    from hpsv2 import img_score
    from hpsv2.src.open_clip import get_tokenizer

    write_clip_tokenizer(folder / "tokenizer")
    if tiny:
        shrink("hpsv2")
    model = scoring_calls.seed_hps(TINY if tiny else "ViT-H-14", "cpu")
    scramble(model)
    # The published file is in half precision too.
    half = {key: tensor.half() for key, tensor in model.state_dict().items()}
    checkpoint = folder / "HPS_v2.1_compressed.pt"
    torch.save({"state_dict": half}, checkpoint)
    del half
    paths = write_images(folder)
    calls = [
        img_score.score(path, prompt, cp=str(checkpoint))[0]
        for path, prompt in zip(paths, JUDGED, strict=False)
    ]
    transform = img_score.model_dict["preprocess_val"]
    pixels = torch.stack([transform(Image.open(path)) for path in paths])
    tokens = get_tokenizer("ViT-H-14")(PROMPTS)

    def network(each):
        outputs = model(each, tokens[: len(JUDGED)])
        return torch.diagonal(outputs["image_features"] @ outputs["text_features"].T)

    scores, grads = gradient(network, pixels)
    calls = torch.tensor([float(value) for value in calls])
    return {"tokens": tokens, "pixels": pixels, "scores": scores, "gradient": grads, "calls": calls}


def pickscore(folder: Path, tiny: bool) -> dict:
    """PickScore: the model card's recipe on a CLIPModel folder."""
    from transformers import AutoProcessor, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    tokenizer = write_clip_tokenizer(folder / "tokenizer")
    if tiny:
        text = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
        vision = dict(hidden_size=80, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4)
        vision["patch_size"], projection = 32, 32
    else:
        text = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16)
        vision = dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16)
        vision["patch_size"], projection = 14, 1024
    ends = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1, "vocab_size": 49408}
    config = CLIPConfig(
        text_config=CLIPTextConfig(**text, **ends, hidden_act="gelu").to_dict(),
        vision_config=CLIPVisionConfig(**vision, image_size=224, hidden_act="gelu").to_dict(),
        projection_dim=projection,
        logit_scale_init_value=4.6052,
    )
    model = CLIPModel(config)
    scramble(model)
    model.save_pretrained(folder)
    if not tiny:
        del model
    paths = write_images(folder)
    score = scoring_calls.pickscore({"weights": str(folder), "tokenizer": str(tokenizer)}, "cpu")
    calls = [score([path], prompt)[0] for path, prompt in zip(paths, JUDGED, strict=False)]
    model = score.__closure__[[*score.__code__.co_freevars].index("model")].cell_contents
    model.requires_grad_(False)
    processor = AutoProcessor.from_pretrained(tokenizer)
    pixels = processor(images=[Image.open(path) for path in paths], return_tensors="pt")["pixel_values"]
    text = processor(text=PROMPTS, padding="max_length", truncation=True, max_length=77, return_tensors="pt")

    judged = {key: value[: len(JUDGED)] for key, value in text.items()}

    def network(each):
        one, other = unit(model.get_image_features(each)), unit(model.get_text_features(**judged))
        return model.logit_scale.exp() * torch.diagonal(other @ one.T)

    scores, grads = gradient(network, pixels)
    return {
        "tokens": text["input_ids"],
        "pixels": pixels,
        "scores": scores,
        "gradient": grads,
        "calls": torch.tensor(calls),
    }


def open_clip_model(folder: Path, tiny: bool, name: str):
    """open_clip's CLIP with OpenAI's activation, its state dict saved, and its transform."""
    import open_clip

    if tiny:
        shrink("clipscore")
        name = TINY
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained=None)
    scramble(model)
    torch.save(model.state_dict(), folder / "open_clip.pt")
    shims.lend_clip(model, transform)
    write_clip_tokenizer(folder / "tokenizer")
    return model, transform


def clipscore(folder: Path, tiny: bool) -> dict:
    """CLIPScore: image-reward's class on open_clip's ViT-B/32."""
    from ImageReward.models.CLIPScore import CLIPScore

    model, transform = open_clip_model(folder, tiny, "ViT-B-32-quickgelu")
    official = CLIPScore(None, "cpu").eval()
    paths = write_images(folder)
    calls = [official.score(prompt, path) for prompt, path in zip(JUDGED, paths, strict=False)]
    pixels = torch.stack([transform(Image.open(path)) for path in paths])
    import clip

    tokens = clip.tokenize(PROMPTS, truncate=True)
    texts = unit(model.encode_text(tokens[: len(JUDGED)]))
    scores, grads = gradient(lambda each: (unit(model.encode_image(each)) * texts).sum(-1), pixels)
    calls = torch.tensor(calls)
    return {"tokens": tokens, "pixels": pixels, "scores": scores, "gradient": grads, "calls": calls}


def published_head() -> Path | None:
    """The LAION head in the folder of weights, where there is one."""
    path = Path(os.environ.get("TEXREWARD_WEIGHTS", "")) / "sac+logos+ava1-l14-linearMSE.pth"
    return path if path.is_file() else None


def aesthetic(folder: Path, tiny: bool) -> dict:
    """Aesthetic: image-reward's class on open_clip's ViT-L/14; its published head where that is at hand."""
    from ImageReward.models.AestheticScore import AestheticScore

    model, transform = open_clip_model(folder, tiny, "ViT-L-14-quickgelu")
    official = AestheticScore(None, "cpu")
    published = published_head()
    if published is not None:
        official.mlp.load_state_dict(torch.load(published, map_location="cpu", weights_only=True))
        official.mlp.requires_grad_(False)
    else:
        scramble(official.mlp)
        official.mlp.layers[-1].weight.mul_(300)  # else all scores are nearly one number
    official.eval()
    torch.save(official.mlp.state_dict(), folder / "head.pth")
    paths = write_images(folder)
    calls = torch.tensor([official.score("", path) for path in paths[: len(JUDGED)]])
    pixels = torch.stack([transform(Image.open(path)) for path in paths])
    scores, grads = gradient(lambda each: official.mlp(unit(model.encode_image(each))), pixels)
    return {"pixels": pixels, "scores": scores, "gradient": grads, "calls": calls}


SCORES = {
    "imagereward": image_reward,
    "hpsv2": hpsv2,
    "pickscore": pickscore,
    "clipscore": clipscore,
    "aesthetic": aesthetic,
    "cyclereward": cyclereward,
}


def main(folder: str, score: str, size: str) -> None:
    torch.manual_seed(0)
    if size == "full":
        del JUDGED[1:]
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    results = SCORES[score](place, size == "tiny")
    save_file({key: value.contiguous() for key, value in results.items()}, place / "official.safetensors")
    record = {
        "score": score,
        "size": size,
        "prompts": PROMPTS,
        "images": ["smooth.png", "wide.png", "edges.png"],
        "torchvision": TORCHVISION,
        "published_head": score == "aesthetic" and published_head() is not None,
        "seconds": time.perf_counter() - started,
    }
    (place / "official.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(*sys.argv[1:])
