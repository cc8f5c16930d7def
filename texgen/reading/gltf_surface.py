"""The triangles of one glTF primitive: strips and fans, morphs, packed attributes, compression."""

from __future__ import annotations

from typing import Any

import numpy as np

from texgen.errors import package_trouble
from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import RawMesh
from texgen.reading.gltf_document import Document

TRIANGLES, STRIP, FAN = 4, 5, 6
DRACO = "KHR_draco_mesh_compression"
# What a material's uvs are for, in order of preference: its base colour, else any other map.
MAPS = ("normalTexture", "occlusionTexture", "emissiveTexture")


def triangles(mode: int, index: np.ndarray) -> np.ndarray:
    """[F, 3] of a primitive's vertex indices [N], by its mode; every second one of a strip is turned."""
    if mode == TRIANGLES:
        return index[: len(index) // 3 * 3].reshape(-1, 3)
    if mode == STRIP:
        found = np.stack((index[:-2], index[1:-1], index[2:]), axis=1)
        found[1::2] = found[1::2][:, [0, 2, 1]]
        return found
    found = np.stack((index[1:-1], index[2:], np.full(max(len(index) - 2, 0), index[0])), axis=1)
    return found


class GltfPrimitive:
    """One primitive of a document: positions, triangles, uvs, normals, in the mesh's coordinates."""

    def __init__(self, document: Document, primitive: dict[str, Any], weights: list[float]) -> None:
        self.document, self.primitive = document, primitive
        self.attributes: dict[str, int] = dict(primitive.get("attributes") or {})
        self.compressed = _draco(document, primitive)
        positions = self.attribute("POSITION")
        if positions is None:
            raise MeshError(f"{document.path} has a part without positions; export the mesh again.")
        self.positions = _columns(document, positions, 3)
        normals = self.attribute("NORMAL")
        self.normals = None if normals is None else _columns(document, normals, 3)
        for target, weight in zip(primitive.get("targets") or [], weights, strict=False):
            if weight and "POSITION" in target:
                self.positions = self.positions + weight * document.accessor(int(target["POSITION"]))
            if weight and self.normals is not None and "NORMAL" in target:
                self.normals = self.normals + weight * document.accessor(int(target["NORMAL"]))
        self.index = self._index()

    def attribute(self, name: str) -> np.ndarray | None:
        """An attribute of the vertices, decoded; None where the primitive lacks it."""
        if name in self.compressed:
            return self.compressed[name]
        return self.document.accessor(int(self.attributes[name])) if name in self.attributes else None

    def _index(self) -> np.ndarray:
        count = len(self.positions)
        if "faces" in self.compressed:
            index = self.compressed["faces"]
        elif "indices" in self.primitive:
            index = self.document.accessor(int(self.primitive["indices"]), normalise=False)
        else:
            index = np.arange(count)
        if index.ndim != 1 or (len(index) and (index.min() < 0 or index.max() >= count)):
            raise MeshError(
                f"{self.document.path} has a face that names a vertex that does not exist; export the mesh "
                "again."
            )
        return index.astype(np.int64)

    def faces(self) -> np.ndarray:
        """[F, 3] corners in the primitive's vertices."""
        mode = TRIANGLES if "faces" in self.compressed else int(self.primitive.get("mode", TRIANGLES))
        return triangles(mode, self.index)

    def layouts(self, material: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(uvs [V, 2] that the material's texture uses, a second set that the file has), v up, or None."""
        info = texture_info(material)
        moved = (info.get("extensions") or {}).get("KHR_texture_transform") or {}
        number = int(moved.get("texCoord", info.get("texCoord", 0)))
        first, moved = self.attribute(f"TEXCOORD_{number}"), moved or {}
        if first is None:
            number, first, moved = 0, self.attribute("TEXCOORD_0"), {}
        second = self.attribute("TEXCOORD_1" if number == 0 else "TEXCOORD_0")
        return _upwards(first, moved), _upwards(second, {})

    def raw(self, material: dict[str, Any], part: int, positions: np.ndarray, normals) -> RawMesh:
        """The primitive as a surface, with positions and normals already moved where they belong."""
        faces = self.faces()
        uvs, second = self.layouts(material)
        return RawMesh(
            vertices=positions,
            faces=faces,
            uvs=uvs,
            uv_faces=None if uvs is None else faces,
            normals=normals,
            normal_faces=None if normals is None else faces,
            part=np.full(len(faces), part, dtype=np.int64),
            second_uvs=second,
            second_faces=None if second is None else faces,
        )


def texture_info(material: dict[str, Any]) -> dict[str, Any]:
    """The reference of a material to the texture that its uvs are for; empty where it has none."""
    surface = material.get("pbrMetallicRoughness") or {}
    extensions = material.get("extensions") or {}
    glossy = extensions.get("KHR_materials_pbrSpecularGlossiness") or {}
    found = [surface.get("baseColorTexture"), glossy.get("diffuseTexture")]
    found += [surface.get("metallicRoughnessTexture"), *(material.get(name) for name in MAPS)]
    return dict(next((each for each in found if each), {}))


def _columns(document: Document, values: np.ndarray, width: int) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != width:
        raise MeshError(f"{document.path} has an attribute of the wrong kind; export the mesh again.")
    return values.astype(np.float64)


def _upwards(uvs: np.ndarray | None, moved: dict[str, Any]) -> np.ndarray | None:
    """uvs as the texture is read by them, v up: KHR_texture_transform applied, then v turned."""
    if uvs is None or uvs.ndim != 2 or uvs.shape[1] != 2:
        return None
    scale = np.array(moved.get("scale", (1, 1)), dtype=np.float64)
    angle = float(moved.get("rotation", 0.0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found = (uvs * scale) @ turn.T + np.array(moved.get("offset", (0, 0)), dtype=np.float64)
    return found * (1, -1) + (0, 1)


def _draco(document: Document, primitive: dict[str, Any]) -> dict[str, np.ndarray]:
    """Attributes and "faces" of a primitive that is compressed by Draco; empty where it is not."""
    record = (primitive.get("extensions") or {}).get(DRACO)
    if not record:
        return {}
    try:
        import DracoPy
    except ImportError as error:
        if DRACO not in (document.json.get("extensionsRequired") or []):
            return {}  # the plain accessors are there as well
        raise MeshError(
            f"{document.path} needs {DRACO}, and {package_trouble('DracoPy', error)}; pip install DracoPy, "
            "or export without compression."
        ) from error
    content, _ = document.view(int(record["bufferView"]))
    decoded = DracoPy.decode(content)
    by_number = {each["unique_id"]: each for each in decoded.attributes}
    found = {"faces": np.asarray(decoded.faces, dtype=np.int64).reshape(-1)}
    for name, number in record["attributes"].items():
        if number not in by_number:
            raise MeshError(f"{document.path}: {name} is not in its Draco data; export the mesh again.")
        values = np.asarray(by_number[number]["data"])
        accessor = document.item("accessors", int(primitive["attributes"][name]))
        if accessor.get("normalized") and values.dtype.kind in "iu":
            values = np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)
        found[name] = values.astype(np.float64)
    return found
