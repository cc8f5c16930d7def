"""The official scoring calls, each as `score(paths, prompt) -> list of floats`; in their environment only.

Every function is handed local folders of weights, so that nothing is downloaded. Where a call takes all
images of a prompt, it is handed them all, as it is faster with them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from rewards.official import shims

PublishedScore = Callable[[list[str], str], list[float]]
# Images of a prompt in one batch; the model card's function takes all, and a thousand would not fit a GPU.
PICKSCORE_BATCH = 64
# open_clip's names of OpenAI's towers by the width of the image tower.
OPENAI_MODELS = {768: "ViT-B-32-quickgelu", 1024: "ViT-L-14-quickgelu"}


def whole_list(model, paths: list[str], prompt: str) -> list[float]:
    """`model.score(prompt, paths)` of the package image-reward, which answers one image by a number."""
    with torch.no_grad():
        scores = model.score(prompt, paths)
    return scores if isinstance(scores, list) else [scores]


def image_reward(folders: dict[str, str], device: str) -> PublishedScore:
    """`ImageReward.load(...).score` of the package image-reward."""
    shims.bert_from(folders["tokenizer"])
    from ImageReward.utils import load

    folder = Path(folders["weights"])
    model = load(str(folder / "ImageReward.pt"), device, med_config=str(folder / "med_config.json"))
    return lambda paths, prompt: whole_list(model, paths, prompt)


def hpsv2(
    folders: dict[str, str], device: str, version: str, architecture: str = "ViT-H-14"
) -> PublishedScore:
    """`hpsv2.img_score.score`, without the LAION weights that it would load first and then overwrite."""
    from hpsv2 import img_score
    from hpsv2.utils import hps_version_map

    seed_hps(architecture, device)
    checkpoint = str(Path(folders["weights"]) / hps_version_map[version])
    return lambda paths, prompt: [float(value) for value in img_score.score(paths, prompt, cp=checkpoint)]


def seed_hps(name: str, device: str):
    """Give `hpsv2` a model of the named architecture with random weights; returns it."""
    from hpsv2 import img_score
    from hpsv2.src.open_clip import create_model_and_transforms

    model, _, transform = create_model_and_transforms(
        name, None, precision="amp", device=device, light_augmentation=True, output_dict=True
    )
    img_score.model_dict.update(model=model, preprocess_val=transform)
    return model


def pickscore(folders: dict[str, str], device: str) -> PublishedScore:
    """The recipe of PickScore's model card: AutoProcessor, AutoModel, cosine times temperature, a batch."""
    from PIL import Image
    from transformers import AutoModel, AutoProcessor

    processor = AutoProcessor.from_pretrained(
        folders.get("tokenizer") or folders["weights"], trust_remote_code=False
    )
    model = (
        AutoModel.from_pretrained(folders["weights"], trust_remote_code=False, torch_dtype=torch.float32)
        .eval()
        .to(device)
    )

    def score(paths: list[str], prompt: str) -> list[float]:
        values = []
        for start in range(0, len(paths), PICKSCORE_BATCH):
            with torch.no_grad():
                options = {"padding": True, "truncation": True, "max_length": 77, "return_tensors": "pt"}
                opened = [Image.open(path) for path in paths[start : start + PICKSCORE_BATCH]]
                images = processor(images=opened, **options).to(device)
                text = processor(text=prompt, **options).to(device)
                features = [model.get_image_features(**images), model.get_text_features(**text)]
                one, other = (each / torch.norm(each, dim=-1, keepdim=True) for each in features)
                values += (model.logit_scale.exp() * (other @ one.T)[0]).tolist()
        return values

    return score


def clip_score(
    folders: dict[str, str], device: str, prefix: str = "", architecture: str | None = None
) -> PublishedScore:
    """`CLIPScore.score` of the package image-reward on open_clip's towers."""
    lend_openai(folders["clip"], architecture)
    from ImageReward.models.CLIPScore import CLIPScore

    model = CLIPScore(None, device).to(device).eval()
    return lambda paths, prompt: whole_list(model, paths, prefix + prompt)


def aesthetic(folders: dict[str, str], device: str, architecture: str | None = None) -> PublishedScore:
    """`AestheticScore.score` of the package image-reward on open_clip's towers, with the LAION head."""
    lend_openai(folders["clip"], architecture)
    from ImageReward.models.AestheticScore import AestheticScore

    model = AestheticScore(None, device).to(device).eval()
    model.mlp.load_state_dict(torch.load(folders["head"], map_location="cpu", weights_only=True))
    return lambda paths, prompt: whole_list(model, paths, prompt)


def cycle_reward(folders: dict[str, str], device: str, model: str) -> PublishedScore:
    """`CycleReward.score` of the package cyclereward."""
    from PIL import Image

    shims.bert_from(folders["tokenizer"])
    scorer = empty_cycle_reward(str(Path(folders["weights"]) / "med_config.json"), device)
    state = torch.load(
        Path(folders["weights"]) / f"CycleReward-{model}.pth", map_location="cpu", weights_only=True
    )
    # The package says strict=False, which would leave what is missing at random.
    unknown = scorer.load_state_dict(state, strict=False)
    if set(unknown.missing_keys + unknown.unexpected_keys) - {"blip.text_encoder.embeddings.position_ids"}:
        raise RuntimeError(f"The checkpoint does not fit the package: {unknown}.")
    scorer.to(device).eval()

    def score(paths: list[str], prompt: str) -> list[float]:
        pixels = [scorer.preprocess(Image.open(path))[None].to(device) for path in paths]
        return [float(scorer.score(each, prompt)) for each in pixels]

    return score


def empty_cycle_reward(med_config: str, device: str):
    """The package's model without BLIP's weights, which it would download first and then overwrite."""
    from cyclereward import model as package

    package.cyclereward_args["blip_path"] = ""
    return package.CycleReward(device=device, med_config=med_config)


def lend_openai(folder: str, architecture: str | None = None) -> None:
    """Hand the weights of a CLIPModel folder, under open_clip's names, to the code that calls `clip.load`.

    architecture: open_clip's name of it; default one of OpenAI's, by its width.
    """
    import open_clip
    from transformers import CLIPModel

    from rewards.checkpoints.open_clip import restore

    theirs = CLIPModel.from_pretrained(folder, trust_remote_code=False, torch_dtype=torch.float32)
    name = architecture or OPENAI_MODELS[theirs.config.vision_config.hidden_size]
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained=None)
    model.load_state_dict(restore(theirs.state_dict(), model.state_dict()), strict=True)
    shims.lend_clip(model.eval(), transform)


def load(job: dict, device: str) -> PublishedScore:
    """The official call of one kind of metric; `job` holds its folders and settings.

    Its `architecture`, where there is one, is the name of a CLIP of another size than the published.
    """
    folders = job["folders"]
    named = {"architecture": job["architecture"]} if "architecture" in job else {}
    return {
        "imagereward": lambda: image_reward(folders, device),
        "hpsv2": lambda: hpsv2(folders, device, job["version"], **named),
        "pickscore": lambda: pickscore(folders, device),
        "clipscore": lambda: clip_score(folders, device, job["prefix"], **named),
        "aesthetic": lambda: aesthetic(folders, device, **named),
        "cyclereward": lambda: cycle_reward(folders, device, job["model"]),
    }[job["kind"]]()
