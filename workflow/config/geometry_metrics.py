"""Configuration of the metrics that compare a texture with the geometry of its mesh."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workflow.config.signatures import defaults_of
from workflow.config.strict import Strict, Unit

Form = Literal["released", "corrected"]
ALIGNMENT = defaults_of("rewards.geometric.alignment", "GeometryTextureAlignment")
SYMMETRY = defaults_of("rewards.geometric.symmetry", "Symmetry")
EMPHASIS = defaults_of("rewards.geometric.emphasis", "TextureEmphasis")
COLOURISATION = defaults_of("rewards.geometric.colourisation", "Colourisation")
FORM = "released = the formula of the paper's published code, on right uv; corrected = ours."


class AlignmentMetric(Strict):
    """Geometry-texture alignment: colour edges along maximum curvature. Up is better, 0 to 1."""

    kind: Literal["alignment"] = Field(description="alignment")
    form: Form = Field(default=ALIGNMENT["form"], description=FORM)
    label: str = Field(default="Alignment", description="Name of the column.")


class SymmetryMetric(Strict):
    """Symmetry error of colours at mirrored points. Down is better; 0 = mirrored, 1 = unrelated."""

    kind: Literal["symmetry"] = Field(description="symmetry")
    form: Form = Field(default=SYMMETRY["form"], description=FORM)
    max_residual: float = Field(
        default=SYMMETRY["max_residual"],
        gt=0,
        description="Meshes whose mirror plane leaves more than this share of their diagonal are not judged; "
        "used by corrected.",
    )
    detail: Unit = Field(
        default=SYMMETRY["detail"],
        description="Weight of detail inside small patches, against layout; used by corrected.",
    )
    label: str = Field(default="Symmetry error", description="Name of the column.")


class EmphasisMetric(Strict):
    """Texture-feature emphasis: detail where the surface bends. Up is better, -1 to 1."""

    kind: Literal["emphasis"] = Field(description="emphasis")
    form: Form = Field(default=EMPHASIS["form"], description=FORM)
    cell: float = Field(
        default=EMPHASIS["cell"],
        gt=0,
        description="Width of the surface cells that are compared; the mesh's longest side is 1.6. "
        "Used by corrected.",
    )
    min_contrast: float = Field(
        default=EMPHASIS["min_contrast"],
        gt=0,
        description="Change of luma over 0.1 that counts as detail; used by corrected.",
    )
    contrast_floor: float = Field(
        default=EMPHASIS["contrast_floor"],
        gt=0,
        description="Spread of log detail below which a texture counts as even; used by corrected.",
    )
    colour_weight: float = Field(
        default=EMPHASIS["colour_weight"], ge=0, description="Weight of colourfulness; used by corrected."
    )
    label: str = Field(default="Emphasis", description="Name of the column.")


class ColourisationMetric(Strict):
    """Geometry-guided colourisation: red where the surface bulges, blue where it is hollow. Up is better."""

    kind: Literal["colourisation"] = Field(description="colourisation")
    variant: Literal["smooth", "sharp", "supervised"] = Field(
        default=COLOURISATION["variant"],
        description="Colour in proportion to curvature, two halves, or a given picture.",
    )
    form: Form = Field(default=COLOURISATION["form"], description=FORM)
    split: float = Field(
        default=COLOURISATION["split"],
        gt=0,
        lt=1,
        description="Share of the surface that counts as low curvature; used by corrected.",
    )
    label: str = Field(default="Colourisation", description="Name of the column.")
