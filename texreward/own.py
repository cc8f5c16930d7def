"""The packages of this project are imported from beside this one, whatever lies in the working directory.

They have plain names (`workflow`, `report`, `baselines` ...), as folders have in which people work, and
Python looks there first when a program runs by `python -m`, in a notebook or at the prompt. Standard library
alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]
PACKAGES = ("texgen", "rewards", "baselines", "report", "workflow")


class OwnPackages(MetaPathFinder):
    """Finds the packages of this project in `HOME`, before anything else is asked."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's place, None for all that is not ours: modules in a package are found by its place."""
        if path is not None or name not in PACKAGES:
            return None
        return PathFinder.find_spec(name, [str(HOME)], target)


def keep_own_packages() -> None:
    """From now on, import this project's packages from `HOME`.

    Raises ImportError with one sentence where another package of such a name has been imported before.
    """
    for name in PACKAGES:
        module = sys.modules.get(name)
        places = [] if module is None else [str(HOME / name), *getattr(module, "__path__", [])]
        if module is not None and Path(places[-1]).resolve() != HOME / name:
            where = getattr(module, "__file__", None) or places[-1]
            raise ImportError(
                f"{where} was imported as {name!r}, which is a package of texreward, too; import texreward "
                "first, or rename that file or folder."
            )
    if not any(isinstance(each, OwnPackages) for each in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages())
