"""Train the miniature's ImageReward: a small BLIP whose text tower looks at the image while it reads.

    python -m texgen.miniature.pretrain_blip --data DATA --out FOLDER --scale full

The reward is an affine function of the text's first state. Of a preferred and a worse image for one prompt
the preferred one is to have the higher reward, and so is the right prompt of an image against wrong ones;
both by the logistic loss of ImageReward (arXiv 2304.05977). Image tower and word embeddings begin with the
weights of the trained CLIP. As BLIP learns to match before ImageReward learns to prefer, the first steps
teach the text tower alone which of several prompts is an image's; reading prompts is what takes longest.
The folder holds `config.json` (`vision_config`, `text_config`, and the mean and spread that standardise the
reward), `model.safetensors` (`vision.*`, `text.*`, `head.*`), tokenizer and image settings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel, CLIPModel

from texgen.miniature.clip_towers import VISION, normalised, save_processor
from texgen.miniature.dataset import Samples
from texgen.miniature.preferences import (
    KINDS,
    PROMPT_KINDS,
    draw_backgrounds,
    draw_pairs,
    paint_numbers,
    recomposed,
    sample_images,
)
from texgen.miniature.scale import CAPTION_LENGTH, IMAGE_SIZE, SCALES
from texgen.miniature.tokenizer import open_tokenizer, tokenize
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume

WIDTH = 128
VISION_CONFIG = {**VISION, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"}
TEXT_CONFIG = dict(
    hidden_size=WIDTH,
    intermediate_size=3 * WIDTH,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=CAPTION_LENGTH,
    layer_norm_eps=1e-12,
    hidden_act="gelu",
)
PAIR_KINDS = KINDS + PROMPT_KINDS
PEAK_LEARNING_RATE = 6e-4
# Share of the steps that only match prompts, with the image tower as it is, and the wrong prompts per image.
MATCHING_SHARE = 0.7
WRONG_PROMPTS = 3
SEED = 13


class Blip(nn.Module):
    """Image tower, text tower with cross-attention, affine head."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        vision = BlipVisionConfig(**VISION_CONFIG, attn_implementation="eager")
        text = BlipTextConfig(
            **TEXT_CONFIG,
            vocab_size=vocabulary,
            encoder_hidden_size=vision.hidden_size,
            is_decoder=True,  # builds the cross-attention; calls are two-way
            bos_token_id=None,
            eos_token_id=None,
            sep_token_id=None,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
        )
        self.vision = BlipVisionModel(vision)
        self.text = BlipTextModel(text, add_pooling_layer=False)
        self.head = nn.Linear(WIDTH, 1)

    def image_tokens(self, images: Tensor) -> Tensor:
        """Tokens ``[B, 65, 192]`` of images ``[B, 3, 128, 128]`` in [0, 1]."""
        return self.vision(pixel_values=normalised(images, IMAGE_SIZE)).last_hidden_state

    def forward(self, image_tokens: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Raw rewards ``[B]`` of image tokens for prompts: token ids and mask ``[B, L]``."""
        states = self.text(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=image_tokens,
            encoder_attention_mask=torch.ones(image_tokens.shape[:2], dtype=torch.long),
        ).last_hidden_state
        return self.head(states[:, 0])[:, 0]


@torch.no_grad()
def start_from_clip(blip: Blip, clip: CLIPModel) -> None:
    """Copy CLIP's image tower into BLIP's, whose blocks are the same but for names, and its word embeddings.

    BLIP has no layer norm before its blocks. CLIP's is folded into what it follows, with the spread that the
    embeddings have on average: exact in the centring and the weights, approximate in the division.
    """
    source, target = clip.vision_model, blip.vision
    norm, embeddings = source.pre_layrnorm, source.embeddings
    patches = embeddings.patch_embedding.weight.flatten(1)
    positions = embeddings.position_embedding.weight
    spread = (patches.var(0).sum() + positions.var(1).mean()).sqrt()
    gain = norm.weight / spread

    def folded(value: Tensor) -> Tensor:
        return (value - value.mean(-1, keepdim=True)) * gain

    weight = (patches - patches.mean(0)) * gain[:, None]
    target.embeddings.patch_embedding.weight.copy_(weight.view_as(target.embeddings.patch_embedding.weight))
    target.embeddings.patch_embedding.bias.zero_()
    target.embeddings.class_embedding.copy_(folded(embeddings.class_embedding).view(1, 1, -1))
    target.embeddings.position_embedding.copy_((folded(positions) + norm.bias)[None])
    for theirs, ours in zip(source.encoder.layers, target.encoder.layers, strict=True):
        attention = theirs.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        ours.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        ours.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        ours.self_attn.projection.load_state_dict(attention.out_proj.state_dict())
        for name in ("layer_norm1", "layer_norm2", "mlp"):
            getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    target.post_layernorm.load_state_dict(source.post_layernorm.state_dict())
    words = clip.text_model.embeddings.token_embedding.weight
    blip.text.embeddings.word_embeddings.weight.copy_(words)


@torch.no_grad()
def reward_statistics(
    model: Blip, samples: Samples, tokens: Tensor, mask: Tensor, count: int
) -> tuple[float, float]:
    """Mean and deviation of raw rewards over pairs of ``count`` samples, preferred and worse alike."""
    generator = torch.Generator().manual_seed(SEED)
    rewards = []
    for index in torch.randint(0, len(samples), (count,), generator=generator).split(32):
        pairs = draw_pairs(samples, index, generator, KINDS)
        for images in (pairs.better, pairs.worse):
            rewards.append(model(model.image_tokens(images), tokens[index], mask[index]))
    rewards = torch.cat(rewards)
    return float(rewards.mean()), float(rewards.std().clamp_min(1e-6))


def save_blip(folder: Path, model: Blip, tokenizer, mean: float, std: float) -> None:
    """Write the plain folder layout that scorers open."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    settings = {
        "model_type": "blip",
        "vision_config": VISION_CONFIG,
        "text_config": {**TEXT_CONFIG, "vocab_size": model.text.config.vocab_size},
        "mean": mean,
        "std": std,
        "max_length": CAPTION_LENGTH,
        "typical_range": [-2.0, 2.0],
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
    save_processor(folder, IMAGE_SIZE)


def other_prompts(index: Tensor, paint_ids: Tensor, generator: torch.Generator) -> Tensor:
    """For each sample of ``index [B]`` a random one with another paint, whose caption is wrong for it."""
    other = torch.randint(0, len(paint_ids), (len(index), 8), generator=generator)
    differs = paint_ids[other] != paint_ids[index][:, None]
    return other.gather(1, differs.int().argmax(1, keepdim=True))[:, 0]


def caption_mask(tokens: Tensor, end_token: int) -> Tensor:
    """Attention mask ``[B, L]`` of token ids padded with the end token: 1 up to the first end token."""
    ends = (tokens == end_token).long()
    return ((ends.cumsum(1) - ends) == 0).long()


def prompt_loss(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Mean logistic loss of right prompts against wrong ones, and the share that is told apart.

    rewards: ``[1 + W, B]`` of images for their own prompt, then for W wrong ones.
    """
    margin = rewards[:1] - rewards[1:]
    return -F.logsigmoid(margin).mean(), (margin > 0).float().mean()


@dataclass(frozen=True)
class Read:
    """Samples, their captions as token ids and mask ``[N, L]``, and the numbers of their paints ``[N]``."""

    samples: Samples
    tokens: Tensor
    mask: Tensor
    paint_ids: Tensor

    def rewards(self, model: Blip, image_tokens: Tensor, rows: Tensor) -> Tensor:
        """Raw rewards ``[B]`` of image tokens for the captions of samples ``rows [B]``."""
        return model(image_tokens, self.tokens[rows], self.mask[rows])


def matching_losses(model: Blip, read: Read, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Right against wrong prompts, without a gradient for the image tower."""
    with torch.no_grad():
        seen = model.image_tokens(recomposed_images(read.samples, index, generator))
    prompts = [index, *(other_prompts(index, read.paint_ids, generator) for _ in range(WRONG_PROMPTS))]
    rewards = torch.stack([read.rewards(model, seen, rows) for rows in prompts])
    loss, share = prompt_loss(rewards)
    return {"prompt": loss, "prompt_ranking": share, "mean": rewards.mean()}


def preference_losses(
    model: Blip, read: Read, index: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Preferred against worse images, and right against wrong prompts, with a gradient for everything."""
    pairs = draw_pairs(read.samples, index, generator, PAIR_KINDS)
    wrong = other_prompts(index, read.paint_ids, generator)
    better, worse = model.image_tokens(torch.cat([pairs.better, pairs.worse])).chunk(2)
    rewards = read.rewards(model, torch.cat([better, worse, better]), torch.cat([index, index, wrong]))
    right, spoiled, mismatched = rewards.chunk(3)
    loss, share = prompt_loss(torch.stack([right, mismatched]))
    return {
        "pair": -F.logsigmoid(right - spoiled).mean(),
        "prompt": loss,
        "pair_ranking": (right > spoiled).float().mean(),
        "prompt_ranking": share,
        "mean": rewards.mean(),
    }


def recomposed_images(samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures ``[B, 3, H, W]`` in [0, 1] of samples, over random backgrounds."""
    images, alpha = sample_images(samples, index)
    return recomposed(images, alpha, draw_backgrounds(len(index), generator))


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv)
    steps, batch = SCALES[args.scale].blip_steps, SCALES[args.scale].scorer_batch
    samples = load_samples(args.data)
    tokenizer = open_tokenizer(args.out / "clip")
    tokens = tokenize(tokenizer, samples.captions)
    mask = caption_mask(tokens, tokenizer.eos_token_id)
    read = Read(samples, tokens, mask, paint_numbers(samples))

    torch.manual_seed(SEED)
    model = Blip(len(tokenizer))
    if (args.out / "clip" / "config.json").exists():
        start_from_clip(model, CLIPModel.from_pretrained(args.out / "clip"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    resume_file = args.out / "image_reward.resume.pt"
    start = resume(resume_file, model, optimizer)
    log = Log(args.out / "image_reward.jsonl", steps)
    matching = int(MATCHING_SHARE * steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
        index = torch.randint(0, len(samples), (batch,), generator=generator)
        draw = matching_losses if step < matching else preference_losses
        losses = draw(model, read, index, generator)
        loss = losses["prompt"] + losses.get("pair", 0.0) + 0.001 * losses.pop("mean").square()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_LEARNING_RATE, warmup=40)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        log.write(step, **{name: float(value.detach()) for name, value in losses.items()})
        if step % 100 == 99:
            save_resume(resume_file, step + 1, model, optimizer)
    save_resume(resume_file, steps, model, optimizer)
    model.eval()
    statistics = reward_statistics(model, samples, tokens, mask, 8 * batch)
    save_blip(args.out / "image_reward", model, tokenizer, *statistics)


if __name__ == "__main__":
    main()
