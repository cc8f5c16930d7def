"""Blocks of the configuration for what a run starts from: the diffusion model and the meshes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from texgen.reading.policies import UvPolicy
from workflow.config.strict import InputPath, Name, Strict, Weights


class BackboneWeights(Weights):
    """The diffusion model that every method of the configuration shares."""

    controlnets: dict[Name, Weights] = Field(description="ControlNet weights by role, e.g. depth_inpaint.")
    inpainting: Weights | None = Field(
        default=None,
        description="Inpainting model of the same family, for methods that use its UNet; null = none.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Number format of the frozen weights; float16 and bfloat16 are for GPUs.",
    )
    compiled: bool = Field(
        False,
        description="Whether blocks of the networks are compiled by torch: each job takes minutes longer to "
        "start, every evaluation on a GPU less time (docs/performance.md); results differ by rounding.",
    )


class MeshPreparation(Strict):
    """How meshes are read, before any method sees them."""

    table: InputPath = Field(
        default="config/meshes.tsv", description="Sheet of meshes; columns in config/README.md."
    )
    uv: UvPolicy = Field(
        default="auto",
        description="keep = the file's UVs if complete; pack = each part's beside the others; unwrap = new "
        "ones; auto = keep, but pack or unwrap parts that share texels.",
    )
    longest_side: float = Field(
        default=1.6,
        gt=0,
        description="Longest side of the bounding box that cameras are made for; world units.",
    )
