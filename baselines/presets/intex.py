"""Published settings of InTeX (arXiv 2403.11878), a preset of the shared painter. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from texgen.painting.method_facts import painter_facts
from texgen.painting.presets import PRESETS

_PAINTER = painter_facts(PRESETS["intex"])
# Only training paints softly.
FACTS = replace(_PAINTER, ignores=(*_PAINTER.ignores, "soft_sharpness"))
