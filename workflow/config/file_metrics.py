"""Configuration of metrics whose weights are single files that a user has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workflow.config.checkpoints import BERT, VIT_H_14, tokenizer_of
from workflow.config.strict import InputPath, Strict, Weights


class LocalFolder(Strict):
    """Published files that are put in place by hand: no revision or hash of them is pinned here."""

    folder: InputPath = Field(description="Folder, from the root.")


class FileScore(Strict):
    """Base of extra scores, whose files are put into a folder (addresses: docs/scorers.md)."""

    weights: LocalFolder = Field(description="Folder with the published files.")

    def names(self) -> tuple[str, ...]:
        """Names of the files of weights in the folder."""
        raise NotImplementedError

    def files(self) -> list[str]:
        """Their paths, as inputs of the rules that read them."""
        return [f"{self.weights.folder.rstrip('/')}/{name}" for name in self.names()]


class CycleRewardMetric(FileScore):
    """CycleReward of renders: BLIP trained on cycle consistency instead of people's preferences."""

    kind: Literal["cyclereward"] = Field(description="cyclereward")
    model: Literal["Combo", "T2I", "I2T"] = Field(
        default="Combo", description="Which of the published models."
    )
    tokenizer: Weights = Field(default_factory=lambda: tokenizer_of(BERT), description="BERT's tokenizer.")
    label: str = Field(default="CycleReward", description="Name of the column.")

    def names(self) -> tuple[str, ...]:
        return (f"CycleReward-{self.model}.pth",)


class IctMetric(FileScore):
    """ICT of renders: whether an image contains what the text says, richness not marked down."""

    kind: Literal["ict"] = Field(description="ict")
    tokenizer: Weights = Field(
        default_factory=lambda: tokenizer_of(VIT_H_14),
        description="Configuration, image settings and tokenizer of LAION's CLIP ViT-H/14.",
    )
    label: str = Field(default="ICT", description="Name of the column.")

    def names(self) -> tuple[str, ...]:
        return ("pytorch_model.bin",)


class HpMetric(IctMetric):
    """HP of renders: preference for an image, whatever its prompt; the companion of ICT."""

    kind: Literal["hp"] = Field(description="hp")
    label: str = Field(default="HP", description="Name of the column.")

    def names(self) -> tuple[str, ...]:
        return ("hp_backbone/pytorch_model.bin", "hp_scorer/mlp_pytorch_model.bin")


class Reward3DMetric(FileScore):
    """Reward3D of a textured mesh: BLIP judges four views together."""

    kind: Literal["reward3d"] = Field(description="reward3d")
    variant: Literal["scorer", "fusion"] = Field(
        default="scorer",
        description="How the views are joined: scorer = the paper's, fusion = the later one.",
    )
    tokenizer: Weights = Field(default_factory=lambda: tokenizer_of(BERT), description="BERT's tokenizer.")
    label: str = Field(default="Reward3D", description="Name of the column.")

    def names(self) -> tuple[str, ...]:
        return ({"scorer": "Reward3D_Scorer.pt", "fusion": "Reward3D_CrossViewFusion.pt"}[self.variant],)
