"""A latent diffusion model as the painter uses it: text in, images to latents and back, guided prediction.

The components are diffusers and transformers classes, opened from a folder or a hub id in the usual layout.
All of them are frozen; only LoRA factors on the UNet can be trained.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from texgen import seeds
from texgen.diffusion import captured, lora, winograd
from texgen.diffusion.backbone_files import open_components
from texgen.diffusion.call_counter import CallCounter
from texgen.diffusion.guidance import Control, Guidance, control_name, guided_prediction, time_on
from texgen.diffusion.prompts import warn_of_prompt


class Backbone:
    """UNet, ControlNets by role, autoencoder, text encoder, tokenizer and scheduler settings, frozen.

    unet: UNet2DConditionModel. controlnets: role -> ControlNetModel. vae: AutoencoderKL or AutoencoderTiny.
    text_encoder, tokenizer: CLIP's. scheduler_config: the contents of the scheduler's JSON file. inpainting:
    a second UNet of the same family whose input also holds a mask and a masked image (5 more channels), or
    None.
    Attributes: `calls` (CallCounter), `captured` (keeps evaluations of the networks as CUDA graphs; None:
    does not, as on a CPU), `latent_scale` (image pixels per latent pixel), `latent_channels`, `device`,
    `dtype` (of the networks; images and latents may be wider and are cast on the way in and out).
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnets: Mapping[str, ControlNetModel],
        vae: AutoencoderKL | AutoencoderTiny,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler_config: Mapping[str, object],
        inpainting: UNet2DConditionModel | None = None,
    ) -> None:
        self.inpainting = inpainting
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.controlnets, self.scheduler_config = dict(controlnets), dict(scheduler_config)
        self.calls = CallCounter()
        self.captured: captured.Captured | None = None
        self._text_cache: dict[str, Tensor] = {}
        for module in self._modules():
            module.requires_grad_(False).eval()

    @classmethod
    def load(
        cls,
        source: str | Path,
        controlnets: Mapping[str, str | Path] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        local_files_only: bool = False,
        inpainting: str | Path | None = None,
        compiled: bool = False,
    ) -> Backbone:
        """Open a model in the diffusers layout (unet/, vae/, text_encoder/, tokenizer/, scheduler/).

        source: a folder, or a hub id "owner/name" or "owner/name@revision" (moved ids are replaced:
        `texgen.diffusion.hub_aliases`).
        controlnets: role -> folder or hub id; None = every `controlnet_<role>` folder of a local source.
        local_files_only: never ask the network. inpainting: folder or hub id of an inpainting model of the
        same family, of which the UNet is opened. compiled: see `texgen.diffusion.compiled`.
        Raises FileNotFoundError for a path that lacks a part, DamagedFileError for a part that is damaged.
        """
        parts = open_components(source, controlnets, dtype, local_files_only, inpainting)
        backbone = cls(**parts).to(device)
        # The order in which convolutions read: a tenth faster on a CPU.
        for module in backbone._modules():
            module.to(memory_format=torch.channels_last)
            if backbone.device.type == "cpu" and not compiled:
                winograd.install(module)
        if compiled:
            from texgen.diffusion.compiled import compile_blocks  # it takes a second to import

            compile_blocks(backbone._modules())
        backbone.captured = captured.Captured() if captured.wanted(backbone.device) else None
        return backbone

    def _modules(self) -> list[nn.Module]:
        nets = [self.unet, self.vae, self.text_encoder, *self.controlnets.values()]
        return nets if self.inpainting is None else [*nets, self.inpainting]

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Backbone:
        """Move all networks in place; returns self."""
        wanted = {key: value for key, value in (("device", device), ("dtype", dtype)) if value is not None}
        for module in self._modules():
            module.to(**wanted)
        self._text_cache.clear()
        if self.captured is not None:
            self.captured.clear()
        return self

    @property
    def device(self) -> torch.device:
        return self.unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.conv_in.weight.dtype

    @property
    def latent_channels(self) -> int:
        return self.vae.config.latent_channels

    @property
    def latent_scale(self) -> int:
        """Image pixels per latent pixel: both autoencoders halve the size between successive stages."""
        config = self.vae.config
        stages = config.get("encoder_block_out_channels") or config["block_out_channels"]
        return 2 ** (len(stages) - 1)

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Text embeddings [B, L, D], the text encoder's last hidden state; padded to the tokenizer's maximum.

        Cached by prompt. A prompt that is too long is cut, with a warning that names it.
        """
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._text_cache]
        if missing:
            limit = self.tokenizer.model_max_length
            for prompt in missing:
                warn_of_prompt(self.tokenizer, prompt, limit)
            tokens = self.tokenizer(
                missing, padding="max_length", max_length=limit, truncation=True, return_tensors="pt"
            )
            with torch.no_grad():
                encoded = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
            self._text_cache.update(zip(missing, encoded, strict=True))
        return torch.stack([self._text_cache[prompt] for prompt in prompts])

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] -> scaled latents [B, 4, H / scale, W / scale].

        AutoencoderKL: a sample of the posterior when a generator is given (as Stable Diffusion's training
        did), else its mode. AutoencoderTiny has no posterior. Differentiable. Raises ValueError when the
        image's sides are not multiples of `latent_scale`.
        """
        if images.shape[-1] % self.latent_scale or images.shape[-2] % self.latent_scale:
            raise ValueError(
                f"Images are {tuple(images.shape[-2:])}; both sides must be multiples of "
                f"{self.latent_scale} for this autoencoder."
            )
        tiny = isinstance(self.vae, AutoencoderTiny)

        def compute(inputs: Mapping[str, Tensor]) -> Tensor:
            encoded = self.vae.encode((inputs["images"] * 2 - 1).to(self.dtype))
            return encoded.latents if tiny else encoded.latent_dist.parameters

        encoded = self._evaluated("encode", compute, {"images": images}, self.vae)
        if tiny:
            latents = encoded
        else:
            posterior = DiagonalGaussianDistribution(encoded)
            latents = posterior.mode()
            if generator is not None:
                noise = torch.randn(latents.shape, generator=generator, dtype=latents.dtype)
                latents = latents + posterior.std * seeds.sent(noise, self.device)
        return ((latents - self._shift) * self.vae.config.scaling_factor).to(images.dtype)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] -> images [B, 3, H, W], nominally in [0, 1] but not clamped."""

        def compute(inputs: Mapping[str, Tensor]) -> Tensor:
            unscaled = inputs["latents"] / self.vae.config.scaling_factor + self._shift
            return (self.vae.decode(unscaled.to(self.dtype)).sample / 2 + 0.5).to(inputs["latents"].dtype)

        return self._evaluated("decode", compute, {"latents": latents}, self.vae)

    def _evaluated(
        self, key: Hashable, compute: captured.Compute, inputs: Mapping[str, Tensor], net: nn.Module
    ) -> Tensor:
        """compute(inputs), which evaluates a network, captured where that is wanted."""
        if self.captured is None:
            return compute(inputs)
        if not torch.is_grad_enabled():
            return self.captured(key, compute, inputs)
        return self.captured.differentiable(key, compute, inputs, net)

    @property
    def _shift(self) -> float:
        return self.vae.config.get("shift_factor") or 0.0

    def predict(
        self,
        latents: Tensor,
        t: int | Tensor,
        text: Tensor,
        controls: Sequence[Control],
        guidance_scale: float,
        inpainting: Tensor | None = None,
    ) -> Tensor:
        """The UNet's output after classifier-free guidance, uncond + g (cond - uncond).

        latents: [B, 4, h, w]. t: time step. text: [2B, L, D], the B unconditional embeddings, then the B
        conditional ones; [2, L, D] serves any B. controls: the ControlNets that take part, whose residuals
        are added; () for none. inpainting: [B, 5, h, w] mask (1 = to be painted) and latents of the masked
        image; then the inpainting UNet answers. At g = 1 the unconditional half is not evaluated.
        What the output means (noise, velocity) is the scheduler's `prediction_type`. Each latent counts as
        one evaluation of each network. Raises ValueError for an unknown role or channels that do not fit.
        """
        batch = latents.shape[0]
        if text.shape[0] == 2 and batch > 1:
            text = text.repeat_interleave(batch, dim=0)
        if text.shape[0] != 2 * batch:
            raise ValueError(f"text has {text.shape[0]} rows for {batch} latents; it needs 2 or {2 * batch}.")
        for each in controls:
            self._check_control(each)
        net = self.unet if inpainting is None else self.inpainting
        if net is None:
            raise ValueError(
                "The backbone has no inpainting UNet; load one, or name a ControlNet role in its place."
            )
        guidance = Guidance(
            tuple((each.role, float(each.scale)) for each in controls),
            float(guidance_scale),
            inpainting is not None,
        )
        inputs = {"latents": latents, "t": time_on(t, latents.device)}
        inputs["text"] = text[batch:] if guidance.scale == 1.0 else text
        inputs |= {control_name(index): each.image for index, each in enumerate(controls)}
        if inpainting is not None:
            inputs["inpainting"] = inpainting
        self.calls.unet += batch
        self.calls.controlnet += batch * len(controls)

        def compute(inputs: Mapping[str, Tensor]) -> Tensor:
            return guided_prediction(net, self.controlnets, guidance, inputs)

        return self._evaluated((guidance, lora.state(self.unet)), compute, inputs, net)

    def control_channels(self, role: str | None) -> int:
        """Channels of the image that a ControlNet takes. Raises ValueError for a role that is not there."""
        if role not in self.controlnets:
            known = ", ".join(sorted(self.controlnets)) or "none"
            raise ValueError(f"The backbone has no ControlNet for the role {role!r} (it has: {known}).")
        return self.controlnets[role].config.conditioning_channels

    def _check_control(self, control: Control) -> None:
        channels = self.control_channels(control.role)
        if channels != control.image.shape[1]:
            raise ValueError(
                f"The ControlNet {control.role!r} takes {channels} channels, "
                f"but the control image has {control.image.shape[1]}."
            )

    def add_lora(
        self,
        rank: int,
        alpha: float | None = None,
        targets: tuple[str, ...] = lora.ATTENTION_TARGETS,
        seed: int = 0,
    ) -> None:
        """Add a trainable LoRA adapter to the UNet's attention; see `texgen.diffusion.lora.add`."""
        lora.add(self.unet, rank, alpha, targets, seed)

    def lora_parameters(self) -> list[nn.Parameter]:
        """The trainable LoRA factors, in a fixed order."""
        return lora.parameters(self.unet)

    def save_lora(self, folder: str | Path) -> Path:
        """Write the adapter in diffusers' format; returns the file."""
        return lora.save(self.unet, folder)

    def load_lora(self, folder: str | Path) -> None:
        """Read an adapter; see `texgen.diffusion.lora.load`."""
        lora.load(self.unet, folder)

    def lora_disabled(self) -> AbstractContextManager[None]:
        """Context in which the UNet is the untuned one."""
        return lora.disabled(self.unet)

    def lora_merged(self) -> AbstractContextManager[None]:
        """Context in which the adapter costs nothing, for evaluations without gradient; see `lora.merged`."""
        return lora.merged(self.unet)

    def uncaptured(self) -> AbstractContextManager[None]:
        """Context in which no prediction is captured, e.g. while the UNet's layers are exchanged."""
        return nullcontext() if self.captured is None else self.captured.paused()

    def set_lora_scale(self, scale: float) -> None:
        """Strength of the adapter: 0 = untuned, 1 = as trained."""
        lora.set_scale(self.unet, scale)
