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

from texgen.files import atomic_path
from texgen.miniature.dataset import Samples
from texgen.miniature.materials import COLOURS, MATERIALS
from texgen.miniature.scale import SCALES
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume

CHANNELS = (24, 48, 96, 128)
PEAK_LEARNING_RATE = 2e-3
COLOUR_NAMES = tuple(COLOURS)


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


def material_numbers(samples: Samples) -> Tensor:
    """``[N]`` the place of each sample's material in ``MATERIALS``."""
    return torch.tensor([MATERIALS.index(material) for material in samples.materials])


def colour_marks(samples: Samples) -> Tensor:
    """``[N, 11]``, 1 at the colours that a sample's paint was given."""
    marks = torch.zeros(len(samples), len(COLOUR_NAMES))
    for i, colours in enumerate(samples.colours):
        for colour in colours:
            marks[i, COLOUR_NAMES.index(colour)] = 1
    return marks


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
    args = arguments(__doc__, argv)
    steps, batch = SCALES[args.scale].judge_steps, SCALES[args.scale].scorer_batch
    samples = load_samples(args.data)
    materials, marks = material_numbers(samples), colour_marks(samples)
    torch.manual_seed(21)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.01)
    resume_file = args.out / "judge.resume.pt"
    start = resume(resume_file, judge, optimizer)
    log = Log(args.out / "judge.jsonl", steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(21_000_003 + step)
        index = torch.randint(0, len(samples), (batch,), generator=generator)
        loss = judge_loss(judge, samples.images[index].float() / 255, materials[index], marks[index])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_LEARNING_RATE, warmup=40)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.write(step, loss=float(loss.detach()))
        if step % 100 == 99:
            save_resume(resume_file, step + 1, judge, optimizer)
    save_resume(resume_file, steps, judge, optimizer)
    with atomic_path(args.out / "judge.safetensors") as temporary:
        save_file(judge.state_dict(), temporary)


if __name__ == "__main__":
    main()
