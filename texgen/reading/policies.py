"""What may become of a file's uvs, by name. Imports nothing of ours, so that every layer can ask."""

from __future__ import annotations

from typing import Literal, get_args

UvPolicy = Literal["auto", "keep", "pack", "unwrap"]
"""What each does is said by `texgen.reading.uv_layout.arrange`."""
POLICIES: tuple[str, ...] = get_args(UvPolicy)
