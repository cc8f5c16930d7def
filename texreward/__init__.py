"""Text to texture for 3D meshes, tuned by differentiable rewards: paint, score, tune."""

from texreward.own import HOME, keep_own_packages

keep_own_packages()

SNAKEFILE = str(HOME / "workflow" / "Snakefile")
"""The workflow, for a `module` of another Snakefile."""

__all__ = ["SNAKEFILE"]
