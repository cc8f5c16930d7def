"""Valid mesh files with random damage: read as a sound mesh, or refused by the project's own error.

TEXREWARD_EXAMPLES=5000 tries that many per format, other ones at every call; the default is few and fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.examples import few
from reference.mesh_files import valid_files

from texgen.mesh.mesh import MeshError
from texgen.reading.prepare import read_mesh

FEW = few(30)
FILES = valid_files()
# What damaged exporters and hostile hands write where a number stood.
NUMBERS = [b"0", b"-1", b"nan", b"inf", b"1e400", b"4294967295", b"99999999999999999999", b"-9999999", b"1.5"]
PLACE = st.floats(0, 1, exclude_max=True)
CHANGE = st.one_of(
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("cut"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("end"), PLACE, st.just(0)),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("number"), PLACE, st.sampled_from(NUMBERS)),
    st.tuples(st.just("word"), PLACE, st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])),
)


def damaged(data: bytes, changes: list[tuple]) -> bytes:
    """A file after some changes, each at a place given as a share of its length."""
    for kind, place, what in changes:
        at = int(place * len(data))
        if kind == "byte":
            data = data[:at] + bytes([what]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + what :]
        elif kind == "end":
            data = data[:at]
        elif kind == "repeat":
            data = data[:at] + data[at : at + what] * 3 + data[at + what :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "word":
            data = data[:at] + what + data[at + len(what) :]
        else:
            data = with_number(data, at, what)
    return data


def with_number(data: bytes, at: int, number: bytes) -> bytes:
    """The first number in the text from a place on, replaced."""
    digits = b"0123456789.+-e"
    start = next((k for k in range(at, len(data)) if data[k : k + 1] in b"0123456789" and data[k]), len(data))
    end = start
    while end < len(data) and data[end] in digits:
        end += 1
    return data[:start] + number + data[end:]


def check(path) -> None:
    """A mesh with finite vertices and corners that exist, or one sentence that names the file."""
    try:
        vertices, faces, uvs, uv_faces = read_mesh(path)
    except MeshError as error:
        assert path.name in str(error) and "\n" not in str(error) and str(error).endswith(".")
        return
    assert np.isfinite(vertices).all() and len(faces) > 0
    assert faces.min() >= 0 and faces.max() < len(vertices)
    if uvs is not None:
        assert uv_faces.min() >= -1 and uv_faces.max() < len(uvs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def test_the_undamaged_files_are_read(folder):
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
        vertices, faces, _, _ = read_mesh(folder / name)
        assert len(vertices) == 8 and len(faces) == 12, name


@pytest.mark.timeout(60 + FEW.max_examples)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_read_or_refused(name, folder):
    path = folder / name

    @FEW
    @given(st.lists(CHANGE, min_size=1, max_size=4))
    def run(changes):
        path.write_bytes(damaged(FILES[name], changes))
        check(path)

    run()


@pytest.mark.timeout(60 + FEW.max_examples)
@pytest.mark.parametrize("ending", [".obj", ".ply", ".off", ".stl", ".glb", ".gltf"])
def test_any_bytes_are_read_or_refused(ending, folder):
    path = folder / f"noise{ending}"

    @FEW
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode())))
    def run(data):
        path.write_bytes(data)
        check(path)

    run()
