"""Train a further ControlNet of the miniature while its UNet and text encoder stay as they are.

    python -m texgen.miniature.pretrain_controlnet --part depth --data DATA --out FOLDER --scale full

depth: the depth image three times, on the world's samples; begins as the inpainting one with nothing known.
uv_position: the position map of an atlas (Paint3D, arXiv 2312.13913), on painted atlases, of which only
texels in charts count; goes on where the backbone's training left it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from texgen.miniature.denoiser import controlled_velocity
from texgen.miniature.diffusion_batches import (
    Noising,
    depth_control,
    encoded,
    open_vae,
    position_control,
)
from texgen.miniature.steps import TrainingStep, half, make_optimizer
from texgen.miniature.tokenizer import open_tokenizer
from texgen.miniature.training_loop import add_compile_option, save_half, start_run, train, training_parser
from texgen.miniature.world_arrays import open_atlases, open_world

ROLES = ("depth", "uv_position")
FALL = 0.9


@torch.no_grad()
def new_controlnet(inpainting: ControlNetModel) -> ControlNetModel:
    """A ControlNet of three channels that begins as the depth-aware inpainting one with nothing known.

    There, unknown pixels are -1 in the first three of six channels. A constant input is a bias: that of the
    new first layer takes it in, and the three depth channels keep their weights. But for the rim of the
    image, where the layer pads with zeros, the new network says what the old one says where nothing is known.
    """
    config = {**inpainting.config, "conditioning_channels": 3}
    new = ControlNetModel.from_config(config)
    weights = inpainting.state_dict()
    first = "controlnet_cond_embedding.conv_in"
    kernel = weights[f"{first}.weight"]
    weights[f"{first}.bias"] = weights[f"{first}.bias"] - kernel[:, :3].sum((1, 2, 3))
    weights[f"{first}.weight"] = kernel[:, 3:].clone()
    new.load_state_dict(weights)
    return new


def controlled_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    controlnet: ControlNetModel,
    noising: Noising,
    index: Tensor,
    control: Tensor,
    weight: Tensor,
) -> dict[str, Tensor]:
    """Weighted mean squared error of the velocity of noised samples; gradients reach the ControlNet through
    the UNet, whether that is frozen or not.

    Args:
        index: samples ``[B]``; control: ``[B, 3, H, W]``; weight: ``[B, 1, h, w]``.
    """
    noisy, timesteps, target = noising.noised(index)
    tokens = noising.prompts(index)
    with half(noising.device):
        text = text_encoder(tokens).last_hidden_state
        out = controlled_velocity(unet, controlnet, noisy, timesteps, text, control)
    return {"loss": weighted_error(out.float(), target, weight)}


def weighted_error(out: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of ``[B, C, h, w]`` over channels and, by weights ``[B, 1, h, w]``, over pixels."""
    error = (out - target).square().mean(1, keepdim=True)
    return (error * weight).sum() / weight.sum().clamp_min(1)


def beginning(base: Path, role: str, begin_with: Path | None = None) -> ControlNetModel:
    """The net before its first step: one that is given, else for position maps an earlier one, else the
    inpainting one with nothing known.

    Args:
        base: folder of a backbone; role: of ``ROLES``; begin_with: folder of a ControlNet.
    """
    earlier = base / f"controlnet_{role}"
    goes_on = role == "uv_position" and (earlier / "config.json").exists()
    source = begin_with or (earlier if goes_on else base / "controlnet_depth_inpaint")
    net = ControlNetModel.from_pretrained(source).float()
    return new_controlnet(net) if net.config.conditioning_channels == 6 else net


def main(argv: list[str] | None = None) -> None:
    parser = training_parser(__doc__, begins=True)
    add_compile_option(parser)
    parser.add_argument("--part", choices=ROLES, required=True, help="the role of the ControlNet")
    parser.set_defaults(fall=FALL)
    args = parser.parse_args(argv)
    base, role = args.out / "backbone", args.part
    run = start_run(args, f"controlnet_{role}")
    data = open_world(args.data, run.device) if role == "depth" else open_atlases(args.data, run.device)
    if not len(data):
        raise SystemExit(f"{args.data} has no atlases; make a world with some (`--atlases`).")
    unet = UNet2DConditionModel.from_pretrained(base / "unet").float()
    text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder").float()
    for net in (unet, text_encoder):
        net.to(run.device, memory_format=torch.channels_last).eval().requires_grad_(False)
    vae, tokenizer = open_vae(base / "vae", run.device), open_tokenizer(base / "tokenizer")
    name = "samples" if role == "depth" else "atlases"
    noising = Noising(encoded(run, name, vae, data.images), data.captions, tokenizer)

    torch.manual_seed(31)
    controlnet = beginning(base, role, args.begin_with)
    controlnet.to(run.device, memory_format=torch.channels_last).train().requires_grad_(True)
    if args.compile:
        unet.compile()
        controlnet.compile()
    optimizer = make_optimizer(controlnet.parameters(), run.device, (0.9, 0.99), 0.01)

    def loss() -> dict[str, Tensor]:
        index = noising.draw(run.stage.batch)
        if role == "depth":
            control = depth_control(data, index)
            weight = torch.ones(len(index), 1, *noising.latents.shape[2:], device=run.device)
        else:
            control, weight = position_control(data, index)
        return controlled_loss(unet, text_encoder, controlnet, noising, index, control, weight)

    train(run, controlnet, [TrainingStep(loss, optimizer)])
    if run.rank == 0:
        save_half(controlnet, base / f"controlnet_{role}")


if __name__ == "__main__":
    main()
