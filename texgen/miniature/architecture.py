"""The shape of the miniature's diffusion nets: the one place that says how UNet and ControlNets are built."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from texgen.miniature.scale import IMAGE_SIZE
from texgen.miniature.tokenizer import text_settings

LATENT_CHANNELS = 8  # 4, as in Stable Diffusion, loses too much detail at a quarter of 128 pixels
LATENT_SCALE = 4
_STAGES = (
    LATENT_SCALE.bit_length()
)  # widths of a control image's embedding: each but the first halves its side


@dataclass(frozen=True)
class Architecture:
    """Sizes of UNet, ControlNets and text encoder.

    Attributes:
        channels: widths of the levels, of 32, 16 and 8 latents a side with three of them.
        layers_per_block: residual layers of each level, on the way down.
        attention: numbers of the levels that attend to themselves and to the text; level 0 is the finest.
        heads: attention heads of each such level, a divisor of its width.
        norm_groups: groups of the group norms, a divisor of each width.
        conditioning_channels: widths in which a ControlNet reads its control image, from the full size down.
        text_width: width of the text encoder.
    """

    channels: tuple[int, ...] = (96, 96, 160)
    layers_per_block: int = 1
    attention: tuple[int, ...] = (1, 2)
    heads: int = 4
    norm_groups: int = 8
    conditioning_channels: tuple[int, ...] = (8, 32, 64)
    text_width: int = 128

    def __post_init__(self) -> None:
        if len(self.conditioning_channels) != _STAGES:
            raise ValueError(
                f"conditioning channels {self.conditioning_channels}: give {_STAGES}, since images are "
                f"{LATENT_SCALE} times as wide as latents."
            )
        beyond = [level for level in self.attention if not 0 <= level < len(self.channels)]
        if beyond:
            raise ValueError(f"attention at level {beyond[0]}: levels go from 0 to {len(self.channels) - 1}.")
        for width in self.channels:
            if width % self.norm_groups or width % self.heads:
                raise ValueError(
                    f"channels {width}: give a multiple of {self.norm_groups} (norm groups) and of "
                    f"{self.heads} (heads)."
                )

    def unet(self) -> UNet2DConditionModel:
        """An untrained UNet."""
        attends = [level in self.attention for level in range(len(self.channels))]
        return UNet2DConditionModel(
            sample_size=IMAGE_SIZE // LATENT_SCALE,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=self.channels,
            layers_per_block=self.layers_per_block,
            down_block_types=tuple("CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attends),
            up_block_types=tuple("CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)),
            cross_attention_dim=self.text_width,
            attention_head_dim=self.heads,  # diffusers' name for their number
            norm_num_groups=self.norm_groups,
        )

    def controlnet(self, unet: UNet2DConditionModel, image_channels: int) -> ControlNetModel:
        """A ControlNet for images of so many channels, begun as the UNet's encoder."""
        return ControlNetModel.from_unet(
            unet,
            conditioning_channels=image_channels,
            conditioning_embedding_out_channels=self.conditioning_channels,
        )

    def text_encoder(self, vocabulary: int, end_token: int) -> CLIPTextModel:
        """An untrained text encoder."""
        return CLIPTextModel(CLIPTextConfig(**text_settings(vocabulary, end_token, self.text_width)))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that override the architecture's fields, such as ``--channels 64,128,192``."""
    group = parser.add_argument_group("architecture", "widths and levels with commas between them")
    for name, default in asdict(Architecture()).items():
        several = isinstance(default, tuple)
        kind: Callable[[str], object] = _numbers if several else int
        shown = ",".join(map(str, default)) if several else default
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"default: {shown}")


def given(args: argparse.Namespace) -> dict[str, object]:
    """The architecture's fields that a command line set."""
    values = {field.name: getattr(args, field.name) for field in fields(Architecture)}
    return {name: value for name, value in values.items() if value is not None}


def from_arguments(args: argparse.Namespace) -> Architecture:
    """The architecture that a command line asks for. Raises SystemExit where it cannot be built."""
    try:
        return Architecture(**given(args))
    except ValueError as error:
        raise SystemExit(f"architecture: {error}") from error
