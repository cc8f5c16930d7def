"""Train the miniature's PickScore or HPSv2: CLIP models that also learned which of two images is better.

    python -m texgen.miniature.pretrain_preferences --part pickscore --data DATA --out FOLDER --scale full

Both minimise CLIP's contrastive loss and PickScore's (arXiv 2305.01569): the cross-entropy between the
preferred image of a pair and the softmax of both images' scaled similarities to the prompt. PickScore goes on
from the trained CLIP and meets other paintings in half of its pairs; HPSv2 has an image tower of its own,
with other patches and width, begins with CLIP's text tower and meets mostly visible defects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from texgen.miniature.clip_towers import (
    contrastive_loss,
    image_embeddings,
    inverse_temperature,
    make_clip,
    save_clip,
    text_embeddings,
)
from texgen.miniature.preferences import IMAGE_KINDS, PROMPT_KINDS, draw_pairs, paint_numbers
from texgen.miniature.scale import SCALES
from texgen.miniature.tokenizer import open_tokenizer, tokenize
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume


@dataclass(frozen=True)
class Recipe:
    """What tells one of the two models from the other.

    vision: fields of an image tower of its own; None: all weights begin as those of CLIP. kinds: of the worse
    images, one drawn per pair. preference: weight of the preference loss. seed: of weights and batches.
    """

    vision: dict[str, int] | None
    kinds: tuple[str, ...]
    preference: float
    peak: float
    seed: int


RECIPES = {
    "pickscore": Recipe(None, IMAGE_KINDS + PROMPT_KINDS * 4, 1.0, 4e-4, 11),
    "hpsv2": Recipe(
        dict(
            image_size=96,
            patch_size=12,
            hidden_size=160,
            intermediate_size=480,
            num_hidden_layers=4,
            num_attention_heads=5,
        ),
        IMAGE_KINDS * 2 + PROMPT_KINDS,
        1.0,
        8e-4,
        12,
    ),
}


def starting_model(recipe: Recipe, out: Path) -> CLIPModel:
    """The model before its first step, from the CLIP in ``out / "clip"``."""
    if not (out / "clip" / "config.json").exists():
        raise SystemExit(f"{out / 'clip'} is missing; train it first with texgen.miniature.pretrain_clip.")
    clip = CLIPModel.from_pretrained(out / "clip")
    if recipe.vision is None:
        return clip
    text = clip.config.text_config
    model = make_clip(text.vocab_size, text.eos_token_id, recipe.vision)
    model.text_model.load_state_dict(clip.text_model.state_dict())
    model.text_projection.load_state_dict(clip.text_projection.state_dict())
    return model


def preference_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Mean of ``-log softmax`` of the preferred image's score among two, scores ``[B]``."""
    return -F.logsigmoid(better - worse).mean()


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, parts=sorted(RECIPES))
    recipe = RECIPES[args.part]
    scale = SCALES[args.scale]
    steps, batch = (
        {"pickscore": scale.pickscore_steps, "hpsv2": scale.hpsv2_steps}[args.part],
        scale.scorer_batch,
    )
    samples = load_samples(args.data)
    tokenizer = open_tokenizer(args.out / "clip")
    tokens = tokenize(tokenizer, samples.captions)
    paint_ids = paint_numbers(samples)

    torch.manual_seed(recipe.seed)
    model = starting_model(recipe, args.out).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    resume_file = args.out / f"{args.part}.resume.pt"
    start = resume(resume_file, model, optimizer)
    log = Log(args.out / f"{args.part}.jsonl", steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        index = torch.randint(0, len(samples), (batch,), generator=generator)
        pairs = draw_pairs(samples, index, generator, recipe.kinds)
        embedding = image_embeddings(model, torch.cat([pairs.better, pairs.worse]))
        text = text_embeddings(model, tokens[index])
        same = paint_ids[index][:, None] == paint_ids[index][None]
        factor = inverse_temperature(model)
        match = contrastive_loss(embedding[:batch], text, factor, same)
        better, worse = (factor * (part * text).sum(1) for part in embedding.split(batch))
        preference = preference_loss(better, worse)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, recipe.peak, warmup=40)
        optimizer.zero_grad()
        (match + recipe.preference * preference).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        log.write(
            step,
            contrastive=float(match.detach()),
            preference=float(preference.detach()),
            ranking=float((better > worse).float().mean()),
        )
        if step % 100 == 99:
            save_resume(resume_file, step + 1, model, optimizer)
    save_resume(resume_file, steps, model, optimizer)
    save_clip(args.out / args.part, model.eval(), tokenizer)


if __name__ == "__main__":
    main()
