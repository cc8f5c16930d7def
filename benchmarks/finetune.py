"""What one optimiser step of fine-tuning costs: denoiser evaluations, peak memory, seconds.

    python -m benchmarks.finetune             # a tiny model on the CPU; a minute or two on one idle core
    python -m benchmarks.finetune --device cuda --dtype float16 --image-size 512 --texture-size 1024 \\
        --backbone stable-diffusion-v1-5/stable-diffusion-v1-5 \\
        --controlnet ashawkey/control_v11e_sd15_depth_aware_inpaint

Evaluations are counted from outside, at a layer inside the UNet's last checkpointed block: every time it is
computed is one forward pass on a guidance pair, every time a gradient passes it one backward pass. So the
count holds for arrangements that know nothing of our own counters, and for these it is a check.

Memory is the most that was allocated at one time above what was there when the step began (weights and
geometry): by the allocator's records on a GPU, by following every tensor that an operator returns on a CPU.

Arrangements: ours (strategies of `texgen.finetune.gradients`); plain autograd, which keeps every graph; and
"nested", the released code's three levels of checkpoints as its description gives them: the whole view, the
call of the ControlNet, and the blocks of the UNet.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.denoiser_cost import counted, peak_memory
from benchmarks.tiny import ROLE, ball, tiny_backbone
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.sampler import denoise
from texgen.finetune.gradients import Exact, LastK, Strategy
from texgen.mesh.mesh import Mesh
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.scene import Viewpoints
from texgen.painting.views import Derivative
from texgen.render.cameras import Cameras

VIEWS, STEPS = (2, 6, 8), (5, 10, 20)
TARGETS = {"exact": 180, "last_1": 72}  # evaluations at 6 views and 10 steps
FLAT = 0.10  # largest growth of memory over a sweep


@dataclass(frozen=True)
class Cost:
    """One optimiser step's gradient: passes through the denoiser, bytes, seconds."""

    arrangement: str
    views: int
    steps: int
    forward: int
    backward: int
    peak_bytes: int
    seconds: float

    @property
    def evaluations(self) -> int:
        return self.forward + self.backward


class NestedCheckpoints:
    """The released arrangement as a `Gradient` of the painter; `nested` switches the inner levels on."""

    def frozen(self):
        return False

    def view(self, run, inputs, parameters, fixed_geometry):
        return checkpoint(run, *inputs, use_reentrant=False)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        return denoise(backbone, scheduler, chain, latents, step)


@contextmanager
def nested(backbone: Backbone) -> Iterator[NestedCheckpoints]:
    """Checkpoints around the blocks of the UNet and around the ControlNet, and the gradient for the views."""
    net = backbone.controlnets[ROLE]
    forward = net.forward
    backbone.unet.enable_gradient_checkpointing()
    net.forward = lambda *args, **kwargs: checkpoint(forward, *args, use_reentrant=False, **kwargs)
    try:
        yield NestedCheckpoints()
    finally:
        backbone.unet.disable_gradient_checkpointing()
        net.forward = forward


def gradient_step(
    method: TexGen, mesh: Mesh, views: int, arrangement: Strategy | str, seed: int = 0
) -> Callable[[], None]:
    """A function that adds the gradient of one texture's reward (its mean colour, weighted) to the adapter.

    arrangement: a strategy, "plain" or "nested".
    """
    viewpoints = Viewpoints(indices=range(views))

    def paint(gradient):
        return method.paint(mesh, "a red ball", seed, Derivative(gradient, soft=True), viewpoints)

    def reward(texture: Tensor) -> Tensor:
        weights = torch.linspace(-1, 1, texture.shape[-1], device=texture.device, dtype=texture.dtype)
        return (texture * weights).mean()

    def run() -> None:
        for parameter in method.backbone.lora_parameters():
            parameter.grad = None
        if arrangement == "nested":
            with nested(method.backbone) as gradient:
                reward(paint(gradient)[0]).backward()
        elif arrangement == "plain":
            reward(paint(None)[0]).backward()
        else:
            for texture, _ in arrangement.paintings(paint, seed):
                reward(texture).backward()

    return run


