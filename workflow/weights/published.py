"""Published weights that a configuration needs: what is here, what is missing, one step that downloads it.

Imports no torch.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.checkpoints.published_files import LAION_HEAD_LICENCE, NeededFiles
from rewards.checkpoints.published_files import wanted as wanted_by_metric
from rewards.checkpoints.store import (
    WeightsMissing,
    fetch,
    file_sizes,
    find,
    known_hash,
    missing,
    own_folder,
    verify,
    weights_root,
)
from texgen.storage.downloads import file_name, public_address, request_for
from texgen.storage.model_files import BACKBONE, CONTROLNET, INPAINTING, ModelFolder, files_of
from texgen.storage.plain_text import first_line
from workflow.config.configuration import Config
from workflow.config.methods import narrowed
from workflow.config.strict import Weights
from workflow.weights.diffusion_weights import download_model, expected_hash, find_model, missing_files
from workflow.weights.planned_downloads import Download, announcement, planned_download


@dataclass(frozen=True)
class Need:
    """One repository (want), or one file at an address (url, sha256), and the parts of the configuration that
    use it.

    parts: of a diffusion model, which is opened by its own loader; none of anything else.
    """

    users: tuple[str, ...]
    want: NeededFiles | None = None
    url: str | None = None
    sha256: str | None = None
    parts: tuple[ModelFolder, ...] = ()

    @property
    def file(self) -> tuple[str, str]:
        """Address and SHA-256 of the one file."""
        assert self.url is not None and self.sha256 is not None
        return self.url, self.sha256

    @property
    def name(self) -> str:
        return self.want.hub if self.want else head_name(self.file[0])

    def path(self) -> Path | None:
        """Folder or file on this machine, None when anything of it is missing."""
        if self.want is not None:
            return find_model(self.want, self.parts) if self.parts else find(self.want)
        return next((place for place in head_places(*self.file) if place.is_file()), None)

    def lacking(self) -> str:
        """What is missing and where it belongs, as a line of a list."""
        if self.want is None:
            place = head_places(*self.file)[0].parent
            return f"{self.name} from {public_address(self.file[0])} into {place}"
        revision = self.want.revision or "its default revision"
        names = missing_files(self.want, self.parts) if self.parts else missing(self.want)
        return f"{', '.join(names)} of {self.want.hub} at {revision} into {own_folder(self.want)}"


def head_name(url: str) -> str:
    """Name of the file behind an address, as its download is named. Raises DownloadError."""
    return file_name(url)


def head_places(url: str, sha256: str) -> list[Path]:
    """Where the file of an address may be: put there by hand, or downloaded."""
    name = head_name(url)
    return [weights_root() / name, Path("resources") / f"{sha256[:16]}-{name}"]


def needs(config: Config) -> list[Need]:
    """Everything that a configuration takes from a network, each once, the backbone first."""
    found: dict[Any, Need] = {}

    def add(key: Any, user: str, **fields: Any) -> None:
        users = found[key].users if key in found else ()
        found[key] = Need((*users, user) if user not in users else users, **fields)

    for user, (part, parts) in diffusion_models(config).items():
        if part.hub is not None:
            want = NeededFiles(part.hub, part.revision, (), "see its page")
            add((want, parts), user, want=want, parts=parts)
    for name, metric in config.metrics.items():
        settings = metric.model_dump()
        for want in wanted_by_metric(settings).values():
            add(want, name, want=want)
        head = settings.get("head")
        if head is not None and head["url"] is not None:
            add(head["url"], name, url=head["url"], sha256=head["sha256"])
    return list(found.values())


def diffusion_models(config: Config) -> dict[str, tuple[Weights, tuple[ModelFolder, ...]]]:
    """Every diffusion model that some job opens, by what it is there for, with the parts that are opened."""
    backbone = narrowed(config.backbone, config.networks())
    found: dict[str, tuple[Weights, tuple[ModelFolder, ...]]] = {"backbone": (backbone, BACKBONE)}
    found |= {role: (weights, CONTROLNET) for role, weights in backbone.controlnets.items()}
    if backbone.inpainting is not None:
        found["inpainting"] = (backbone.inpainting, INPAINTING)
    return found


def require(config: Config, say: Callable[[str], None]) -> None:
    """Download whatever is missing, and check it; what will be downloaded is said, with its size, before.

    Raises WeightsMissing with the list of what is missing when the network cannot be reached.
    """
    lacking: list[Need] = []
    reason = ""
    wanted_now = needs(config)
    absent = [need for need in wanted_now if need.path() is None]
    planned: dict[Need, Download] = {}
    if absent:
        reason = unreachable()
    for need in absent if not reason else ():
        try:
            planned[need] = planned_download(need)
        except OSError as error:
            reason = str(error)
            break
    if absent and not reason:
        for line in announcement(planned):
            say(line)
    for need in wanted_now:
        # After one failure nothing more is tried, so that an answer comes soon; the list is complete.
        if reason and need.path() is None:
            lacking.append(need)
            continue
        try:
            obtain(need, say, planned.get(need))
        except OSError as error:
            reason = reason or str(error)
            lacking.append(need)
    if lacking:
        lines = "\n".join(f"- {', '.join(need.users)}: {need.lacking()}" for need in lacking)
        raise WeightsMissing(
            f"Weights are missing and cannot be downloaded ({reason.split(';')[0]}):\n{lines}\n"
            "Connect to the network, or put these files there, and run again; `texreward weights check` "
            "lists what is present."
        )


def unreachable() -> str:
    """Why the hub cannot be reached, empty where it can: asked once, because its client tries for minutes."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    shown = public_address(constants.ENDPOINT)
    try:
        request = request_for(constants.ENDPOINT, "HEAD", ("https", "http"))
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError:
        return ""  # it answers
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{shown}: {first_line(getattr(error, 'reason', None) or error)}"
    return ""


