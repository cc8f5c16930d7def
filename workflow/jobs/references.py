"""The reference pictures of the set distance: which files of a folder count. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from rewards.picture_files import PICTURES
from workflow.config.configuration import Config
from workflow.config.sheets import ConfigError


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder and those below it, by name. Raises ConfigError without any."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    if not found:
        what = "holds no pictures" if folder.is_dir() else "is no folder"
        raise ConfigError(
            f"evaluation.references.images: {folder} {what}; put the reference renders there "
            f"({', '.join(PICTURES)}), or set references to null."
        )
    return found


def reference_pictures(config: Config) -> list[Path]:
    """The pictures that a configuration names, none where it names no folder. Raises ConfigError."""
    references = config.evaluation.references
    return [] if references is None else pictures_in(Path(references.images))
