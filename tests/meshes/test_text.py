"""Text formats as editors and old programs leave them."""

import codecs

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texgen.mesh.mesh import MeshError
from texgen.reading.prepare import prepare
from texgen.reading.read import read_raw
from texgen.reading.text import decode, number, statements

POINTS = [(x, y, z) for x in (0, 2) for y in (0, 1) for z in (0, 1)]
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
OBJ = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS) + "".join(
    "f " + " ".join(str(i + 1) for i in quad) + "\n" for quad in QUADS
)
OFF = "OFF\n8 6 0\n" + "".join(f"{x} {y} {z}\n" for x, y, z in POINTS)
OFF += "".join("4 " + " ".join(map(str, quad)) + "\n" for quad in QUADS)
MARKS = {
    "utf-8": b"",
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


def ply(vertices="", faces=""):
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 6\nproperty list uchar int vertex_indices\nend_header\n"
    body = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS)
    return head + body + "".join("4 " + " ".join(map(str, quad)) + "\n" for quad in QUADS)


def stl():
    lines = ["solid box"]
    for a, b, c, d in QUADS:
        for triangle in ((a, b, c), (a, c, d)):
            corners = "".join(f"vertex {POINTS[i][0]} {POINTS[i][1]} {POINTS[i][2]}\n" for i in triangle)
            lines.append(f"facet normal 0 0 0\nouter loop\n{corners}endloop\nendfacet")
    return "\n".join([*lines, "endsolid box\n"])


FILES = {"box.obj": OBJ, "box.off": OFF, "box.ply": ply(), "box.stl": stl()}


