"""The watching of `conftest.py` notices what it is there for."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


class Trap:
    def __reduce__(self):
        return (os.getcwd, ())


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: Path("elsewhere").write_text("x"), "elsewhere"),
        (lambda: open("elsewhere", "ab").close(), "elsewhere"),
        (lambda: Path("folder").mkdir(), "folder"),
        (lambda: Path("nowhere").unlink(missing_ok=True), "nowhere"),
        (lambda: shutil.rmtree(Path("deep/inside").mkdir(parents=True) or "deep"), "deep/inside"),
        (lambda: os.system("true"), "os.system"),
        (lambda: subprocess.run([sys.executable, "--version"], capture_output=True), "subprocess.Popen"),
        (lambda: pickle.loads(pickle.dumps(Trap())), "pickle.find_class"),
    ],
)
def test_it_is_noted(act, said, tmp_path, monkeypatch, watched):
    monkeypatch.chdir(tmp_path)
    act()
    assert any(said in each for each in watched)
    watched.clear()


def test_reading_is_not_noted(tmp_path, watched):
    before = list(watched)
    assert Path(__file__).read_text()
    assert watched == before
