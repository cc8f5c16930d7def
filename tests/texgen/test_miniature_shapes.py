import numpy as np
import pytest

from texgen.miniature import shapes_primitives as primitives
from texgen.miniature.caption_words import NAMES
from texgen.miniature.shapes import HELD_OUT, LONGEST_SIDE, RANDOM_FAMILIES, SHAPES, make_shape


def volume(part: primitives.Part) -> float:
    """Signed volume by the divergence theorem: positive when closed and outward."""
    a, b, c = (part[0][part[1][:, k]].astype(float) for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def is_closed(part: primitives.Part) -> bool:
    """Every directed edge between two places is met by its opposite."""
    _, place = np.unique(np.round(part[0], 9), axis=0, return_inverse=True)
    faces = place.reshape(-1)[part[1]]
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    edges = edges[edges[:, 0] != edges[:, 1]]
    count: dict[tuple[int, int], int] = {}
    for a, b in edges.tolist():
        count[a, b] = count.get((a, b), 0) + 1
    return all(count.get((b, a)) == n for (a, b), n in count.items())


@pytest.mark.parametrize("name", list(SHAPES))
def test_shape_is_valid(name):
    vertices, faces = make_shape(name, np.random.default_rng(0))
    assert vertices.dtype == np.float32 and faces.dtype == np.int64
    assert np.isfinite(vertices).all()
    assert 100 <= len(faces) <= 8000
    assert faces.min() == 0 and faces.max() == len(vertices) - 1
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0
    low, high = vertices.min(0), vertices.max(0)
    assert np.allclose(low + high, 0, atol=1e-5)
    assert np.isclose((high - low).max(), LONGEST_SIDE, atol=1e-5)
    assert volume((vertices, faces)) > 0


@pytest.mark.parametrize("name", ["chair", "creature", "star"])
def test_same_generator_same_shape(name):
    first, again, other = (make_shape(name, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert first[0].shape != other[0].shape or not np.allclose(first[0], other[0])


def test_names_are_not_held_out():
    assert len(SHAPES) >= 44
    called = {word for names in NAMES.values() for name in names for word in name.split()}
    assert not HELD_OUT & (set(SHAPES) | called)
    assert set(NAMES) <= set(SHAPES)
    assert set(RANDOM_FAMILIES) <= set(SHAPES)
    with pytest.raises(KeyError, match="bunny"):
        make_shape("bunny", np.random.default_rng(0))


CIRCLE = np.stack([np.cos(np.arange(40) / 40 * 2 * np.pi), np.sin(np.arange(40) / 40 * 2 * np.pi)], axis=1)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (primitives.box((1, 2, 3)), 6),
        (primitives.ball((1, 2, 0.5), level=4), 4 / 3 * np.pi),
        (primitives.frustum(1, 1, 2, segments=200), 2 * np.pi),
        (primitives.frustum(1, 0, 3, segments=200), np.pi),
        (primitives.torus(1, 0.25, segments=100), 2 * np.pi**2 / 16),
        (primitives.capsule(0.5, 2, segments=100), np.pi * 0.25 + np.pi / 6),
        (primitives.stick((0, 0, 0), (1, 2, 2), 0.5, segments=100), 3 * np.pi / 4),
        (primitives.extrude(CIRCLE, 2), 2 * np.pi),
        (primitives.extrude([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)][::-1], 1), 3),
        (primitives.mirrored(primitives.box((1, 1, 1), (2, 0, 0))), 2),
        (primitives.organic([((0, 0, 0), (0, 0, 0), 1, 1)], 0.01), 4 / 3 * np.pi),
    ],
)
def test_primitives_are_closed_with_known_volume(part, expected):
    assert is_closed(part)
    assert volume(part) == pytest.approx(expected, rel=0.05)


def test_turn_follows_the_right_hand():
    point = (np.array([[1.0, 0, 0]]), np.zeros((0, 3), dtype=np.int64))
    assert np.allclose(primitives.turn(point, "z", 90)[0], [[0, 1, 0]])
    assert np.allclose(primitives.turn(point, "y", 90)[0], [[0, 0, -1]])


def test_crossing_outline_is_refused():
    with pytest.raises(ValueError, match="simple polygon"):
        primitives.extrude([(0, 0), (0, 1), (0, 2), (0, 3)], 1)
