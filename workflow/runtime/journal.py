"""What a long job has finished so far, line by line, so that a killed job goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from texgen.storage.files import read_bytes
from workflow.provenance import content_hash


class Journal:
    """Finished units of one job, in a hidden file beside what the job makes: a JSON line per unit.

    target: the file that the job makes. digest: hash of all that it depends on; journals of another hash are
    removed. found: name of each unit that is there -> its value. Every line ends with a hash of itself; from
    the first line on that was cut off or changed, nothing counts.
    """

    def __init__(self, target: str | Path, digest: str) -> None:
        target = Path(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path = target.with_name(f".{target.name}.{digest[:16]}.journal")
        for other in target.parent.glob(f".{target.name}.*.journal"):
            if other != self.path:
                other.unlink(missing_ok=True)
        self.found: dict[str, Any] = {}
        kept = self._read()
        # Opened for appending behind the last whole line.
        self._file = open(self.path, "ab")
        self._file.truncate(kept)

    def _read(self) -> int:
        """Fill `found`; the number of bytes of whole lines."""
        kept = 0
        try:
            data = read_bytes(self.path)
        except FileNotFoundError:
            return kept
        for line in data.splitlines(keepends=True):
            try:
                name, value, check = json.loads(line)
            except (ValueError, TypeError, RecursionError):
                break
            if not line.endswith(b"\n") or check != content_hash([name, value])[:16]:
                break
            self.found[name] = value
            kept += len(line)
        return kept

    def add(self, name: str, value: Any) -> None:
        """Note a finished unit; it outlives the process, though not a power cut."""
        self.found[name] = value
        self._file.write(json.dumps([name, value, content_hash([name, value])[:16]]).encode() + b"\n")
        self._file.flush()

    def close(self, done: bool) -> None:
        """Close the file; done: what was made of it is written, the journal is not needed any more."""
        self._file.close()
        if done:
            self.path.unlink(missing_ok=True)
