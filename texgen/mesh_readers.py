"""Mesh files to plain arrays: OBJ by our own reader, the other formats by trimesh.

trimesh drops which face corner uses which vt when it loads OBJ, and stumbles over relative indices; both
matter here, because seams must survive. Nothing here repairs anything; `mesh_io` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from texgen.mesh import MeshError
from texgen.mesh_claims import refuse_costly_cuts, refuse_impossible_claims

FORMATS = {".obj": "OBJ", ".ply": "PLY", ".off": "OFF", ".stl": "STL", ".glb": "GLB", ".gltf": "glTF"}
# A scene may show one part many times, so that a small file becomes a huge mesh.
MOST_FACES = 10_000_000
# Cutting a polygon takes the square of its corners at best.
MOST_CORNERS = 4096


@dataclass(frozen=True, eq=False)
class RawMesh:
    """What a file says, as triangles.

    vertices: [V, 3] float64. faces: [F, 3] int64. uvs: [T, 2] float64, v up, and uv_faces: [F, 3] int64 with
    -1 where a corner has no uv; both None when the file has no uvs.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray | None
    uv_faces: np.ndarray | None


def read_raw(path: Path | str) -> RawMesh:
    """Read a mesh file by its ending. Raises MeshError when it is missing, unreadable or without faces."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        known = ", ".join(FORMATS.values())
        raise MeshError(
            f"{path} does not end like a mesh format that can be read ({known}); convert it to one."
        )
    try:
        present = path.is_file()
    except OSError as error:  # e.g. a name that is too long
        raise MeshError(f"{str(path)[:200]} cannot be opened ({error.strerror}); check the path.") from error
    if not present:
        raise MeshError(f"There is no mesh file {path}; check the path.")
    if path.stat().st_size == 0:
        raise MeshError(f"{path} is empty; export the mesh again.")
    raw = _read_obj(path) if kind == ".obj" else _read_with_trimesh(path)
    if len(raw.faces) == 0:
        if len(raw.vertices):
            raise MeshError(f"{path} holds {len(raw.vertices)} points and no faces; export it as a surface.")
        raise MeshError(f"{path} holds no faces; export the mesh again, with its geometry.")
    if raw.faces.min() < 0 or raw.faces.max() >= len(raw.vertices):
        raise MeshError(f"{path} has a face that names a vertex that does not exist; export the mesh again.")
    return raw


def _read_obj(path: Path) -> RawMesh:
    positions: list[list[float]] = []
    texcoords: list[list[float]] = []
    polygons: list[tuple[int, list[tuple[int, int]]]] = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").splitlines()
    except OSError as error:
        raise MeshError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0] not in ("v", "vt", "f"):
            continue  # normals are recomputed; groups and materials are merged
        try:
            if words[0] == "v":
                x, y, z = words[1:4]  # colours may follow
                positions.append([float(x), float(y), float(z)])
            elif words[0] == "vt":
                texcoords.append([float(words[1]), float(words[2]) if len(words) > 2 else 0.0])
            else:
                counts = (len(positions), len(texcoords))
                polygons.append((number, [_corner(word, counts) for word in words[1:]]))
                if len(words) > MOST_CORNERS:
                    raise MeshError(
                        f"{path}, line {number}: a face of {len(words) - 1} corners is too much; triangulate "
                        "the mesh and export it again."
                    )
        except MeshError:
            raise
        except (ValueError, IndexError):
            raise MeshError(
                f"{path}, line {number}: '{line.strip()[:60]}' is not valid OBJ; export the mesh again."
            ) from None
    vertices = np.array(positions, dtype=np.float64).reshape(-1, 3)
    for number, polygon in polygons:
        for position, texcoord in polygon:
            if not 0 <= position < len(vertices) or texcoord >= len(texcoords):
                raise MeshError(
                    f"{path}, line {number}: the face names a vertex that does not exist; export it again."
                )
    table = _cut(vertices, [polygon for _, polygon in polygons], path)
    if not texcoords:
        return RawMesh(vertices, table[..., 0], None, None)
    return RawMesh(vertices, table[..., 0], np.array(texcoords, dtype=np.float64), table[..., 1])


def _corner(word: str, counts: tuple[int, int]) -> tuple[int, int]:
    """'v', 'v/vt', 'v//vn' or 'v/vt/vn' -> zero-based (position, texcoord); texcoord -1 = none.

    Negative numbers count back from the last vertex read so far.
    """
    parts = word.split("/")
    position = int(parts[0])
    position = position - 1 if position > 0 else counts[0] + position if position < 0 else -1
    if len(parts) < 2 or not parts[1]:
        return position, -1
    texcoord = int(parts[1])
    if texcoord == 0 or counts[1] + texcoord < 0:
        raise ValueError("texture coordinates count from 1")
    return position, texcoord - 1 if texcoord > 0 else counts[1] + texcoord


def _cut(vertices: np.ndarray, polygons: list[list[tuple[int, int]]], path: Path) -> np.ndarray:
    """Polygons of (position, texcoord) corners -> triangles [F, 3, 2]. Fewer than three corners make none."""
    pieces = [np.zeros((0, 3, 2), dtype=np.int64)]
    by_size: dict[int, list] = {}
    for polygon in polygons:
        by_size.setdefault(len(polygon), []).append(polygon)
    work = 0.0
    for n in sorted(size for size in by_size if size >= 3):
        table = np.array(by_size[n], dtype=np.int64)
        with np.errstate(all="ignore"):  # coordinates that are no numbers, or too large, are refused later
            convex = is_convex(vertices[table[..., 0]])
            fan = np.arange(1, n - 1)[:, None] + [0, 1]
            fan = np.concatenate((np.zeros((n - 2, 1), dtype=np.int64), fan), axis=1)
            pieces.append(table[convex][:, fan].swapaxes(0, 1).reshape(-1, 3, 2))
            work = refuse_costly_cuts(path, work, n, int((~convex).sum()))
            for corners in table[~convex]:
                pieces.append(corners[np.array(cut_ears(vertices[corners[:, 0]]))])
    return np.concatenate(pieces)


def is_convex(points: np.ndarray) -> np.ndarray:
    """[P, n, 3] polygons -> [P] bool: every corner turns the way the polygon does."""
    edges = np.roll(points, -1, axis=1) - points
    normals = np.cross(points - points[:, :1], edges).sum(axis=1, keepdims=True)
    turns = (np.cross(np.roll(edges, 1, axis=1), edges) * normals).sum(axis=-1)
    return (turns >= 0).all(axis=1)


def cut_ears(points: np.ndarray) -> list[tuple[int, int, int]]:
    """Cut a polygon [n, 3], convex or not, into n - 2 triangles of its corners, ear by ear.

    What has no ear (a polygon that crosses itself, or without area) is cut as a fan.
    """
    edges = np.roll(points, -1, axis=0) - points
    normal = np.cross(points - points[0], edges).sum(axis=0)
    left, ring = np.arange(len(points)), _in_plane(points, normal)
    cuts = []
    k = idle = 0
    while len(left) > 3:
        if idle == len(left):  # a whole round without an ear
            return cuts + [(int(left[0]), int(left[i]), int(left[i + 1])) for i in range(1, len(left) - 1)]
        k %= len(left)
        if _is_ear(ring, k):
            cuts.append((int(left[k - 1]), int(left[k]), int(left[(k + 1) % len(left)])))
            left, ring = np.delete(left, k), np.delete(ring, k, axis=0)
            idle = 0
        else:
            # Going on from here, not from the beginning, keeps polygons of thousands of corners cheap.
            k += 1
            idle += 1
    return [*cuts, (int(left[0]), int(left[1]), int(left[2]))]


def _in_plane(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """[n, 2]: points in the plane across a normal, in which turning left is turning about the normal."""
    length = np.linalg.norm(normal)
    if not length > 0:
        return np.zeros((len(points), 2))
    normal = normal / length
    first = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    first /= np.linalg.norm(first)
    return points @ np.stack((first, np.cross(normal, first)), axis=1)


def _is_ear(ring: np.ndarray, k: int) -> bool:
    """Whether corner k of a polygon [n, 2] turns left and no other corner lies in its triangle."""
    corners = [k - 1 if k else len(ring) - 1, k, (k + 1) % len(ring)]
    start, tip, end = ring[corners]

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[0] - p[0]) * (r[..., 1] - q[1]) - (q[1] - p[1]) * (r[..., 0] - q[0])

    if not turn(start, tip, end) > 0:
        return False
    inside = (turn(start, tip, ring) >= 0) & (turn(tip, end, ring) >= 0) & (turn(end, start, ring) >= 0)
    inside[corners] = False
    return not inside.any()


def _read_with_trimesh(path: Path) -> RawMesh:
    """All triangle geometries of the scene, in the scene's coordinates."""
    total = 0
    try:
        refuse_impossible_claims(path)
        scene = trimesh.load_scene(path, process=False)
        parts, points = [], []
        for node in scene.graph.nodes_geometry:
            matrix, name = scene.graph[node]
            geometry = scene.geometry[name]
            vertices = getattr(geometry, "vertices", np.zeros((0, 3)))
            points.append(np.asarray(vertices, dtype=np.float64))
            if len(getattr(geometry, "faces", ())):
                total += len(geometry.faces)
                if total > MOST_FACES:
                    raise MeshError(f"{path} has more than {MOST_FACES:,} faces; simplify the mesh.")
                parts.append((_transformed(points[-1], matrix), *_faces_and_uvs(geometry, matrix)))
    except MeshError:
        raise
    except Exception as error:  # every loader raises its own kinds for a broken file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise MeshError(
            f"{path} cannot be read as {FORMATS[path.suffix.lower()]} ({reason}); export the mesh again."
        ) from error
    if not parts:
        loose = np.concatenate(points) if points else np.zeros((0, 3))
        return RawMesh(loose, np.zeros((0, 3), dtype=np.int64), None, None)
    offsets = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts])
    faces = np.concatenate([faces + offset for (_, faces, _), offset in zip(parts, offsets, strict=False)])
    vertices = np.concatenate([vertices for vertices, _, _ in parts])
    if all(uvs is None for _, _, uvs in parts):
        return RawMesh(vertices, faces, None, None)
    # These formats keep one uv per vertex, so the corners in the uvs are the corners in the vertices.
    uvs = [np.zeros((len(v), 2)) if uv is None else uv for v, _, uv in parts]
    has = np.concatenate([np.full(len(f), uv is not None) for _, f, uv in parts])
    return RawMesh(vertices, faces, np.concatenate(uvs), np.where(has[:, None], faces, -1))


def _transformed(vertices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # coordinates that are no numbers, or too large, are refused later
        return vertices @ matrix[:3, :3].T + matrix[:3, 3]


def _faces_and_uvs(geometry: trimesh.Trimesh, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    faces = np.asarray(geometry.faces, dtype=np.int64)
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]  # a mirroring node turns the surface inside out
    uvs = getattr(geometry.visual, "uv", None)
    if uvs is None or len(uvs) != len(geometry.vertices):
        return faces, None
    return faces, np.asarray(uvs, dtype=np.float64)[:, :2]
