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
from torch import Tensor
from transformers import CLIPModel

from texgen.miniature.clip_towers import PairBatches, make_clip, save_clip
from texgen.miniature.preferences import IMAGE_KINDS, PROMPT_KINDS
from texgen.miniature.steps import TrainingStep, make_optimizer
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training_loop import start_run, train, training_parser
from texgen.miniature.world_arrays import open_world


@dataclass(frozen=True)
class Recipe:
    """What tells one of the two models from the other.

    vision: fields of an image tower of its own; None: all weights begin as those of CLIP. kinds: of the worse
    images, as often as each is named. preference: weight of the preference loss. seed: of the weights.
    """

    vision: dict[str, int] | None
    kinds: tuple[str, ...]
    preference: float
    seed: int


RECIPES = {
    "pickscore": Recipe(None, IMAGE_KINDS + PROMPT_KINDS * 4, 1.0, 11),
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


def main(argv: list[str] | None = None) -> None:
    parser = training_parser(__doc__)
    parser.add_argument("--part", choices=sorted(RECIPES), required=True, help="which model to train")
    args = parser.parse_args(argv)
    recipe = RECIPES[args.part]
    run = start_run(args, args.part)
    torch.manual_seed(recipe.seed)
    model = starting_model(recipe, args.out).to(run.device).train()
    tokenizer = open_tokenizer(args.out / "clip")
    painted = open_world(args.data, run.device, others=True)
    pairs = PairBatches(painted, tokenizer, recipe.kinds, run.stage.batch)
    optimizer = make_optimizer(model.parameters(), run.device, (0.9, 0.98), 0.05)

    def loss() -> dict[str, Tensor]:
        numbers, _, _ = pairs.losses(model)
        return {"loss": numbers["match"] + recipe.preference * numbers["preference"], **numbers}

    train(run, model, [TrainingStep(loss, optimizer)])
    if run.rank == 0:
        save_clip(args.out / args.part, model.eval(), tokenizer)


if __name__ == "__main__":
    main()
