"""Write results: GLB with the texture inside, textures and images as PNG. Files appear under their name only
when they are complete."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from texgen.errors import DamagedFileError
from texgen.mesh.export_parts import surfaces
from texgen.mesh.mesh import Mesh
from texgen.storage.files import atomic_path, read_bytes


def _to_pixels(image: Tensor) -> np.ndarray:
    """[3, H, W] in [0, 1] -> [H, W, 3] uint8, clamped."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"An image must be [3, H, W]; this one is {list(image.shape)}.")
    if not bool(torch.isfinite(image).all()):
        raise ValueError("The image has values that are not finite, so it is not written.")
    pixels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).cpu().numpy()


def to_png(image: Tensor) -> bytes:
    """An image [3, H, W] in [0, 1], row 0 at the top, as a PNG that says that its colours are sRGB."""
    marked, stream = PngInfo(), BytesIO()
    marked.add(b"sRGB", b"\0")
    Image.fromarray(_to_pixels(image)).save(stream, format="PNG", pnginfo=marked)
    return stream.getvalue()


def save_image(path: Path | str, image: Tensor) -> None:
    """Write an image [3, H, W] in [0, 1], row 0 at the top, in the format of its ending."""
    if Path(path).suffix.lower() == ".png":
        with atomic_path(path) as temporary:
            temporary.write_bytes(to_png(image))
        return
    with atomic_path(path) as temporary:
        Image.fromarray(_to_pixels(image)).save(temporary)


def save_texture_png(path: Path | str, texture: Tensor) -> None:
    """Write a texture [3, H, W] in [0, 1] (row 0 at v = 0), so that the PNG's bottom row is v = 0."""
    save_image(path, texture.flip(1))


def load_texture_png(path: Path | str) -> Tensor:
    """Read a texture as [3, H, W] float32 in [0, 1], row 0 at v = 0: the inverse of `save_texture_png`.

    Raises DamagedFileError when the file is not a complete picture.
    """
    try:
        with Image.open(BytesIO(read_bytes(path))) as image:
            pixels = np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise DamagedFileError(
            f"{path} is not a complete image ({error}); delete {Path(path).parent} and texture this asset "
            "again (snakemake --forcerun texture keeps all others)."
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).flip(1).float() / 255


def split_corners(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices as glTF wants them, one per distinct (vertex, uv) pair.

    Returns vertex index [K], uv index [K], faces [F, 3] into the pairs, and the pairs' normals in the
    input's orientation [K, 3].
    """
    corners = np.stack((mesh.faces.cpu().numpy().ravel(), mesh.uv_faces.cpu().numpy().ravel()), axis=1)
    pairs, index = np.unique(corners, axis=0, return_inverse=True)
    normals = (mesh.vertex_normals.double() @ mesh.rotation.double()).cpu().numpy()
    return pairs[:, 0], pairs[:, 1], index.reshape(-1, 3), normals[pairs[:, 0]]


def write_glb(path: Path | str, mesh: Mesh, texture: Tensor) -> None:
    """Write the mesh in the input's coordinates with its texture [3, H, W] in [0, 1] embedded as PNG.

    Nodes, meshes and materials are those of the input, with their names; all materials show the one texture.
    They are diffuse (metallic 0, roughness 1). glTF's v points down, so v is written as 1 - v.
    """
    # Not by trimesh, which reads: it writes one primitive for each mesh, no second uv set and no sampler.
    nodes, parts = surfaces(mesh)
    document = gltf.GLTF2(asset=gltf.Asset(generator="texreward", version="2.0"))
    blob = bytearray()

    def add_view(data: bytes, target: int | None) -> int:
        document.bufferViews.append(
            gltf.BufferView(buffer=0, byteOffset=len(blob), byteLength=len(data), target=target)
        )
        blob.extend(data)
        blob.extend(b"\0" * (-len(blob) % 4))  # views of floats must start at multiples of four bytes
        return len(document.bufferViews) - 1

    def add_accessor(array: np.ndarray, kind: str, component: int, target: int, bounds: bool = False) -> int:
        view = add_view(np.ascontiguousarray(array).tobytes(), target)
        limits = {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()} if bounds else {}
        count = array.size if kind == gltf.SCALAR else len(array)
        document.accessors.append(
            gltf.Accessor(bufferView=view, componentType=component, count=count, type=kind, **limits)
        )
        return len(document.accessors) - 1

    def add_floats(array: np.ndarray, kind: str, bounds: bool = False) -> int:
        return add_accessor(array.astype(np.float32), kind, gltf.FLOAT, gltf.ARRAY_BUFFER, bounds)

    materials: dict[tuple[str | None, bool], int] = {}
    meshes: dict[int, int] = {}  # by node: glTF shows one mesh at each
    for part in parts:
        look = (part.part.material, part.part.double_sided)
        attributes = gltf.Attributes(
            POSITION=add_floats(part.positions, gltf.VEC3, bounds=True),
            NORMAL=add_floats(part.normals, gltf.VEC3),
            TEXCOORD_0=add_floats(part.uvs * (1, -1) + (0, 1), gltf.VEC2),
        )
        if part.second_uvs is not None:
            attributes.TEXCOORD_1 = add_floats(part.second_uvs * (1, -1) + (0, 1), gltf.VEC2)
        indices = add_accessor(
            part.faces.ravel().astype(np.uint32), gltf.SCALAR, gltf.UNSIGNED_INT, gltf.ELEMENT_ARRAY_BUFFER
        )
        number = meshes.setdefault(part.node, len(meshes))
        if number == len(document.meshes):
            document.meshes.append(gltf.Mesh(name=part.part.mesh))
        document.meshes[number].primitives.append(
            gltf.Primitive(
                attributes=attributes, indices=indices, material=materials.setdefault(look, len(materials))
            )
        )
    document.images = [gltf.Image(bufferView=add_view(to_png(texture.flip(1)), None), mimeType="image/png")]
    document.samplers = [
        gltf.Sampler(
            magFilter=gltf.LINEAR,
            minFilter=gltf.LINEAR_MIPMAP_LINEAR,
            wrapS=gltf.CLAMP_TO_EDGE,
            wrapT=gltf.CLAMP_TO_EDGE,
        )
    ]
    document.textures = [gltf.Texture(source=0, sampler=0)]
    for name, double_sided in materials:
        surface = gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=1.0
        )
        document.materials.append(
            gltf.Material(name=name, pbrMetallicRoughness=surface, doubleSided=double_sided)
        )
    for index, node in enumerate(nodes):
        children = [child for child, other in enumerate(nodes) if other.parent == index]
        document.nodes.append(
            gltf.Node(name=node.name, mesh=meshes.get(index), children=children, **node.transform)
        )
    document.scenes = [gltf.Scene(nodes=[index for index, node in enumerate(nodes) if node.parent < 0])]
    document.scene = 0
    document.buffers = [gltf.Buffer(byteLength=len(blob))]
    document.set_binary_blob(bytes(blob))
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(document.save_to_bytes()))
