"""What a long job has finished so far, line by line, so that a killed job goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """Finished units of one job, in a hidden file beside what the job makes: a JSON line per unit.

    target: the file that the job makes. digest: hash of all that it depends on; journals of another hash are
    removed. found: name of each unit that is there -> its value. A last line that was cut off does not count.
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
        if not self.path.is_file():
            return kept
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                name, value = json.loads(line)
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self.found[name] = value
            kept += len(line)
        return kept

    def add(self, name: str, value: Any) -> None:
        """Note a finished unit; it outlives the process, though not a power cut."""
        self.found[name] = value
        self._file.write(json.dumps([name, value], ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def close(self, done: bool) -> None:
        """Close the file; done: what was made of it is written, the journal is not needed any more."""
        self._file.close()
        if done:
            self.path.unlink(missing_ok=True)
