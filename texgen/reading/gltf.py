"""glTF and GLB files to plain arrays, in the coordinates of their scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import MeshPart, Node, RawMesh, Structure, merged
from texgen.reading.gltf_document import Document
from texgen.reading.gltf_surface import DRACO, FAN, TRIANGLES, GltfPrimitive

INSTANCES = "EXT_mesh_gpu_instancing"
GEOMETRY = ("KHR_mesh_quantization", "KHR_texture_transform", INSTANCES, DRACO)
# They change how a surface looks, not where it is; painting replaces the look.
LOOKS = ("KHR_materials_", "KHR_texture_basisu", "EXT_texture_", "KHR_lights_", "MSFT_texture_dds", "KHR_xmp")
TRANSFORM = ("translation", "rotation", "scale", "matrix")


class Reader:
    """One document on its way to triangles; collects what is lost as notes."""

    def __init__(self, document: Document, most_faces: int) -> None:
        self.document, self.most_faces, self.faces = document, most_faces, 0
        self.notes: list[str] = []
        self.parts: list[MeshPart] = []
        self.pieces: list[RawMesh] = []
        self.loose = 0
        self.skinned: list[str] = []

    def read(self) -> RawMesh:
        """All surfaces of the default scene."""
        self._refuse_extensions()
        nodes = self.document.items("nodes")
        order, parents = self._scene(nodes)
        place = {number: at for at, number in enumerate(order)}
        kept = tuple(
            Node(
                name=nodes[number].get("name"),
                parent=place.get(parents.get(number, -1), -1),
                transform={key: list(nodes[number][key]) for key in TRANSFORM if nodes[number].get(key)},
            )
            for number in order
        )
        self.structure = Structure(kept, ())
        for number in order:
            if "mesh" in nodes[number]:
                self._mesh(nodes[number], place[number], place)
        self._losses(nodes)
        structure = Structure(kept, tuple(self.parts))
        found = merged(self.pieces, structure, tuple(self.notes))
        if not self.pieces and self.loose:
            return RawMesh(np.zeros((self.loose, 3)), found.faces, structure=structure)
        return found

    def _refuse_extensions(self) -> None:
        required = [str(each) for each in self.document.json.get("extensionsRequired") or []]
        unknown = [each for each in required if each not in GEOMETRY and not each.startswith(LOOKS)]
        if unknown:
            raise MeshError(
                f"{self.document.path} needs {', '.join(unknown)}, which is not read; export it without."
            )

    def _scene(self, nodes: list[dict]) -> tuple[list[int], dict[int, int]]:
        """The nodes of the scene, parents first, and each one's parent."""
        scenes = self.document.items("scenes")
        children = {
            number: [int(child) for child in node.get("children") or []] for number, node in enumerate(nodes)
        }
        if scenes:
            chosen = int(self.document.json.get("scene", 0))
            roots = [int(each) for each in self.document.item("scenes", chosen).get("nodes") or []]
            if len(scenes) > 1:
                named = scenes[chosen].get("name") or f"number {chosen + 1}"
                self.notes.append(
                    f"The file has {len(scenes)} scenes; only its default one, {named}, is read."
                )
        else:
            below = {child for each in children.values() for child in each}
            roots = [number for number in range(len(nodes)) if number not in below]
        order, parents = [], {}
        waiting = [(root, -1) for root in reversed(roots)]
        while waiting:
            number, parent = waiting.pop()
            self.document.item("nodes", number)
            if number in parents:
                self.notes.append(f"Node {number} is a child more than once; its first place counts.")
                continue
            order.append(number)
            parents[number] = parent
            waiting += [(child, number) for child in reversed(children[number])]
        return order, parents

    def _mesh(self, node: dict[str, Any], at: int, place: dict[int, int]) -> None:
        """The surfaces of the mesh that a node shows."""
        mesh = self.document.item("meshes", int(node["mesh"]))
        weights = [float(each) for each in node.get("weights") or mesh.get("weights") or []]
        if "skin" in node:
            self.skinned.append(str(node.get("name") or mesh.get("name") or f"node {at}"))
        for primitive in mesh.get("primitives") or []:
            if not TRIANGLES <= int(primitive.get("mode", TRIANGLES)) <= FAN:
                self._without_surface(primitive)
                continue
            surface = GltfPrimitive(self.document, primitive, weights)
            material = self._material(primitive)
            for matrices in self._places(node, at, surface, place):
                self.faces += len(surface.faces())
                if self.faces > self.most_faces:
                    raise MeshError(
                        f"{self.document.path} has more than {self.most_faces:,} faces; simplify the mesh."
                    )
                self.parts.append(_part(at, mesh, material))
                self._add(surface, material, matrices)

    def _add(self, surface: GltfPrimitive, material: dict[str, Any], matrices: np.ndarray) -> None:
        """A surface moved by [4, 4], or by one matrix for each vertex [V, 4, 4]."""
        part = len(self.parts) - 1
        with np.errstate(all="ignore"):  # coordinates that are not numbers, or too large, are refused later
            linear, shift = matrices[..., :3, :3], matrices[..., :3, 3]
            moved = np.einsum("...ij,...j->...i", linear, surface.positions) + shift
            normals = None
            if surface.normals is not None:
                # Cofactors turn normals rightly for every matrix, also for one that has no inverse.
                cofactors = np.stack(
                    [np.cross(linear[..., (i + 1) % 3, :], linear[..., (i + 2) % 3, :]) for i in range(3)],
                    axis=-2,
                )
                normals = np.einsum("...ij,...j->...i", cofactors, surface.normals)
        piece = surface.raw(material, part, moved, normals)
        mirrored = np.broadcast_to(np.linalg.det(linear) < 0, (len(moved),))
        if mirrored.any():
            piece = piece.turned(mirrored[piece.faces[:, 0]])
            if normals is not None:  # cofactors of a mirroring matrix point inwards
                normals[mirrored] *= -1
        self.pieces.append(piece)

    def _places(self, node: dict, at: int, surface: GltfPrimitive, place: dict[int, int]) -> list[np.ndarray]:
        """The matrices by which a node shows a surface: one, or one for each instance."""
        if "skin" in node:
            return [self._bones(node, surface, place)]
        world = self.structure.world(at)
        record = (node.get("extensions") or {}).get(INSTANCES)
        if not record:
            return [world]
        given = {key: self.document.accessor(int(i)) for key, i in (record.get("attributes") or {}).items()}
        count = max((len(values) for values in given.values()), default=0)
        found = []
        for i in range(count):
            names = ("translation", "rotation", "scale")
            own = {name: given[name.upper()][i].tolist() for name in names if name.upper() in given}
            found.append(world @ Node(transform=own).matrix())
        return found

    def _bones(self, node: dict, surface: GltfPrimitive, place: dict[int, int]) -> np.ndarray:
        """[V, 4, 4]: what the joints of a skin do to each vertex. The node's own transform does not count."""
        skin = self.document.item("skins", int(node["skin"]))
        joints = [int(each) for each in skin["joints"]]
        if "inverseBindMatrices" in skin:
            bind = self.document.accessor(int(skin["inverseBindMatrices"])).reshape(-1, 4, 4)
            bind = bind.transpose(0, 2, 1)
        else:
            bind = np.broadcast_to(np.eye(4), (len(joints), 4, 4))
        if any(joint not in place for joint in joints) or len(bind) < len(joints):
            raise MeshError(f"{self.document.path} has a damaged skin; export the mesh again.")
        moves = np.stack([self.structure.world(place[j]) @ bind[k] for k, j in enumerate(joints)])
        total, blended = 0.0, np.zeros((len(surface.positions), 4, 4))
        for number in range(8):
            which, weight = (surface.attribute(f"{name}_{number}") for name in ("JOINTS", "WEIGHTS"))
            if which is None or weight is None:
                break
            which = which.astype(np.int64)
            if which.size and (which.min() < 0 or which.max() >= len(joints)):
                raise MeshError(f"{self.document.path} has a damaged skin; export the mesh again.")
            blended += np.einsum("vk,vkij->vij", weight, moves[which])
            total = total + weight.sum(axis=1)
        unbound = np.broadcast_to(total, (len(blended),)) <= 0
        blended[~unbound] /= np.broadcast_to(total, (len(blended),))[~unbound, None, None]
        blended[unbound] = np.eye(4)
        return blended

    def _material(self, primitive: dict) -> dict[str, Any]:
        number = primitive.get("material")
        return {} if number is None else dict(self.document.item("materials", int(number)))

    def _without_surface(self, primitive: dict) -> None:
        index = (primitive.get("attributes") or {}).get("POSITION")
        self.loose += 0 if index is None else int(self.document.item("accessors", int(index))["count"])

    def _losses(self, nodes: list[dict]) -> None:
        """One sentence for each thing that the file holds and the export will not."""
        json, say = self.document.json, self.notes.append
        if self.skinned:
            say(f"The skin of {', '.join(self.skinned[:3])} is not kept: it is exported in its pose.")
        for key, what in (("animations", "animation"), ("cameras", "camera")):
            count = len(json.get(key) or [])
            if count:
                say(f"{count} {what}{'s are' if count > 1 else ' is'} not kept.")
        primitives = [p for mesh in self.document.items("meshes") for p in mesh.get("primitives") or []]
        names = {name for each in primitives for name in each.get("attributes") or {}}
        if any(each.get("targets") for each in primitives):
            say("Morph targets are not kept: the mesh is exported with its default weights.")
        if any(INSTANCES in (node.get("extensions") or {}) for node in nodes):
            say("Instances are exported as separate surfaces, so that each can be painted.")
        if "KHR_lights_punctual" in (json.get("extensionsUsed") or []):
            say("Lights are not kept.")
        if any(name.startswith("COLOR_") for name in names):
            say("Vertex colours are not kept: the texture replaces them.")
        further = [name for name in names if name.startswith("TEXCOORD_") and name[9:] not in ("0", "1")]
        extra = sorted(further + [name for name in names if name.startswith("_")])
        if extra:
            say(f"The vertices' {', '.join(extra)} are not kept.")
        if self.loose and self.pieces:
            say(f"Points and lines ({self.loose} vertices) are not kept.")
        maps = ("normalTexture", "occlusionTexture", "emissiveTexture")
        seen_through = [
            each for each in self.document.items("materials") if each.get("alphaMode") in ("MASK", "BLEND")
        ]
        if seen_through:
            named = ", ".join(str(each.get("name") or "one without a name") for each in seen_through[:3])
            say(f"Transparency is not kept ({named}): what is painted is opaque.")
        others = {name for each in self.document.items("materials") for name in maps if name in each}
        if others:
            say(f"The materials' {', '.join(sorted(others))} are not kept: only the painted colour is.")


def _part(at: int, mesh: dict, material: dict) -> MeshPart:
    return MeshPart(at, mesh.get("name"), material.get("name"), bool(material.get("doubleSided", False)))


def read_gltf(path: Path, most_faces: int) -> RawMesh:
    """Read the default scene of a glTF or GLB file. Raises MeshError."""
    return Reader(Document(path), most_faces).read()
