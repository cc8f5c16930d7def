"""Published weights on disk: found, verified, and missed in one clear sentence."""

import hashlib
import os

import pytest

from rewards.checkpoints.published_files import HPS_FILES, PUBLISHED, NeededFiles, WeightFile, wanted
from rewards.checkpoints.store import WeightsMissing, fetch, find, known_hash, missing, own_folder


@pytest.fixture
def want(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXREWARD_WEIGHTS", str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()
    files = (WeightFile("model.pt", 7, digest), WeightFile("config.json"))
    return NeededFiles("someone/some-model", "0123456789abcdef0123", files, "MIT")


def put(want, **contents):
    folder = own_folder(want)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def test_what_is_missing_is_listed_and_where_it_belongs(want):
    assert find(want) is None
    put(want, config_json=b"{}")
    assert missing(want) == ["model.pt"]
    with pytest.raises(WeightsMissing) as caught:
        fetch(want)
    text = str(caught.value)
    assert "someone/some-model at 0123456789abcdef0123" in text
    assert f"put model.pt into {own_folder(want)}." in text
    assert len(text.splitlines()) == 1


def test_files_that_are_there_are_taken_and_checked(want):
    folder = put(want, config_json=b"{}", model_pt=b"weights")
    assert fetch(want) == folder == find(want)
    assert missing(want) == []
    put(want, model_pt=b"changed")
    with pytest.raises(WeightsMissing, match="has the SHA-256"):
        fetch(want)


def test_a_hash_is_computed_again_only_for_a_changed_file(want):
    path = put(want, model_pt=b"weights") / "model.pt"
    first = known_hash(path)
    stamp = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert known_hash(path) == first  # same size and time: remembered
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    assert known_hash(path) == hashlib.sha256(b"WEIGHTS").hexdigest()


@pytest.mark.parametrize("version", HPS_FILES)
def test_only_the_asked_version_of_hps_is_wanted(version):
    hub = "xswu/HPSv2"
    block = {"folder": None, "hub": hub, "revision": PUBLISHED[hub].revision, "sha256": None}
    need = wanted({"kind": "hpsv2", "version": version, "weights": block})["weights"]
    assert [file.name for file in need.files] == [HPS_FILES[version]]
    other = wanted({"kind": "hpsv2", "version": version, "weights": {**block, "revision": "other"}})[
        "weights"
    ]
    assert other.files[0].sha256 is None  # a known hash belongs to the pinned revision


def test_folders_need_nothing_from_a_hub():
    block = {"folder": "models/clip", "hub": None, "revision": None, "sha256": None}
    assert wanted({"kind": "clipscore", "clip": block, "weights": None}) == {}
