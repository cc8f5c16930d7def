"""What becomes of uvs: tiles, parts in one square, mirrored halves, policies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texgen.mesh.parts import MeshPart, RawMesh, Structure
from texgen.reading.uv_layout import MOST_CELLS, arrange, shared_share

FEW = settings(max_examples=30, deadline=None)


def squares(places, side=0.9, parts=None):
    """Unit squares in space, each with a square of uvs at a place, its lower left corner."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    vertices = np.concatenate([np.c_[corners + (2 * i, 0), np.zeros(4)] for i in range(len(places))])
    uvs = np.concatenate([corners * side + place for place in places])
    faces = np.concatenate([np.array([(0, 1, 2), (0, 2, 3)]) + 4 * i for i in range(len(places))])
    part = np.repeat(np.arange(len(places)) if parts is None else np.array(parts), 2)
    structure = Structure(parts=tuple(MeshPart(material=str(i)) for i in range(int(part.max()) + 1)))
    return RawMesh(vertices, faces, uvs, faces, part=part, structure=structure)


@FEW
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=1), st.integers(1, 3))
def test_a_layout_in_another_tile_is_moved(tile, count):
    offset = np.array(tile[0])
    places = [offset + (i / 3 + 0.01, 0.3) for i in range(count)]
    raw = squares(places, 0.3, [0] * count)
    found = arrange(raw, "auto")
    assert found.problem is None and np.allclose(found.uvs, raw.uvs - offset)
    assert np.array_equal(found.uv_faces, raw.uv_faces) and bool(found.notes) == bool(offset.any())


def test_a_layout_across_tiles_is_moved_and_a_repeating_one_is_given_up():
    raw = squares([(0.5, 0.2)], 0.9)
    assert np.allclose(arrange(raw, "keep").uvs, raw.uvs - raw.uvs.min(axis=0))
    found = arrange(squares([(0.0, 0.0)], 3.0), "keep")
    assert found.uvs is None and "several tiles" in found.problem
    assert "u from 0 to 3, v from 0 to 3" in found.problem


@FEW
@given(st.integers(2, MOST_CELLS), st.sampled_from(["auto", "pack"]), st.booleans())
def test_parts_in_one_square_are_packed(count, policy, tiles):
    places = [(0.02 + (i if tiles else 0), 0.05) for i in range(count)]  # udims, or all on each other
    raw = squares(places)
    found = arrange(raw, policy)
    assert found.uvs.min() >= 0 and found.uvs.max() <= 1
    assert shared_share(found.uvs, found.uv_faces, raw.part) == 0.0
    assert any(f"{count} parts" in note for note in found.notes)
    sizes = [np.ptp(found.uvs[found.uv_faces[raw.part == i]], axis=(0, 1)) for i in range(count)]
    assert np.allclose(sizes, sizes[0])  # equal scale
    columns = int(np.ceil(np.sqrt(count)))
    assert sizes[0][0] > 0.8 * 0.9 / columns


def test_keep_leaves_what_is_there():
    raw = squares([(0.02, 0.05)] * 2)
    found = arrange(raw, "keep")
    assert np.array_equal(found.uvs, raw.uvs) and shared_share(raw.uvs, raw.uv_faces, raw.part) > 0.4


def test_parts_that_share_an_atlas_stay_and_join_cells():
    raw = squares([(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)], 0.45)
    found = arrange(raw, "auto")
    assert np.array_equal(found.uvs, raw.uvs) and found.notes == ()
    raw = squares([(0.0, 0.0), (0.5, 0.0), (0.0, 0.0), (0.5, 0.0)], 0.45)  # two atlases on each other
    assert "2 layouts" in arrange(raw, "auto").notes[-1]


def test_mirrored_halves_of_one_part_are_kept():
    raw = squares([(0.05, 0.05)] * 2, parts=[0, 0])
    found = arrange(raw, "auto")
    assert np.array_equal(found.uvs, raw.uvs) and found.problem is None


def test_too_many_parts_are_unwrapped_with_the_reason():
    found = arrange(squares([(0.02, 0.05)] * (MOST_CELLS + 3)), "auto")
    assert found.uvs is None and "too many to be packed" in found.problem


@pytest.mark.parametrize("policy", ["auto", "keep", "pack"])
def test_incomplete_uvs_are_named(policy):
    raw = squares([(0.0, 0.0)] * 2)
    raw.uv_faces[0, 0] = -1
    assert "missing on 1 of 4 faces" in arrange(raw, policy).problem
    assert arrange(raw, "unwrap").problem is None
