"""Records that prove themselves, stamps of files, and files that are read only where they are files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference.damages import DAMAGES
from reference.outcomes import check_sentence

from texgen.errors import DamagedFileError
from texgen.storage import records
from texgen.storage.files import atomic_path, open_lock, read_bytes
from workflow.runtime.step_errors import plain_sentence

VALUE = {"asset": "a--b--0", "seconds": 1.5, "text": "é 🧨 \ud800", "list": [1, None, True], "none": {}}


@pytest.mark.parametrize("value", [VALUE, {}, {"a": "\n"}, {records.SEAL: "not ours"}])
def test_a_record_comes_back_as_it_was_written(tmp_path, value):
    path = tmp_path / "run.json"
    records.write_record(path, value)
    expected = {key: each for key, each in value.items() if key != records.SEAL}
    assert records.read_record(path) == expected
    assert json.loads(path.read_text()).keys() == {records.SEAL, *expected}  # plain JSON for everybody else


@pytest.mark.parametrize("how", [name for name in DAMAGES if name != "unreadable"])
def test_every_damage_of_a_record_is_named(tmp_path, how):
    path, other = tmp_path / "run.json", tmp_path / "other.json"
    records.write_record(path, VALUE)
    other.write_text(json.dumps({"a": 1}))
    DAMAGES[how](path, other)
    assert records.find_record(path) is None and not records.is_whole(path)
    with pytest.raises((DamagedFileError, OSError)) as caught:
        records.read_record(path)
    check_sentence(plain_sentence(caught.value), str(path))


def test_every_single_byte_counts(tmp_path):
    path = tmp_path / "run.json"
    records.write_record(path, {"a": 1, "b": [2.5, "x"]})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert records.find_record(path) is None, at
        path.write_bytes(whole[:at])
        assert records.find_record(path) is None, at


def test_a_stamp_tells_what_happened_to_a_file(tmp_path):
    path = tmp_path / "texture.png"
    path.write_bytes(b"12345")
    stamp = records.stamp(path)
    assert records.difference(path, stamp) is None
    os.utime(path)  # another time, the same bytes
    assert records.difference(path, stamp) is None
    path.write_bytes(b"12346")
    assert records.difference(path, stamp) == "was changed after it was written"
    path.write_bytes(b"1234")
    assert records.difference(path, stamp) == "has 4 bytes and had 5 when it was written"
    path.unlink()
    assert records.difference(path, stamp) == "is missing"
    path.mkdir()
    assert records.difference(path, stamp) == "is a folder"
    path.rmdir()
    os.mkfifo(path)
    assert records.difference(path, stamp) == "is a pipe or a device"
    path.unlink()
    path.symlink_to(path.name)
    assert records.difference(path, stamp).startswith("cannot be read (")
    assert records.difference(path, None) == "is not in its record"


def test_a_file_whose_size_and_time_are_known_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "texture.png"
    path.write_bytes(b"12345")
    stamp = records.stamp(path)
    monkeypatch.setattr(records, "hash_file", lambda path: pytest.fail("was read"))
    assert records.difference(path, stamp) is None
    os.utime(path, ns=(0, stamp["mtime_ns"] // 10**9 * 10**9))  # as an archive gives it back
    assert records.difference(path, stamp) is None


def test_pipes_and_devices_are_no_input_and_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DamagedFileError, match="is a pipe or a device"):
            read_bytes(path)
    with pytest.raises(DamagedFileError, match="at most 2 are read"):
        (tmp_path / "long").write_bytes(b"123")
        read_bytes(tmp_path / "long", 2)
    with pytest.raises(DamagedFileError, match="not a path"):
        read_bytes("a\0b")
    assert time.monotonic() - began < 20


KILLED = """
import os, sys
from texgen.storage.files import atomic_path
with atomic_path(sys.argv[1]) as path:
    path.write_bytes(bytes(1000))
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path):
    target = tmp_path / "checkpoint.pt"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", KILLED, str(target)], env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
    assert len(list(tmp_path.iterdir())) == 1  # the second took that of the first away
    with atomic_path(target) as mine:
        mine.write_bytes(b"x")
        with atomic_path(target) as other:  # of a process that lives
            other.write_bytes(b"y")
        assert mine.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to ask")
def test_a_killed_writer_that_nobody_has_buried_does_not_count_as_alive(tmp_path):
    """In a container whose first process waits for nobody, the numbers of killed jobs stay taken."""
    target = tmp_path / "quality.json"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, "-c", KILLED, str(target)], env=environment) as killed:
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not buried
        assert len(list(tmp_path.iterdir())) == 1
        with atomic_path(target) as mine:
            mine.write_bytes(b"x")
        assert [path.name for path in tmp_path.iterdir()] == ["quality.json"]


def test_a_folder_in_a_files_place_is_named(tmp_path):
    (tmp_path / "table.md").mkdir()
    with pytest.raises(IsADirectoryError) as caught, atomic_path(tmp_path / "table.md") as path:
        path.write_text("x")
    check_sentence(
        plain_sentence(caught.value), str(tmp_path / "table.md"), "a folder is in the place of a file"
    )


def test_a_lock_neither_follows_a_link_nor_empties_a_file(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "link").symlink_to(precious)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(DamagedFileError, match="must be a plain file to be locked"):
            open_lock(tmp_path / name)
    os.close(open_lock(precious))
    assert precious.read_text() == "precious"
