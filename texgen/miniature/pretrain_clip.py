"""Train the miniature's scorers: a small CLIP and a linear aesthetic head on its image embedding.

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
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from texgen.miniature.dataset import Samples
from texgen.miniature.defects import spoil
from texgen.miniature.materials import BACKGROUND
from texgen.miniature.scale import IMAGE_SIZE, SCALES
from texgen.miniature.tokenizer import make_tokenizer, text_settings, tokenize
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume

BATCH = 48
WIDTH = 128
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
# The head's raw output is centred on the middle of the 1-to-10 scale of aesthetic predictors.
HEAD_OFFSET = 5.0


class Scorers(nn.Module):
    """CLIP and the aesthetic head, trained together."""

    def __init__(self, vocabulary: int, end_token: int) -> None:
        super().__init__()
        text = text_settings(vocabulary, end_token, WIDTH)
        vision = dict(
            image_size=IMAGE_SIZE,
            patch_size=16,
            hidden_size=192,
            intermediate_size=576,
            num_hidden_layers=4,
            num_attention_heads=6,
        )
        self.clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))
        self.head = nn.Linear(WIDTH, 1)

    def image_embeddings(self, images: Tensor) -> Tensor:
        """Unit image embeddings ``[B, 128]`` of images ``[B, 3, 128, 128]`` in [0, 1]."""
        mean = images.new_tensor(MEAN).view(3, 1, 1)
        std = images.new_tensor(STD).view(3, 1, 1)
        pooled = self.clip.vision_model((images - mean) / std).pooler_output
        return F.normalize(self.clip.visual_projection(pooled), dim=-1)

    def text_embeddings(self, tokens: Tensor) -> Tensor:
        """Unit text embeddings ``[B, 128]``."""
        pooled = self.clip.text_model(tokens).pooler_output
        return F.normalize(self.clip.text_projection(pooled), dim=-1)


def draw_backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """Backgrounds ``[count, 3, 1, 1]``: white, a grey, or the world's own."""
    kind = torch.rand(count, 1, generator=generator)
    grey = 0.3 + 0.5 * torch.rand(count, 1, generator=generator)
    world = torch.tensor(BACKGROUND).expand(count, 3)
    colour = torch.where(
        kind < 0.35, torch.ones(count, 3), torch.where(kind < 0.7, grey.expand(count, 3), world)
    )
    return colour[:, :, None, None]


def recomposed(samples: Samples, index: Tensor, backgrounds: Tensor) -> tuple[Tensor, Tensor]:
    """Images ``[B, 3, H, W]`` of the samples over other backgrounds, and their alpha ``[B, 1, H, W]``."""
    images = samples.images[index].float() / 255
    alpha = (samples.alpha[index].float() / 255)[:, None]
    old = torch.tensor(BACKGROUND).view(1, 3, 1, 1)
    return (images + (backgrounds - old) * (1 - alpha)).clamp(0, 1), alpha


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy; other samples with the same paint are no negatives.

    Args:
        image, text: unit embeddings ``[B, D]``; scale: inverse temperature; same: ``[B, B]`` true where two
            samples have the same material and colours.
    """
    logits = scale * image @ text.T
    logits = logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool), -torch.inf)
    target = torch.arange(len(logits))
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def save_scorers(out: Path, model: Scorers, tokenizer) -> None:
    """Write `clip/` in transformers' layout and `aesthetic/head.safetensors` with its config."""
    model.clip.save_pretrained(out / "clip")
    tokenizer.save_pretrained(out / "clip")
    CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(out / "clip")
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
    scale = SCALES[args.scale]
    samples = load_samples(args.data)
    tokenizer = make_tokenizer(samples.captions)
    tokens = tokenize(tokenizer, samples.captions)
    paints = [f"{m} {' '.join(c)}" for m, c in zip(samples.materials, samples.colours, strict=True)]
    numbers = {p: i for i, p in enumerate(sorted(set(paints)))}
    paint_ids = torch.tensor([numbers[p] for p in paints])

    torch.manual_seed(0)
    model = Scorers(len(tokenizer), tokenizer.eos_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    resume_file = args.out / "clip.resume.pt"
    start = resume(resume_file, model, optimizer)
    log = Log(args.out / "clip.jsonl", scale.clip_steps)
    for step in range(start, scale.clip_steps):
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(0, len(samples), (BATCH,), generator=generator)
        images, alpha = recomposed(samples, index, draw_backgrounds(BATCH, generator))
        spoiled = torch.stack([spoil(i, a, generator)[0] for i, a in zip(images, alpha, strict=True)])
        embedding = model.image_embeddings(torch.cat([images, spoiled]))
        text = model.text_embeddings(tokens[index])
        same = paint_ids[index][:, None] == paint_ids[index][None]
        match = contrastive_loss(embedding[:BATCH], text, model.clip.logit_scale.exp().clamp(max=100), same)
        score = model.head(embedding)[:, 0]
        preference = -F.logsigmoid(score[:BATCH] - score[BATCH:]).mean()
        centre = score[:BATCH].mean().square()
        loss = match + 0.5 * preference + 0.01 * centre
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, scale.clip_steps, 8e-4)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        accuracy = (embedding[:BATCH] @ text.T).argmax(1) == torch.arange(BATCH)
        log.write(
            step,
            contrastive=float(match.detach()),
            preference=float(preference.detach()),
            retrieval=float(accuracy.float().mean()),
            ranking=float((score[:BATCH] > score[BATCH:]).float().mean()),
        )
        if step % 200 == 199:
            save_resume(resume_file, step + 1, model, optimizer)
    save_resume(resume_file, scale.clip_steps, model, optimizer)
    save_scorers(args.out, model.eval(), tokenizer)


if __name__ == "__main__":
    main()