def box_of(path):
    raw = read_raw(path)
    assert len(raw.faces) == 12
    assert raw.vertices[raw.faces.reshape(-1)].max(axis=0).tolist() == [2, 1, 1]
    return raw


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_encoding_is_read(tmp_path, name, encoding, ending):
    plain = encoding.removesuffix("-sig")
    content = MARKS[encoding] + FILES[name].replace("\n", ending).encode(plain)
    (tmp_path / name).write_bytes(content)
    box_of(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_seen(tmp_path, encoding):
    (tmp_path / "box.obj").write_bytes(OBJ.encode(encoding))
    box_of(tmp_path / "box.obj")


@given(st.text(), st.sampled_from(list(MARKS)))
@settings(max_examples=60, deadline=None)
def test_marked_text_comes_back(text, encoding):
    if encoding != "utf-8":
        assert decode(MARKS[encoding] + text.encode(encoding.removesuffix("-sig"), "replace")) == text.encode(
            "utf-8", "replace"
        ).decode("utf-8")


def test_comments_continuations_and_spaces(tmp_path):
    text = OBJ.replace("f 1 2 4 3", "f 1 2 \\\n  4 3   # the left side").replace(
        "v 0 0 0", "v\t0 0 0 # first"
    )
    (tmp_path / "box.obj").write_text("# a box \\\n\n" + text + "\\\n")
    box_of(tmp_path / "box.obj")
    assert list(statements("a \\\r\nb # c\r\n\r\n#d\rg\\")) == [(1, "a  b"), (5, "g")]


def test_numbers_do_not_depend_on_the_locale(tmp_path):
    assert number("1,5") == 1.5 and number("1e-3") == 0.001
    with pytest.raises(ValueError):
        number("1,234.5")
    (tmp_path / "box.obj").write_text(OBJ.replace("v 2 ", "v 2,0 "))
    box_of(tmp_path / "box.obj")


@pytest.mark.parametrize("index", ["/9", "/0", "/-9", "/9/1", "/"])
def test_texture_coordinates_that_are_missing_are_said_and_made(tmp_path, index):
    (tmp_path / "box.obj").write_text(OBJ.replace("f 1 2 4 3", f"f 1{index} 2{index} 4{index} 3{index}"))
    raw = box_of(tmp_path / "box.obj")
    said = [note for note in raw.notes if "the file lacks" in note]
    assert bool(said) == (index != "/") and raw.uvs is None
    assert all("unwrapped anew" in note for note in said if "(vt)" in note)
    assert not prepare(tmp_path / "box.obj", "box").kept_uvs


def test_objects_groups_and_materials_become_parts(tmp_path):
    parts = OBJ.split("f ", 1)
    faces = ("f " + parts[1]).splitlines(keepends=True)
    text = parts[0] + "o Körper A\nusemtl wood\n" + "".join(faces[:2]) + "usemtl iron\n" + "".join(faces[2:4])
    (tmp_path / "box.obj").write_text(text + "o B\n" + "".join(faces[4:]), encoding="utf-8")
    raw = box_of(tmp_path / "box.obj")
    assert [node.name for node in raw.structure.nodes] == ["Körper A", "B"]
    assert [part.material for part in raw.structure.parts] == ["wood", "iron", "iron"]
    assert np.bincount(raw.part).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    "head, row",
    [
        ("OFF 8 6 0\n", "{}"),
        ("# made by\noff\n# counts\n8 6 0\n", "{}"),
        ("COFF\n8 6 0\n", "{} 255 0 0 255"),
        ("NOFF\n8 6 0\n", "{} 0 0 1"),
        ("STOFF\n8 6 0\n", "{} 0.25 0.5"),
        ("STCNOFF\n8 6 0\n", "{} 0 0 1 255 0 0 255 0.25 0.5"),
        ("4OFF\n8 6 0\n", "{} 1"),
        ("8 6 0\n", "{}"),
    ],
)
def test_variants_of_off(tmp_path, head, row):
    text = head + "".join(row.format(f"{x} {y} {z}") + "\n" for x, y, z in POINTS)
    text += "".join("4 " + " ".join(map(str, quad)) + " 255 0 0\n" for quad in QUADS)
    (tmp_path / "box.off").write_text(text)
    raw = box_of(tmp_path / "box.off")
    assert (raw.normals is not None) == head.startswith(("NOFF", "STCN"))
    assert (raw.uvs is not None) == head.startswith("ST")
    if raw.uvs is not None:
        assert raw.uvs[0].tolist() == [0.25, 0.5]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_strips_in_ply(tmp_path, form):
    head = f"ply\nformat {form} 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    points = np.array([(i // 2, i % 2, 0) for i in range(6)], dtype=np.float32)
    strip = np.array([0, 1, 2, 3, -1, 2, 3, 4, 5])
    if form == "ascii":
        body = (
            "\n".join(" ".join(map(str, row)) for row in points.tolist()) + "\n9 " + " ".join(map(str, strip))
        )
        body = body.encode()
    else:
        order = "<" if "little" in form else ">"
        body = points.astype(order + "f4").tobytes() + np.array([9, *strip]).astype(order + "i4").tobytes()
    (tmp_path / "strip.ply").write_bytes(head.encode() + body)
    raw = read_raw(tmp_path / "strip.ply")
    assert raw.faces.tolist() == [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("wedges", [True, False])
def test_uvs_in_ply(tmp_path, form, wedges):
    names = "" if wedges else "property float s\nproperty float t\n"
    head = (
        f"ply\nformat {form} 1.0\nelement vertex 4\nproperty double x\nproperty float y\nproperty float z\n"
    )
    head += names + "element face 2\nproperty list uchar int vertex_indices\n"
    head += ("property list uchar float texcoord\n" if wedges else "") + "end_header\n"
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    uv = [(0, 0), (0.5, 0), (0.5, 0.25), (0, 0.25)]
    faces = [(0, 1, 2), (0, 2, 3)]
    order = ">" if "big" in form else "<"
    body = b""
    for point, place in zip(points, uv, strict=True):
        row = [*point, *(() if wedges else place)]
        if form == "ascii":
            body += (" ".join(map(str, row)) + "\n").encode()
        else:
            body += np.array(row[:1]).astype(order + "f8").tobytes()
            body += np.array(row[1:]).astype(order + "f4").tobytes()
    for face in faces:
        corners = [x for i in face for x in uv[i]] if wedges else []
        if form == "ascii":
            words = [3, *face, *([6, *corners] if wedges else [])]
            body += (" ".join(map(str, words)) + "\n").encode()
        else:
            body += bytes([3]) + np.array(face).astype(order + "i4").tobytes()
            body += (bytes([6]) + np.array(corners).astype(order + "f4").tobytes()) if wedges else b""
    (tmp_path / "square.ply").write_bytes(head.encode() + body)
    raw = read_raw(tmp_path / "square.ply")
    assert np.allclose(raw.uvs[raw.uv_faces], np.array(uv)[np.array(faces)])


def test_what_is_no_text_is_said(tmp_path):
    (tmp_path / "box.off").write_text("OFF BINARY\n")
    with pytest.raises(MeshError, match="export it as OBJ"):
        read_raw(tmp_path / "box.off")
