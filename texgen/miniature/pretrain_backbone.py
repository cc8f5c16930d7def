"""Train the miniature's diffusion model: text encoder, UNet and depth-aware inpainting ControlNet; and, at
the same time, a ControlNet for position maps of atlases, without which the UNet would never see one.

    python -m texgen.miniature.pretrain_backbone --data DATA --out FOLDER --scale full
    ... --begin-with models/miniature/backbone --steps 2000     (train finished weights on)
    ... --channels 64,128,192 --attention 0,1,2                 (another architecture)

It needs the VAE in FOLDER/backbone/vae.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from texgen.miniature import architecture
from texgen.miniature.denoiser import Denoiser, new_denoiser, open_finished, save_backbone
from texgen.miniature.diffusion_batches import (
    Noising,
    encoded,
    inpainting_control,
    open_vae,
    position_control,
)
from texgen.miniature.pretrain_controlnet import beginning, controlled_loss, new_controlnet
from texgen.miniature.steps import Average, TrainingStep, half, make_optimizer
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training_loop import add_compile_option, save_half, start_run, train, training_parser
from texgen.miniature.world_arrays import WorldSamples, open_atlases, open_world

EMA_DECAY = 0.999
ATLAS_EVERY = 10  # one step in so many is on atlases


def backbone_loss(model: Denoiser, painted: WorldSamples, noising: Noising, batch: int) -> dict[str, Tensor]:
    """Mean squared error of the velocity on random samples with random parts known."""
    index = noising.draw(batch)
    noisy, timesteps, velocity = noising.noised(index)
    tokens, control = noising.prompts(index), inpainting_control(painted, index)
    with half(noising.device):
        out = model(noisy, timesteps, tokens, control)
    return {"loss": (out.float() - velocity).square().mean()}


def _opened(args) -> Callable[..., Denoiser]:
    """How the denoiser is made before its first step."""
    if not args.begin_with:
        return lambda tokenizer: new_denoiser(architecture.from_arguments(args), tokenizer)
    if set_by_hand := architecture.given(args):
        raise SystemExit(
            f"--begin-with opens finished networks as they are; leave {', '.join(set_by_hand)} out."
        )
    return lambda tokenizer: open_finished(args.begin_with, tokenizer)


def main(argv: list[str] | None = None) -> None:
    parser = training_parser(__doc__, begins=True)
    add_compile_option(parser)
    architecture.add_arguments(parser)
    args = parser.parse_args(argv)
    make, folder = _opened(args), args.out / "backbone"
    run = start_run(args, "backbone")
    painted, atlases = open_world(args.data, run.device), open_atlases(args.data, run.device)
    vae, tokenizer = open_vae(folder / "vae", run.device), open_tokenizer(folder / "tokenizer")
    noising = Noising(encoded(run, "samples", vae, painted.images), painted.captions, tokenizer)

    torch.manual_seed(0)
    model = make(tokenizer)
    finished = args.begin_with
    position = beginning(finished, "uv_position") if finished else new_controlnet(model.controlnet)
    nets = nn.ModuleDict({"model": model, "position": position})
    nets = nets.to(run.device, memory_format=torch.channels_last).train()
    averages = copy.deepcopy(nets).requires_grad_(False)
    if args.compile:
        for net in (model.unet, model.controlnet, position):
            net.compile()
    parameters = list(nets.parameters())
    optimizer = make_optimizer(parameters, run.device, (0.9, 0.99), 0.01)
    average = Average(list(averages.parameters()), parameters, EMA_DECAY)

    def loss() -> dict[str, Tensor]:
        return backbone_loss(nets["model"], painted, noising, run.stage.batch)

    steps = [TrainingStep(loss, optimizer, average)]
    if len(atlases):
        flat = Noising(encoded(run, "atlases", vae, atlases.images), atlases.captions, tokenizer)

        def atlas_loss() -> dict[str, Tensor]:
            index = flat.draw(run.stage.batch)
            control = position_control(atlases, index)
            model = nets["model"]
            return controlled_loss(model.unet, model.text_encoder, nets["position"], flat, index, *control)

        steps.append(TrainingStep(atlas_loss, optimizer, average, "atlas"))

    def save() -> None:
        save_backbone(folder, averages["model"], tokenizer)
        if len(atlases):
            save_half(averages["position"], folder / "controlnet_uv_position")

    def choose(step: int, share: float) -> TrainingStep:
        return steps[-1] if step % ATLAS_EVERY == ATLAS_EVERY - 1 else steps[0]

    train(run, nn.ModuleDict({"nets": nets, "averages": averages}), steps, choose, save)
    if run.rank == 0:
        save()


if __name__ == "__main__":
    main()
