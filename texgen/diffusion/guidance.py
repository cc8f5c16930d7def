"""Classifier-free guided prediction as a pure function of tensors: what a CUDA graph can capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from texgen.diffusion.control_embedding import embedded_once
from texgen.diffusion.shared_halves import computed_once


@dataclass(frozen=True, eq=False)
class Control:
    """One ControlNet's share in a prediction. image: [B or 1, C, H, W] as the net of `role` takes it."""

    role: str
    image: Tensor
    scale: float = 1.0

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Control:
        """The same with its image changed; see `texgen.diffusion.sampler.ViewDenoising.mapped`."""
        return replace(self, image=change(self.image))


@dataclass(frozen=True)
class Guidance:
    """All of a prediction that is not a tensor.

    controls: (role, strength) of the ControlNets, in the order of the inputs control_0, control_1, ... scale:
    of the guidance, 1 = none. inpainting: whether the inpainting UNet answers.
    """

    controls: tuple[tuple[str, float], ...]
    scale: float
    inpainting: bool = False


def control_name(index: int) -> str:
    """The name of a ControlNet's image among the inputs."""
    return f"control_{index}"


def guided_prediction(
    unet: UNet2DConditionModel,
    controlnets: Mapping[str, ControlNetModel],
    guidance: Guidance,
    inputs: Mapping[str, Tensor],
) -> Tensor:
    """uncond + g (cond - uncond), [B, 4, h, w], of the latents' dtype; networks run in the UNet's.

    inputs: latents [B, 4, h, w]; t, a time step; text [2B, L, D], the B unconditional embeddings first, or
    [B, L, D] without guidance; control_0, ... [B or 1, C, H, W]; inpainting [B, 5, h, w] where the guidance
    says so.
    Both halves of the guidance pair run as one batch, in the ControlNets as in the UNet.
    """
    latents, t = inputs["latents"], inputs["t"]
    dtype = unet.conv_in.weight.dtype
    halves = 1 if guidance.scale == 1.0 else 2
    x = torch.cat([latents.to(dtype)] * halves)
    text = inputs["text"].to(dtype)
    residuals = _residuals(controlnets, guidance, inputs, x, text)
    if guidance.inpainting:
        x = torch.cat([x, torch.cat([inputs["inpainting"].to(dtype)] * halves)], dim=1)
    with computed_once(unet, x, halves):
        out = unet(x, t, encoder_hidden_states=text, return_dict=False, **residuals)[0].to(latents.dtype)
    if halves == 1:
        return out
    unconditional, conditional = out.chunk(2)
    return unconditional + guidance.scale * (conditional - unconditional)


def _residuals(
    controlnets: Mapping[str, ControlNetModel],
    guidance: Guidance,
    inputs: Mapping[str, Tensor],
    x: Tensor,
    text: Tensor,
) -> dict[str, Any]:
    """The UNet's residual arguments: the sum over the ControlNets, none for no control."""
    down, middle, batch = None, None, len(inputs["latents"])
    for index, (role, strength) in enumerate(guidance.controls):
        net, image = controlnets[role], inputs[control_name(index)].to(x.dtype)
        with embedded_once(net, image), computed_once(net, x, len(x) // batch):
            own_down, own_middle = net(
                x,
                inputs["t"],
                encoder_hidden_states=text,
                controlnet_cond=torch.cat([image.expand(batch, -1, -1, -1)] * (len(x) // batch)),
                conditioning_scale=strength,
                return_dict=False,
            )
        if down is None:
            down, middle = own_down, own_middle
        else:
            down = [a + b for a, b in zip(down, own_down, strict=True)]
            middle = middle + own_middle
    if down is None:
        return {}
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def time_on(t: int | Tensor, device: torch.device) -> Tensor:
    """A time step as a tensor [] on a device, without the host waiting for a copy."""
    if isinstance(t, Tensor) and t.device == device:
        return t
    dtype = t.dtype if isinstance(t, Tensor) else torch.int64
    return torch.full((), int(t) if dtype == torch.int64 else float(t), dtype=dtype, device=device)