def measure(
    backbone: Backbone, mesh: Mesh, sizes: dict[str, int], views: int, steps: int, arrangement: Strategy | str
) -> Cost:
    """The cost of one arrangement at a number of views and denoising steps."""
    turns = [360.0 * k / views for k in range(views)]
    preset = get_preset(
        "texgen",
        **sizes,
        steps=steps,
        guidance_scale=3.0,
        crop=False,
        prompt_template="{prompt}",
        negative_prompt="",
    )
    method = TexGen(backbone, preset, cameras=Cameras.orbit(turns, 10.0))
    run = gradient_step(method, mesh, views, arrangement)
    with torch.no_grad():
        method._scene(mesh)  # geometry and text are there before the step, as they are after the first one
        method.preset = preset.replace(steps=1)
        method.paint(mesh, "a red ball", 0)
        method.preset = preset
    start = time.perf_counter()
    with counted(backbone) as counts:
        peak = peak_memory(run, backbone.device)
    seconds = time.perf_counter() - start
    name = arrangement if isinstance(arrangement, str) else arrangement.name
    return Cost(name, views, steps, counts["forward"], counts["backward"], peak, seconds)


def arrangements() -> list[Strategy | str]:
    return [Exact(), LastK(1), "plain", "nested"]


def table(costs: list[Cost], by: str) -> str:
    """Markdown: a row per arrangement, a column per value of `by` ("views" or "steps")."""
    values = sorted({getattr(cost, by) for cost in costs})
    head = ["arrangement", *(f"{value} {by}" for value in values), "growth of memory"]
    lines = ["| " + " | ".join(head) + " |", "|---" * (len(values) + 1) + "|---:|"]
    for name in dict.fromkeys(cost.arrangement for cost in costs):
        row = {getattr(cost, by): cost for cost in costs if cost.arrangement == name}
        cells = [
            f"{row[value].evaluations} / {row[value].peak_bytes / 2**20:.1f} MiB / {row[value].seconds:.1f} s"
            for value in values
        ]
        lines.append("| " + " | ".join([name, *cells, f"{growth(list(row.values())):+.0%}"]) + " |")
    return "\n".join(lines)


def growth(costs: list[Cost]) -> float:
    """Largest peak over smallest, minus 1."""
    peaks = [cost.peak_bytes for cost in costs]
    return max(peaks) / min(peaks) - 1


def missed(by_views: list[Cost], by_steps: list[Cost]) -> list[str]:
    """Targets that were missed, as sentences."""
    problems = []
    for name, limit in TARGETS.items():
        found = next(c.evaluations for c in by_views if (c.arrangement, c.views) == (name, 6))
        if found > limit:
            problems.append(
                f"{name} takes {found} evaluations at 6 views and 10 steps; the target is {limit}."
            )
        for what, costs in (("views", by_views), ("steps", by_steps)):
            rise = growth([cost for cost in costs if cost.arrangement == name])
            if rise > FLAT:
                problems.append(
                    f"memory of {name} grows by {rise:.0%} with {what}; the target is {FLAT:.0%}."
                )
    return problems


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", help="folder or hub id; default: a tiny random model")
    parser.add_argument("--controlnet", help="folder or hub id; default: the one in the backbone's folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--texture-size", type=int, default=32)
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args(arguments)
    dtype = getattr(torch, options.dtype)
    if options.backbone is None:
        backbone = tiny_backbone().to(options.device, dtype)
    else:
        controlnets = None if options.controlnet is None else {ROLE: options.controlnet}
        backbone = Backbone.load(options.backbone, controlnets, device=options.device, dtype=dtype)
    backbone.add_lora(4)
    sizes = {
        "image_size": options.image_size,
        "render_size": options.image_size,
        "texture_size": options.texture_size,
    }
    mesh = ball().to(options.device)

    def sweep(pairs: list[tuple[int, int]]) -> list[Cost]:
        found = []
        for arrangement in arrangements():
            for views, steps in pairs:
                found.append(measure(backbone, mesh, sizes, views, steps, arrangement))
                print(f"{found[-1]}", file=sys.stderr, flush=True)
        return found

    measure(backbone, mesh, sizes, 2, 2, Exact())  # warm-up
    by_views = sweep([(views, 10) for views in VIEWS])
    by_steps = sweep([(2, steps) for steps in STEPS if steps != 10])
    by_steps += [cost for cost in by_views if cost.views == 2]
    name = options.backbone or "a tiny model"
    print(f"Evaluations / peak memory / seconds of the gradient of one texture's reward: {name},")
    print(f"{options.image_size} pixel images, {options.device}, {torch.get_num_threads()} threads.\n")
    print(f"10 denoising steps:\n\n{table(by_views, 'views')}\n\n2 views:\n\n{table(by_steps, 'steps')}\n")
    problems = missed(by_views, by_steps)
    print("\n".join(problems) or "All targets are met.")
    return int(bool(problems) and options.check)


if __name__ == "__main__":
    sys.exit(main())
