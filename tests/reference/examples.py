"""How many random examples property tests try: few and fixed, or TEXREWARD_EXAMPLES new ones at each call."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

CHOSEN = os.environ.get("TEXREWARD_EXAMPLES")


def few(count: int) -> settings:
    """Settings of a property test that tries `count` examples unless the environment says how many."""
    return settings(
        max_examples=int(CHOSEN or count),
        derandomize=CHOSEN is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
