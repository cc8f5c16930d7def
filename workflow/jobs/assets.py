"""What is textured: every mesh with its prompts and seeds, and which of the training pairs are held out.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workflow.config.sheets import MeshRow, PromptRow


@dataclass(frozen=True)
class Asset:
    """One thing to texture: a mesh, a prompt, a seed."""

    mesh: str
    prompt_id: str
    prompt: str
    seed: int

    @property
    def name(self) -> str:
        """Folder name, mesh--prompt--seed."""
        return f"{self.mesh}--{self.prompt_id}--{self.seed}"

    def record(self) -> dict[str, Any]:
        """As plain JSON, with the name."""
        return {
            "asset": self.name,
            "mesh": self.mesh,
            "prompt_id": self.prompt_id,
            "prompt": self.prompt,
            "seed": self.seed,
        }


def pair(meshes: list[MeshRow], prompts: list[PromptRow], split: str, seeds: list[int]) -> list[Asset]:
    """Every asset of a split: each prompt with the mesh it names, or with all meshes where it says *.

    Rows of the split "both" belong to either, and meet each other only.
    """
    names = {each: [row.mesh for row in meshes if row.split == each] for each in (split, "both")}
    return [
        Asset(mesh, row.prompt_id, row.prompt, seed)
        for row in prompts
        if row.split in names
        for mesh in (names[row.split] if row.mesh == "*" else [row.mesh])
        for seed in seeds
    ]


def held_out(assets: list[Asset], wanted: int) -> list[Asset]:
    """Some of a split's assets, at most half of them, with meshes and prompts as different as can be."""
    count = min(wanted, len(assets) // 2)
    chosen: list[Asset] = []
    rest = list(assets)
    for _ in range(count):
        meshes = {asset.mesh for asset in chosen}
        prompts = {asset.prompt_id for asset in chosen}
        # max keeps the first of equals: the order of the sheets decides.
        best = max(rest, key=lambda asset: (asset.mesh not in meshes) + (asset.prompt_id not in prompts))
        chosen.append(best)
        rest.remove(best)
    return chosen
