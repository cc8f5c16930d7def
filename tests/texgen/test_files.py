"""Files that are whole or not there, written by a helper that loads no torch."""

import subprocess
import sys

import pytest

from texgen.storage.files import atomic_path, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_crash_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "old.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text("ne")
        assert path.read_text() == "old"
        raise RuntimeError("half way")
    assert path.read_text() == "old" and names(tmp_path) == ["old.txt"]


def test_a_crash_before_the_first_byte_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "new.txt"):
        raise RuntimeError
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "new.txt"):
        pass  # nothing was written, so nothing may appear
    assert names(tmp_path) == []


def test_the_end_of_the_block_puts_the_file_in_place(tmp_path):
    path = tmp_path / "made" / "on the way" / "new.tar.gz"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.startswith(".")
        assert temporary.suffix == path.suffix  # by which libraries choose a format
        with atomic_path(path) as other:  # a second writer of the same file
            assert other != temporary
            other.write_text("2")
        temporary.write_text("1")
    assert path.read_text() == "1" and names(path.parent) == ["new.tar.gz"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "grün\n")
    assert (tmp_path / "a.txt").read_bytes() == "grün\n".encode()


def test_importing_it_loads_no_torch():
    code = "import sys, texgen.storage.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
