"""Where meshes come from: a file, an address with a checksum, a sample of pymeshlab, a formula."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

from texgen.mesh.formats import FORMATS, source_forms
from texgen.mesh.mesh import MeshError
from texgen.mesh.procedural import write_shape
from texgen.storage.downloads import DownloadError, download, file_name, public_address, shown_source
from texgen.storage.files import atomic_path
from texgen.storage.plain_text import shortened

TIMEOUT_SECONDS = 60  # without news from a server


def fetch_source(source: str, sha256: str | None, cache_dir: Path | str) -> Path:
    """The local file of a source, made or downloaded when it is not there yet.

    source: `file:<path>`, `https://<address>` (sha256 required; kept in `cache_dir`), `pymeshlab:<sample>` or
    `procedural:<shape>` (written to `cache_dir`). sha256: 64 hexadecimal digits, checked for every kind when
    given. Raises MeshError with one sentence when there is no such file, the address cannot be reached or the
    checksum differs; nothing is left under the final name then.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "https":
        return _download(source, sha256, Path(cache_dir))
    if scheme == "file":
        path = Path(rest)
        try:
            present = path.is_file()
        except OSError as error:  # e.g. a name that is too long
            raise MeshError(
                f"{shortened(source)} cannot be opened ({error.strerror}); check the path in the mesh table."
            ) from error
        if not present:
            special = " regular" if path.exists() else ""
            raise MeshError(
                f"{shortened(source)}: there is no such{special} file; check the path in the mesh table."
            )
    elif scheme == "pymeshlab":
        path = _pymeshlab_sample(rest)
    elif scheme == "procedural":
        path = write_shape(rest, Path(cache_dir) / f"procedural-{rest}.obj")
    else:
        raise MeshError(f"'{shortened(shown_source(source))}' is not a mesh source; write {source_forms()}.")
    if sha256:
        _verify(path, source, sha256)
    return path


def pymeshlab_samples() -> dict[str, Path]:
    """The sample meshes that the installed pymeshlab carries, by file name without ending.

    The package is only located, never imported, so its native libraries are not needed.
    """
    try:
        root = importlib.metadata.distribution("pymeshlab").locate_file("pymeshlab/tests/sample_meshes")
    except importlib.metadata.PackageNotFoundError:
        raise MeshError("pymeshlab is not installed; install it, or use meshes from other sources.") from None
    files = sorted(path for path in Path(str(root)).rglob("*") if path.suffix.lower() in FORMATS)
    return {path.stem: path for path in files}


def _pymeshlab_sample(name: str) -> Path:
    samples = pymeshlab_samples()
    if name not in samples:
        raise MeshError(f"pymeshlab carries no mesh {name!r}; it has {', '.join(samples) or 'none'}.")
    return samples[name]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, shown: str, sha256: str) -> None:
    found = _digest(path)
    if found != sha256.lower():
        raise MeshError(
            f"{shown} has the SHA-256 {found}, not {sha256}; check the file, then the mesh table."
        )


def _download(address: str, sha256: str | None, cache: Path) -> Path:
    shown = public_address(address)
    if not sha256:
        raise MeshError(f"{shown} has no SHA-256; give one, so that what is downloaded can be checked.")
    try:
        target = cache / f"{sha256[:16].lower()}-{file_name(address)}"
    except DownloadError as error:
        raise MeshError(str(error)) from error
    if target.is_file() and _digest(target) == sha256.lower():
        return target
    with atomic_path(target) as temporary:
        try:
            download(address, temporary, idle_seconds=TIMEOUT_SECONDS)
        except DownloadError as error:
            text = str(error)
            if not text.endswith("."):
                text += f"; connect to the network, or put the file at {target}."
            raise MeshError(text) from error
        _verify(temporary, shown, sha256)
    return target
