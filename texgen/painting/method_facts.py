"""What is known of a painting method without running it: its settings, what it ignores, its networks.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from texgen.painting.presets import PRESETS, Preset
from texgen.render.setting_types import check_fields, given_types

NO_NETWORK = ("", "none")
# Groups of a preset's fields, for methods to say which of them mean nothing to it.
# How other programs than InTeX begin, blend and refine a view, and what they show their networks.
CHAIN_VARIANTS = (
    "start",
    "strength",
    "same_noise",
    "blending",
    "blend_noise",
    "refine",
    "window",
    "window_role",
    "also_controls",
    "show_known",
    "unpainted",
)
# All that concerns a view of which a part is painted already.
INPAINTING = (
    *CHAIN_VARIANTS,
    "refine_strength",
    "pin_background",
    "known_threshold",
    "hard_pins",
    "fill_before_encoding",
    "sample_posterior",
)
FITTING = ("adam_steps", "adam_rate")
# How the painter of `texgen.painting.pipeline` brings an image to the texture.
BACKPROJECTION = ("projection", "accumulate", "cosine_power", "rim", "soft_sharpness", "upscaler")


class OwnSettings:
    """Settings that only one method has: dataclasses, whose values are checked when they are made.

    preset: the name of the method's preset, for messages.
    """

    _preset: ClassVar[str]

    def __init_subclass__(cls, preset: str) -> None:
        cls._preset = preset

    def __post_init__(self) -> None:
        check_fields(self, f"Preset {self._preset!r}")


@dataclass(frozen=True)
class MethodFacts:
    """Facts of one kind of method on the shared core.

    preset: its settings as published. settings: the dataclass of those that a preset does not hold, or None.
    ignores: fields of the preset without an effect on it. limits: field -> the only values that it knows.
    own_roles: networks beside the preset's, by its settings. hint: how to do without them. needs_control: it
    cannot do without a ControlNet. keeps: it can start from a texture and paint a region of it alone.
    """

    preset: Preset
    settings: type | None = None
    ignores: tuple[str, ...] = ()
    limits: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    own_roles: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    hint: str = ""
    needs_control: bool = False
    keeps: bool = False

    @property
    def honours(self) -> dict[str, Any]:
        """Field -> annotation of all settings that change what the method does."""
        shared = {
            name: annotation
            for name, annotation in given_types(Preset).items()
            if name != "name" and name not in self.ignores
        }
        return shared | (given_types(self.settings) if self.settings is not None else {})

    def resolved(self, overrides: Mapping[str, Any]) -> tuple[Preset, Any]:
        """The preset and the own settings (None without any) with the overrides that each has as fields.

        Raises ValueError for a field that the method does not have or ignores, for a value that it does not
        know, and for one that breaks its field's rule.
        """
        name = self.preset.name
        for key, value in overrides.items():
            if key in self.ignores:
                raise ValueError(f"The method {name!r} ignores {key}; leave it out.")
            if key not in self.honours:
                allowed = ", ".join(sorted(self.honours))
                raise ValueError(f"The method {name!r} has no field {key!r}; its fields are {allowed}.")
            if key in self.limits and value not in self.limits[key]:
                known = ", ".join(self.limits[key])
                raise ValueError(f"The method {name!r} knows {key} {known}, not {value!r}.")
        own = set() if self.settings is None else {entry.name for entry in fields(self.settings)}
        mine = {key: value for key, value in overrides.items() if key in own}
        rest = {key: value for key, value in overrides.items() if key not in own}
        preset = self.preset.replace(**rest)
        if self.needs_control and preset.control_role in NO_NETWORK:
            raise ValueError(f"The method {name!r} cannot do without a ControlNet; name one as control_role.")
        return preset, None if self.settings is None else replace(self.settings(), **mine)

    def refuse(self, preset: Preset) -> None:
        """Raise ValueError for a preset that sets what the method ignores or does not know."""
        for name in self.ignores:
            usual = getattr(self.preset, name)
            if getattr(preset, name) != usual:
                raise ValueError(
                    f"Preset {preset.name!r}: {self.preset.name} ignores {name}; leave it at {usual!r}."
                )
        for name, known in self.limits.items():
            if getattr(preset, name) not in known:
                raise ValueError(
                    f"Preset {preset.name!r}: {name} is {getattr(preset, name)!r}; "
                    f"{self.preset.name} knows {', '.join(map(repr, known))}."
                )

    def networks(self, preset: Preset, settings: Any) -> tuple[str, ...]:
        """Roles of the networks that the method asks for, each once; "unet" is the inpainting UNet."""
        window = (preset.window_role,) if preset.window and "window" not in self.ignores else ()
        also = () if "also_controls" in self.ignores else tuple(dict(preset.also_controls))
        named = (preset.control_role, *also, *window, *self.own_roles(settings))
        return tuple(role for role in dict.fromkeys(named) if role not in NO_NETWORK)


def painter_facts(preset: Preset) -> MethodFacts:
    """Facts of a preset on the painter of `texgen.painting.pipeline`, which places cameras in world units
    and names views as InTeX does."""
    return MethodFacts(
        preset,
        ignores=("distance_unit", "word_rule", *CHAIN_VARIANTS, *FITTING),
        limits={"projection": ("gather", "scatter_mip")},
        needs_control=True,
        keeps=True,
    )


TEXGEN = painter_facts(PRESETS["texgen"])
