"""Train the miniature's CLIP, which is CLIPScore, and a linear aesthetic head on its image embedding.

CLIP learns which caption belongs to which image, and a little which image of a pair is better.  The head
learns, from the same embedding, to prefer clean images over ones with controlled defects.  Backgrounds are
drawn anew (white, greys, the world's own) so that neither depends on what a render is composited over.

    python -m texgen.miniature.pretrain_clip --data DATA --out FOLDER --scale full
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from texgen.miniature.clip_towers import WIDTH, PairBatches, make_clip, preference_loss, save_clip
from texgen.miniature.preferences import IMAGE_KINDS
from texgen.miniature.steps import TrainingStep, make_optimizer
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training_loop import start_run, train, training_parser
from texgen.miniature.world_arrays import open_world

PREFERENCE = 0.3  # how much CLIP's own cosine learns from pairs
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
    args = training_parser(__doc__).parse_args(argv)
    run = start_run(args, "clip")
    tokenizer = open_tokenizer(args.out / "clip")
    painted = open_world(args.data, run.device, others=True)
    pairs = PairBatches(painted, tokenizer, IMAGE_KINDS, run.stage.batch)
    torch.manual_seed(0)
    model = Scorers(len(tokenizer), tokenizer.eos_token_id).to(run.device)
    optimizer = make_optimizer(model.parameters(), run.device, (0.9, 0.98), 0.05)

    def loss() -> dict[str, Tensor]:
        numbers, better, worse = pairs.losses(model.clip)
        liked, disliked = (model.head(part)[:, 0] for part in (better, worse))
        head = preference_loss(liked, disliked)
        centre = liked.mean().square()
        total = numbers["match"] + PREFERENCE * numbers["preference"] + 0.5 * head + 0.01 * centre
        return {"loss": total, **numbers, "head": (liked > disliked).float().mean()}

    train(run, model, [TrainingStep(loss, optimizer)])
    if run.rank == 0:
        save_scorers(args.out, model.eval().to("cpu"), tokenizer)


if __name__ == "__main__":
    main()
