"""Every module is imported where modules of Unix alone are missing; what those did is then left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIX = ("fcntl", "resource", "grp", "pwd", "termios")
# Other packages need some of these here, so only imports by our own modules fail.
IMPORT_ALL = """
import builtins, importlib, sys

sys.path.insert(0, ROOT)
real = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    if name in UNIX and (globals or {}).get("__name__", "").split(".")[0] in PACKAGES:
        raise ImportError(name + " is blocked")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
for name in NAMES:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    """Every module of the packages, but the programs that do their work when they are imported."""
    packages = [path.parent for path in ROOT.glob("*/py.typed")]
    paths = [path for package in packages for path in sorted(package.rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


@pytest.fixture
def without_unix(monkeypatch):
    import texgen.painting.measured as measured
    import workflow.runtime.locking as locking

    monkeypatch.setattr(measured, "resource", None)
    monkeypatch.setattr(locking, "fcntl", None)
    return measured, locking


def test_all_modules_import_without_modules_of_unix():
    # Code that runs in environments of others' is not imported here: it needs their packages.
    foreign = ("rewards.official.serve", "rewards.official.shims", "rewards.official.scoring_calls")
    names = [name for name in modules() if name not in foreign]
    assert len(names) > 200
    packages = {name.partition(".")[0] for name in names}
    values = f"ROOT, UNIX, PACKAGES, NAMES = {str(ROOT)!r}, {UNIX!r}, {packages!r}, {names!r}"
    code = f"{values}\n{IMPORT_ALL}"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_a_system_does_not_say_is_not_known(without_unix, tmp_path, capfd):
    measured, locking = without_unix
    assert measured.process_peak_bytes() is None
    locking.lock_folder(tmp_path)
    with locking.work_alone(tmp_path / "x.json"):
        pass
    assert capfd.readouterr().err.count("has no locks; start no second run") == 2
