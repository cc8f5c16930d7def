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
from texgen.miniature.preferences import (
    HARD,
    KINDS,
    PROMPT_KINDS,
    check_pairs,
    draw_backgrounds,
    draw_index,
    draw_pairs,
    layout,
    other_rows,
    recomposed,
)
from texgen.miniature.scale import CAPTION_LENGTH, IMAGE_SIZE
from texgen.miniature.steps import TrainingStep, half, make_optimizer
from texgen.miniature.tokenizer import open_tokenizer, tokenize
from texgen.miniature.training_loop import start_run, train, training_parser
from texgen.miniature.world_arrays import WorldSamples, open_world

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
# Share of the training that only matches prompts, the image tower fixed, and the wrong prompts per image.
MATCHING_SHARE = 0.35
WRONG_PROMPTS = 3
SEED = 13


class BlipScorer(nn.Module):
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
        """Raw rewards ``[B]`` of image tokens for prompts: token ids ``[B, L]`` and mask ``[B, 1, 1, L]``, as
        `additive_mask` makes it. All of the image is seen."""
        states = self.text(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image_tokens
        ).last_hidden_state
        return self.head(states[:, 0])[:, 0]


@torch.no_grad()
def start_from_clip(blip: BlipScorer, clip: CLIPModel) -> None:
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


def save_blip(folder: Path, model: BlipScorer, tokenizer, mean: float, std: float) -> None:
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


def caption_mask(tokens: Tensor, end_token: int) -> Tensor:
    """Attention mask ``[B, L]`` of token ids padded with the end token: 1 up to the first end token."""
    ends = (tokens == end_token).long()
    return ((ends.cumsum(1) - ends) == 0).long()


def additive_mask(mask: Tensor) -> Tensor:
    """What is added to attention scores, ``[B, 1, 1, L]``: 0 where a mask ``[B, L]`` is 1, elsewhere the
    lowest number. transformers makes the same of a plain mask, but copies a scalar from the host, which a
    captured step may not do."""
    return (1.0 - mask[:, None, None].float()) * torch.finfo(torch.float32).min


def prompt_loss(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Mean logistic loss of right prompts against wrong ones, and the share that is told apart.

    rewards: ``[1 + W, B]`` of images for their own prompt, then for W wrong ones.
    """
    margin = rewards[:1] - rewards[1:]
    return -F.logsigmoid(margin).mean(), (margin > 0).float().mean()


@dataclass(frozen=True)
class Reading:
    """A model with the samples that it learns from, their captions as token ids ``[N, L]`` and masks
    ``[N, 1, 1, L]``; batch: images, or pairs of them, per step."""

    model: BlipScorer
    painted: WorldSamples
    tokens: Tensor
    mask: Tensor
    batch: int

    def rewards(self, image_tokens: Tensor, index: Tensor) -> Tensor:
        """Raw rewards ``[B]`` of image tokens for the captions of samples ``index [B]``."""
        with half(self.painted.device):
            return self.model(image_tokens, self.tokens[index], self.mask[index]).float()

    def matching(self) -> dict[str, Tensor]:
        """Right against wrong prompts, without a gradient for the image tower."""
        painted, index = self.painted, self.painted.draw(self.batch)
        backgrounds = draw_backgrounds(len(index), painted.device)
        images = recomposed(painted.pictures(index), painted.alpha_of(index), backgrounds)
        with torch.no_grad(), half(painted.device):
            seen = self.model.image_tokens(images)
        prompts = torch.cat([index, *(other_rows(painted, index) for _ in range(WRONG_PROMPTS))])
        raw = self.rewards(seen.repeat(1 + WRONG_PROMPTS, 1, 1), prompts).view(1 + WRONG_PROMPTS, -1)
        loss, share = prompt_loss(raw)
        return {"loss": loss + 0.001 * raw.mean().square(), "prompts": share}

    def preferring(self) -> dict[str, Tensor]:
        """Preferred against worse images, and right against wrong prompts, with a gradient for everything."""
        painted, rows = self.painted, layout(PAIR_KINDS + HARD, self.batch)
        index = draw_index(painted, rows)
        with half(painted.device):
            better, worse = self.model.image_tokens(torch.cat(draw_pairs(painted, index, rows))).chunk(2)
        prompts = torch.cat([index, index, other_rows(painted, index)])
        raw = self.rewards(torch.cat([better, worse, better]), prompts)
        right, spoiled, mismatched = raw.chunk(3)
        prompt, share = prompt_loss(torch.stack([right, mismatched]))
        loss = -F.logsigmoid(right - spoiled).mean() + prompt + 0.001 * raw.mean().square()
        return {"loss": loss, "pairs": (right > spoiled).float().mean(), "prompts": share}

    @torch.no_grad()
    def statistics(self, batches: int = 4) -> tuple[float, float]:
        """Mean and deviation of raw rewards over pairs, preferred and worse alike."""
        torch.manual_seed(SEED)
        rows, raw = layout(KINDS, self.batch), []
        for _ in range(batches):
            index = draw_index(self.painted, rows)
            for images in draw_pairs(self.painted, index, rows):
                raw.append(self.rewards(self.model.image_tokens(images), index))
        rewards = torch.cat(raw)
        return float(rewards.mean()), float(rewards.std().clamp_min(1e-6))


def main(argv: list[str] | None = None) -> None:
    args = training_parser(__doc__).parse_args(argv)
    run = start_run(args, "image_reward")
    painted = open_world(args.data, run.device, others=True)
    tokenizer = open_tokenizer(args.out / "clip")
    check_pairs(painted)
    tokens = tokenize(tokenizer, painted.captions).to(run.device)
    mask = additive_mask(caption_mask(tokens, tokenizer.eos_token_id))
    torch.manual_seed(SEED)
    model = BlipScorer(len(tokenizer))
    if (args.out / "clip" / "config.json").exists():
        start_from_clip(model, CLIPModel.from_pretrained(args.out / "clip"))
    reading = Reading(model.to(run.device).train(), painted, tokens, mask, run.stage.batch)
    optimizer = make_optimizer(model.parameters(), run.device, (0.9, 0.98), 0.05)
    steps = [
        TrainingStep(reading.matching, optimizer, name="matching"),
        TrainingStep(reading.preferring, optimizer),
    ]
    train(run, model, steps, lambda _, share: steps[share >= MATCHING_SHARE])
    if run.rank == 0:
        model.eval()
        statistics = reading.statistics()
        save_blip(args.out / "image_reward", model.to("cpu"), tokenizer, *statistics)


if __name__ == "__main__":
    main()
