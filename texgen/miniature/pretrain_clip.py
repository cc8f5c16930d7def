"""Train the miniature's CLIP, which is CLIPScore, and a linear aesthetic head on its image embedding.

CLIP learns which caption belongs to which image.  The head learns, from the same embedding, to prefer clean
images over ones with controlled defects.  Backgrounds are drawn anew (white, greys, the world's own) so that
neither depends on what a render is composited over.

    python -m texgen.miniature.pretrain_clip --data DATA --out FOLDER --scale full
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from texgen.miniature.clip_towers import (
    WIDTH,
    contrastive_loss,
    image_embeddings,
    inverse_temperature,
    make_clip,
    save_clip,
    text_embeddings,
)
from texgen.miniature.preferences import IMAGE_KINDS, draw_pairs, paint_numbers
from texgen.miniature.scale import SCALES
from texgen.miniature.tokenizer import open_tokenizer, tokenize
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume

PEAK_LEARNING_RATE = 8e-4
# The head's raw output is centred on the middle of the 1-to-10 scale of aesthetic predictors.
HEAD_OFFSET = 5.0


class Scorers(nn.Module):
    """CLIP and the aesthetic head, trained together."""

    def __init__(self, vocabulary: int, end_token: int) -> None:
        super().__init__()
        self.clip = make_clip(vocabulary, end_token)
        self.head = nn.Linear(WIDTH, 1)


def save_scorers(out: Path, model: Scorers, tokenizer) -> None:
    """Write `clip/` in transformers' layout and `aesthetic/head.safetensors` with its config."""
    save_clip(out / "clip", model.clip, tokenizer)
    folder = out / "aesthetic"
    folder.mkdir(exist_ok=True)
    head = {
        "weight": model.head.weight.detach().contiguous(),
        "bias": (model.head.bias + HEAD_OFFSET).detach().contiguous(),
    }
    save_file(head, folder / "head.safetensors")
    (folder / "config.json").write_text(json.dumps({"clip": "../clip", "embedding": WIDTH}, indent=2) + "\n")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv)
    steps, batch = SCALES[args.scale].clip_steps, SCALES[args.scale].scorer_batch
    samples = load_samples(args.data)
    tokenizer = open_tokenizer(args.out / "clip")
    tokens = tokenize(tokenizer, samples.captions)
    paint_ids = paint_numbers(samples)

    torch.manual_seed(0)
    model = Scorers(len(tokenizer), tokenizer.eos_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    resume_file = args.out / "clip.resume.pt"
    start = resume(resume_file, model, optimizer)
    log = Log(args.out / "clip.jsonl", steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(0, len(samples), (batch,), generator=generator)
        pairs = draw_pairs(samples, index, generator, IMAGE_KINDS)
        embedding = image_embeddings(model.clip, torch.cat([pairs.better, pairs.worse]))
        text = text_embeddings(model.clip, tokens[index])
        same = paint_ids[index][:, None] == paint_ids[index][None]
        match = contrastive_loss(embedding[:batch], text, inverse_temperature(model.clip), same)
        score = model.head(embedding)[:, 0]
        preference = -F.logsigmoid(score[:batch] - score[batch:]).mean()
        centre = score[:batch].mean().square()
        loss = match + 0.5 * preference + 0.01 * centre
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_LEARNING_RATE)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        accuracy = (embedding[:batch] @ text.T).argmax(1) == torch.arange(batch)
        log.write(
            step,
            contrastive=float(match.detach()),
            preference=float(preference.detach()),
            retrieval=float(accuracy.float().mean()),
            ranking=float((score[:batch] > score[batch:]).float().mean()),
        )
        if step % 100 == 99:
            save_resume(resume_file, step + 1, model, optimizer)
    save_resume(resume_file, steps, model, optimizer)
    save_scorers(args.out, model.eval(), tokenizer)


if __name__ == "__main__":
    main()
