"""What will be downloaded: names and sizes, asked before anything is. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from texgen.storage.model_files import SCORER, files_of
from workflow.weights.diffusion_weights import Listing, listing, to_download

if TYPE_CHECKING:
    from workflow.weights.published import Need


@dataclass(frozen=True)
class Download:
    """What is to be downloaded of one repository or address. files: bytes by name, None = not known."""

    files: dict[str, int | None]
    listed: Listing | None = None


def planned_download(need: Need) -> Download:
    """Names and sizes of what will be downloaded. Raises WeightsMissing when the hub does not answer."""
    if need.want is None:
        return Download({need.name: None})
    if need.parts:
        listed, files = to_download(need.want, need.parts)
        return Download({name: listed.sizes[name] for name in files}, listed)
    known = {file.name: file.size for file in need.want.files}
    if all(size is not None for size in known.values()) and known:
        return Download(known)
    sizes = listing(need.want).sizes
    names = known or files_of(sizes, SCORER)[0]
    return Download({name: sizes.get(name) for name in names})


def announcement(planned: Mapping[Need, Download]) -> list[str]:
    """One line per repository, and the total."""
    lines, total, unknown = [], 0, 0
    for need, download in planned.items():
        sizes = [size for size in download.files.values() if size is not None]
        total += sum(sizes)
        unknown += len(download.files) - len(sizes)
        revision = f"@{need.want.revision[:12]}" if need.want and need.want.revision else ""
        count = f"{len(download.files)} file{'' if len(download.files) == 1 else 's'}"
        lines.append(f"to download: {need.name}{revision}, {count}, {size_text(sum(sizes))}")
    more = f", and {unknown} of unknown size" if unknown else ""
    lines.append(f"to download in all: {size_text(total)}{more}")
    return lines


def size_text(count: int | None) -> str:
    """Bytes as a short decimal text."""
    if count is None:
        return "-"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count} B"