def obtain(need: Need, say: Callable[[str], None], planned: Download | None = None) -> None:
    """Find or download one thing and check its hash. Raises OSError in one sentence."""
    if need.want is None:
        _obtain_head(need, say)
    elif not need.parts:
        fetch(need.want, say)
    elif need.path() is None:
        planned = planned or planned_download(need)
        say(f"downloading {need.name}")
        download_model(need.want, planned.files)
        if need.want.revision is None and planned.listed is not None:
            say(f"{need.name} is not pinned; this is its revision {planned.listed.commit}")


def _obtain_head(need: Need, say: Callable[[str], None]) -> None:
    path, (url, sha256) = need.path(), need.file
    if path is not None:
        verify(path, sha256)
        return
    from texgen.mesh.mesh import MeshError
    from texgen.mesh.sources import fetch_source

    say(f"downloading {need.name}")
    try:
        fetch_source(url, sha256, "resources")
    except MeshError as error:
        raise WeightsMissing(str(error)) from error


def rows(config: Config, hashes: bool = True) -> list[dict[str, Any]]:
    """One record per file of weights: who uses it, where it is, its size, licence and hash."""
    listed = []
    for need in needs(config):
        path = need.path()
        common = {"used_by": list(need.users), "source": need.name, "present": path is not None}
        if need.want is None:
            common |= {"revision": None, "licence": LAION_HEAD_LICENCE, "where": str(path) if path else None}
            listed.append({**common, **_file(path, need.name, need.sha256, None, hashes)})
            continue
        common |= {"revision": need.want.revision, "licence": need.want.licence}
        common |= {"where": str(path or own_folder(need.want))}
        if need.parts:
            listed += [{**common, **record} for record in _model_files(need.want, need.parts, path, hashes)]
            continue
        heavy = [file for file in need.want.files if not file.name.endswith((".json", ".txt"))]
        if not heavy:
            size = file_sizes(path, need.want.files) if path else None
            listed.append({**common, "file": "settings", "bytes": size or None, "sha256": None, "hash": "-"})
        for file in heavy:
            place = path / file.name if path else None
            listed.append({**common, **_file(place, file.name, file.sha256, file.size, hashes)})
    return listed


def _model_files(
    want: NeededFiles, parts: tuple[ModelFolder, ...], path: Path | None, hashes: bool
) -> list[dict[str, Any]]:
    """One record per file of a diffusion model, small ones in one; of a missing one what it lacks."""
    if path is None:
        return [_file(None, name, None, None, hashes) for name in missing_files(want, parts)]
    names = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
    files, _ = files_of(names, parts, lambda name: (path / name).read_text(encoding="utf-8"))
    small = [name for name in files if name.endswith((".json", ".txt"))]
    found = [
        _file(path / name, name, expected_hash(path / name), None, hashes)
        for name in files
        if name not in small
    ]
    size = sum((path / name).stat().st_size for name in small)
    return [*found, {"file": f"{len(small)} small files", "bytes": size, "sha256": None, "hash": "-"}]


def _file(
    path: Path | None, name: str, expected: str | None, size: int | None, hashes: bool
) -> dict[str, Any]:
    if path is None:
        return {
            "file": name,
            "bytes": size,
            "sha256": expected,
            "hash": "expected" if expected else "unknown",
        }
    found = known_hash(path) if hashes else None
    state = "not read" if found is None else "recorded" if expected is None else "ok"
    if found is not None and expected is not None and found != expected:
        state = "WRONG"
    return {"file": name, "bytes": path.stat().st_size, "sha256": found or expected, "hash": state}
