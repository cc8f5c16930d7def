"""The parts of the miniature: which program trains each, from what, and which files are its own.

Imports no torch: the workflow's rules read it, too.
"""

from __future__ import annotations

from typing import NamedTuple


class TrainedPart(NamedTuple):
    """One trained part.

    program: module of `texgen.miniature` that trains it; name: what its `--part` is, for programs that train
    several. after: parts it builds on. files: what it writes, in the folder of models. weight: its share of
    the time when parts are trained one after the other in a given time.
    """

    program: str
    files: tuple[str, ...]
    weight: float
    after: tuple[str, ...] = ()
    name: str = ""


PARTS = {
    "vae": TrainedPart("pretrain_vae", ("backbone/vae",), 8),
    "backbone": TrainedPart(
        "pretrain_backbone",
        (
            "backbone/unet",
            "backbone/text_encoder",
            "backbone/tokenizer",
            "backbone/scheduler",
            "backbone/controlnet_depth_inpaint",
        ),
        50,
        ("vae",),
    ),
    "controlnet_depth": TrainedPart(
        "pretrain_controlnet", ("backbone/controlnet_depth",), 5, ("backbone",), "depth"
    ),
    "controlnet_uv_position": TrainedPart(
        "pretrain_controlnet", ("backbone/controlnet_uv_position",), 5, ("backbone",), "uv_position"
    ),
    "clip": TrainedPart("pretrain_clip", ("clip", "aesthetic"), 10),
    "pickscore": TrainedPart("pretrain_preferences", ("pickscore",), 5, ("clip",), "pickscore"),
    "hpsv2": TrainedPart("pretrain_preferences", ("hpsv2",), 6, ("clip",), "hpsv2"),
    "image_reward": TrainedPart("pretrain_blip", ("image_reward",), 8, ("clip",)),
    "judge": TrainedPart("judge", ("judge.safetensors",), 3),
}
