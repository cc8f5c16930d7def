"""A judge of generated images that is none of the scorers: it names the material and the colours.

It is trained on ground-truth renders only, never on generated images, defects or captions.

    python -m texgen.miniature.judge --data DATA --out FOLDER --scale full
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from texgen.miniature.materials import MATERIALS
from texgen.miniature.steps import TrainingStep, make_optimizer
from texgen.miniature.training_loop import start_run, train, training_parser
from texgen.miniature.world_arrays import COLOUR_NAMES, open_world
from texgen.storage.files import atomic_path

CHANNELS = (24, 48, 96, 128)


class Judge(nn.Module):
    """Four convolutions with stride 2, the mean over the picture, and one linear head per question."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS[:-1]), CHANNELS, strict=True):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.material = nn.Linear(CHANNELS[-1], len(MATERIALS))
        self.colour = nn.Linear(CHANNELS[-1], len(COLOUR_NAMES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[B, 25]`` of the materials and ``[B, 11]`` of the colours of images ``[B, 3, H, W]``."""
        features = self.trunk(images * 2 - 1).mean((2, 3))
        return self.material(features), self.colour(features)


def judge_loss(judge: Judge, images: Tensor, materials: Tensor, marks: Tensor) -> Tensor:
    """Cross-entropy of the material, and of each colour where the paint was given any."""
    material, colour = judge(images)
    coloured = marks.sum(1, keepdim=True) > 0
    per_colour = F.binary_cross_entropy_with_logits(colour, marks, reduction="none")
    colour_loss = (per_colour * coloured).sum() / (coloured.sum() * marks.shape[1]).clamp_min(1)
    return F.cross_entropy(material, materials) + 3 * colour_loss


@torch.no_grad()
def verdicts(judge: Judge, images: Tensor, materials: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the judge names the material ``[B]``, and all colours ``[B]`` of images in [0, 1].

    Of a paint with n colours the n likeliest ones have to be its own. Where it has none the second is NaN.
    """
    material, colour = judge(images)
    count = marks.sum(1).long()
    rank = colour.argsort(1, descending=True).argsort(1)
    named = ((rank < count[:, None]) == (marks > 0)).all(1).float()
    return (material.argmax(1) == materials).float(), named.masked_fill(count == 0, torch.nan)


def chance_levels(marks: Tensor) -> tuple[float, float]:
    """What guessing gives: of the materials, and of the colours over the paints that have any."""
    count = marks.sum(1)
    n = marks.shape[1]
    chances = torch.where(count == 1, 1 / n, 2 / (n * (n - 1)))[count > 0]
    return 1 / len(MATERIALS), float(chances.mean())


def load_judge(folder: Path) -> Judge:
    """The trained judge of a folder, ready to answer."""
    judge = Judge()
    judge.load_state_dict(load_file(folder / "judge.safetensors"))
    return judge.eval()


def main(argv: list[str] | None = None) -> None:
    args = training_parser(__doc__).parse_args(argv)
    run = start_run(args, "judge")
    painted = open_world(args.data, run.device)
    torch.manual_seed(21)
    judge = Judge().to(run.device, memory_format=torch.channels_last).train()
    optimizer = make_optimizer(judge.parameters(), run.device, (0.9, 0.999), 0.01)

    def loss() -> dict[str, Tensor]:
        index = painted.draw(run.stage.batch)
        images = painted.pictures(index).contiguous(memory_format=torch.channels_last)
        return {"loss": judge_loss(judge, images, painted.material[index], painted.marks[index])}

    train(run, judge, [TrainingStep(loss, optimizer)])
    if run.rank == 0:
        state = {name: value.detach().cpu().contiguous() for name, value in judge.state_dict().items()}
        with atomic_path(args.out / "judge.safetensors") as temporary:
            save_file(state, temporary)


if __name__ == "__main__":
    main()
