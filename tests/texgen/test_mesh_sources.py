"""Sources: files, checksums, samples of pymeshlab, shapes from formulas, downloads from a local server."""

import hashlib
import io
import urllib.error

import numpy as np
import pytest

from texgen.mesh.mesh import MeshError
from texgen.mesh.procedural import ABSTRACT, SHAPES
from texgen.mesh.sources import fetch_source, pymeshlab_samples
from texgen.miniature.shapes import SHAPES as TRAINING_WORLD
from texgen.reading.prepare import prepare_mesh, read_mesh
from texgen.storage import downloads

ADDRESS = "https://example.org/models/thing.obj"
CONTENT = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_file_source_and_its_checksum(tmp_path):
    path = tmp_path / "thing.obj"
    path.write_bytes(CONTENT)
    assert fetch_source(f"file:{path}", "", tmp_path) == path
    assert fetch_source(f"file:{path}", DIGEST, tmp_path) == path
    with pytest.raises(MeshError, match="SHA-256"):
        fetch_source(f"file:{path}", "0" * 64, tmp_path)
    with pytest.raises(MeshError, match="no such file"):
        fetch_source(f"file:{tmp_path}/nothing.obj", None, tmp_path)
    with pytest.raises(MeshError, match="not a mesh source"):
        fetch_source("ftp://example.org/a.obj", DIGEST, tmp_path)


def test_pymeshlab_samples_are_found_without_importing_it(tmp_path):
    samples = pymeshlab_samples()
    assert {"bunny", "cow", "airplane", "bone"} <= set(samples)
    assert fetch_source("pymeshlab:bone", None, tmp_path) == samples["bone"]
    with pytest.raises(MeshError, match="carries no mesh 'dragon'"):
        fetch_source("pymeshlab:dragon", None, tmp_path)


def test_sample_with_relative_indices_keeps_its_uvs():
    vertices, faces, uvs, uv_faces = read_mesh(pymeshlab_samples()["bunny10k_textured"])
    assert faces.shape == (9999, 3) and uvs.shape == (6451, 2) and (uv_faces >= 0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_closed_and_wound_outwards(name):
    vertices, faces = SHAPES[name]()
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)  # consistently wound
    assert all((b, a) in forward for a, b in forward)  # no boundary
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    assert (a * np.cross(b, c)).sum() > 0
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0
    assert name not in ABSTRACT or name not in TRAINING_WORLD


def test_procedural_source_is_written_once_read_again(tmp_path):
    path = fetch_source("procedural:superellipsoid", None, tmp_path)
    first = path.read_bytes()
    assert fetch_source("procedural:superellipsoid", None, tmp_path).read_bytes() == first
    mesh, warnings = prepare_mesh(path, "box")
    assert warnings == [] and len(mesh.faces) == 6912
    with pytest.raises(MeshError, match="choose one of trefoil"):
        fetch_source("procedural:dodo", None, tmp_path)


def serve(monkeypatch, content):
    asked = []

    def answer(request, watch):
        asked.append(request.full_url)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(downloads, "open_address", answer)
    return asked


def test_download_is_verified_kept_and_not_repeated(tmp_path, monkeypatch):
    asked = serve(monkeypatch, CONTENT)
    path = fetch_source(ADDRESS, DIGEST, tmp_path / "cache")
    assert path.read_bytes() == CONTENT and path.suffix == ".obj"
    assert fetch_source(ADDRESS, DIGEST.upper(), tmp_path / "cache") == path
    assert asked == [ADDRESS]
    path.write_bytes(b"torn")  # a damaged copy is fetched again
    assert fetch_source(ADDRESS, DIGEST, tmp_path / "cache").read_bytes() == CONTENT


def test_download_with_a_wrong_checksum_leaves_nothing(tmp_path, monkeypatch):
    serve(monkeypatch, b"something else")
    with pytest.raises(MeshError, match="SHA-256"):
        fetch_source(ADDRESS, DIGEST, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(MeshError, match="has no SHA-256"):
        fetch_source(ADDRESS, "", tmp_path)


def test_download_offline_says_what_to_do(tmp_path, monkeypatch):
    serve(monkeypatch, urllib.error.URLError("Name or service not known"))
    with pytest.raises(MeshError, match="connect to the network, or put the file at"):
        fetch_source(ADDRESS, DIGEST, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
