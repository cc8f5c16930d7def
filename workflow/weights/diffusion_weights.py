"""Diffusion models on this machine and on the hub: whether every file of every part is here.

Files lie below the folder of weights, as those of scorers, or in the hub's own cache. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rewards.checkpoints.published_files import NeededFiles
from rewards.checkpoints.store import WeightsMissing, own_folder
from texgen.diffusion.hub_aliases import HUB_ALIASES
from texgen.storage.model_files import ModelFolder, files_of, missing_in
from texgen.storage.plain_text import first_line


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit. sizes: bytes by file name, None where the hub does not say."""

    commit: str | None
    sizes: dict[str, int | None]


def live_id(hub: str) -> str:
    """The id of a repository, moved ones replaced, as the loader does."""
    return HUB_ALIASES.get(hub, hub)


def find_model(want: NeededFiles, parts: Collection[ModelFolder]) -> Path | None:
    """A folder with every file of the parts, ours before the hub's cache; None where some are missing."""
    return next((folder for folder in _folders(want, parts) if not missing_in(folder, parts)), None)


def missing_files(want: NeededFiles, parts: Collection[ModelFolder]) -> list[str]:
    """Names of the files that are missing where most is there."""
    found = [missing_in(folder, parts) for folder in _folders(want, parts)]
    return min(found or [files_of((), parts)[1]], key=len)


def _folders(want: NeededFiles, parts: Collection[ModelFolder]) -> list[Path]:
    """Where files of a model are on this machine, whole or not; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    folders = [own_folder(want)]
    for name in (part.named(setting) for part in parts for setting in part.settings):
        path = try_to_load_from_cache(live_id(want.hub), name, revision=want.revision)
        if isinstance(path, str):
            folders.append(Path(path).parents[name.count("/")])
            break
    return [folder for folder in folders if folder.is_dir()]


def listing(want: NeededFiles) -> Listing:
    """What the hub, or the mirror that HF_ENDPOINT names, offers. Raises WeightsMissing in one sentence."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(live_id(want.hub), revision=want.revision, files_metadata=True)
    except Exception as error:  # the hub's client has many ways to say that it was not reached
        raise WeightsMissing(f"{want.hub} cannot be asked for its files ({first_line(error)})") from None
    return Listing(info.sha, {each.rfilename: each.size for each in info.siblings or ()})


def to_download(want: NeededFiles, parts: Collection[ModelFolder]) -> tuple[Listing, list[str]]:
    """The repository's listing and those of its files that the parts need. Raises WeightsMissing where it
    lacks some."""
    found = listing(want)
    files, missing = files_of(found.sizes, parts)
    if missing:
        raise WeightsMissing(f"{want.hub} has no {', '.join(missing)}, so it is not a model of this kind")
    return found, files


def download_model(want: NeededFiles, files: Collection[str]) -> Path:
    """Bring files of a repository into the hub's cache; what is there is kept, and a file that was cut off
    continued. Returns their folder. Raises WeightsMissing in one sentence."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(live_id(want.hub), revision=want.revision, allow_patterns=list(files)))
    except Exception as error:
        raise WeightsMissing(f"{want.hub} cannot be downloaded ({first_line(error)})") from None


def find_or_download(hub: str, revision: str | None, parts: Collection[ModelFolder]) -> Path:
    """A folder with every file of the parts, downloaded where there is none. Raises WeightsMissing."""
    want = NeededFiles(hub, revision, (), "")
    try:
        return find_model(want, parts) or download_model(want, to_download(want, parts)[1])
    except WeightsMissing as error:
        raise WeightsMissing(
            f"{error}; connect to the network, or give a folder of this machine in diffusers layout."
        ) from None


def expected_hash(path: Path) -> str | None:
    """SHA-256 that a file in the hub's cache was downloaded under: the name of what it links to."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None
