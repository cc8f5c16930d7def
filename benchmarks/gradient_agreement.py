"""Do the textures of a training agree where a reward's gradient points? That decides how many steps it takes.

    python -m benchmarks.gradient_agreement --config config/config.yaml --results results --model emphasis

A step of fine-tuning follows the gradient of one texture. The cosine of two such gradients, averaged over
pairs of textures, is the share of a gradient's square that all textures have in common; what is left is noise
of the single texture. Over T steps the common part grows as T, the noise as its root, so that some 1 / cosine
textures are needed before the one outgrows the other. Measured at the untuned model, for each term of a
model's reward by itself, without the target beyond which it has no gradient, and for their weighted sum.
Needs the prepared meshes of a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from texgen.finetune.algorithms import Sample
from texgen.finetune.gradients import Strategy

Term = Callable[[Tensor, Tensor, object], Tensor]
"""A reward as training takes it: (texture, painted, item) -> scalar, higher is better."""


@dataclass(frozen=True)
class Agreement:
    """How alike gradients of single textures are.

    textures: how many. cosine: mean over their pairs. error: its jackknife standard error, leaving out one
    texture at a time. median_norm: of the gradients.
    """

    textures: int
    cosine: float
    error: float
    median_norm: float


def agreement(gradients: Tensor) -> Agreement:
    """gradients: [N, D], N >= 3, of N textures; those of length 0 are left out."""
    norms = gradients.norm(dim=1)
    norms, units = norms[norms > 0], gradients[norms > 0] / norms[norms > 0, None]
    count = len(units)
    if count < 3:
        raise ValueError(f"{count} textures have a gradient; 3 are needed to compare them.")
    products = units @ units.T
    products.fill_diagonal_(0)
    total, rows = products.sum(), products.sum(dim=1)
    without = (total - 2 * rows) / ((count - 1) * (count - 2))
    error = ((count - 1) / count * (without - without.mean()).square().sum()).sqrt()
    mean = total / (count * (count - 1))
    return Agreement(count, float(mean), float(error), float(norms.median()))


def term_gradients(
    painter, strategy: Strategy, terms: Mapping[str, Term], sample: Sample, parameters: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Gradient [D] of each term at one texture, by one painting; strategy: one that does not replay."""
    found: dict[str, list[Tensor]] = {name: [] for name in terms}
    with torch.enable_grad():
        for texture, painted in strategy.paintings(
            lambda gradient: sample.paint(painter, gradient), sample.seed
        ):
            for name, term in terms.items():
                value = term(texture, painted, sample.item)
                parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
                found[name].append(
                    torch.cat(
                        [
                            torch.zeros_like(p).flatten() if g is None else g.flatten()
                            for g, p in zip(parts, parameters, strict=True)
                        ]
                    )
                )
    return {name: torch.stack(each).mean(dim=0).cpu() for name, each in found.items()}


def table(found: Mapping[str, Agreement], strategy: str) -> str:
    """The results as a Markdown table."""
    lines = [
        f"| gradient, {strategy} | textures | median length | cosine of two textures | textures needed |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, each in found.items():
        needed = f"some {1 / each.cosine:.0f}" if each.cosine > 2 * each.error else "not told from 0"
        lines.append(
            f"| {name} | {each.textures} | {each.median_norm:.2g} | {each.cosine:.3f} ± {each.error:.3f} "
            f"| {needed} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="config/config.yaml", help="configuration")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder with meshes/")
    parser.add_argument("--model", required=True, help="a model of the configuration")
    parser.add_argument("--textures", type=int, default=24, help="training textures, drawn as training does")
    parser.add_argument("--k", type=int, help="last_k with this k in place of the model's own strategy")
    options = parser.parse_args(arguments)
    if options.textures < 3:
        parser.error("--textures: 3 are needed to compare them")

    from rewards.base import training_reward
    from texgen.finetune.gradients import make_strategy
    from texgen.finetune.items import item_name, item_number, noise_seed
    from workflow.config.configuration import load_config
    from workflow.jobs.plan import Plan
    from workflow.runtime.devices import pick_device
    from workflow.steps.finetune import build_items, build_painter, build_reward, build_unshaped, judged

    job = Plan(load_config(options.config)).train_job(options.model)
    training, device = job.training, pick_device()
    painter = build_painter(job, device)
    own = training.gradient
    strategy = make_strategy(
        own.strategy if options.k is None else "last_k",
        k=options.k or own.k,
        copies=own.copies,
        replay=False,
    )
    terms = {term.metric: training_reward(build_unshaped(job, term, device)) for term in training.rewards}
    reward = build_reward(job, device)
    if len(terms) > 1:
        terms["their weighted sum"] = reward
    items = judged(reward, build_items(job.assets, options.results / "meshes", device))
    parameters = painter.backbone.lora_parameters()
    gradients: dict[str, list[Tensor]] = {name: [] for name in terms}
    for number in range(options.textures):
        item = items[item_number(len(items), number, training.seed)]
        sample = Sample(item, noise_seed(training.seed, number + 1, 0))
        for name, each in term_gradients(painter, strategy, terms, sample, parameters).items():
            gradients[name].append(each)
        lengths = ", ".join(f"{name} {float(each[-1].norm()):.2g}" for name, each in gradients.items())
        print(f"[{number + 1}/{options.textures}] {item_name(item)}: {lengths}", file=sys.stderr, flush=True)
    print(table({name: agreement(torch.stack(each)) for name, each in gradients.items()}, strategy.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
