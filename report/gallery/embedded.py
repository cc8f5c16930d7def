"""What the gallery embeds: geometry as quantised glTF buffers, textures and turntables as JPEG."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from report.pictures import PICTURE_BACKGROUND, MeshPictures, pixels, texture_pixels
from texgen.mesh.export import split_corners
from texgen.mesh.mesh import Mesh

FRAMES, FRAME_SIZE = 16, 160
TEXTURE_SIDE = 512
FLOAT_OF_SHORT = 32767.0


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a data: address of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg(picture: np.ndarray, quality: int) -> str:
    """A picture [H, W, 3] uint8 as a data: address, without chroma subsampling."""
    out = BytesIO()
    # Pillow's optimize=True codes into a buffer of fixed size, which a mottled texture overflows.
    Image.fromarray(picture).save(out, format="JPEG", quality=quality, subsampling=0)
    return data_uri(out.getvalue(), "image/jpeg")


class Turntable:
    """Pre-rendered pictures of one mesh from all around; one strip per texture."""

    def __init__(self, mesh: Mesh, frames: int = FRAMES, size: int = FRAME_SIZE) -> None:
        azimuths = [30.0 + 360.0 * k / frames for k in range(frames)]
        self.look = MeshPictures(mesh, azimuths, 15.0, size, background=PICTURE_BACKGROUND)

    def strip(self, texture: Tensor) -> str:
        """All frames side by side, a JPEG of [size, frames * size]."""
        return jpeg(np.concatenate([pixels(frame) for frame in self.look(texture)], axis=1), quality=84)


def texture_image(texture: Tensor, side: int = TEXTURE_SIDE) -> str:
    """The texture as glTF reads it: v = 0 in the bottom row."""
    return jpeg(texture_pixels(texture, side=side), quality=92)


def gltf_geometry(mesh: Mesh) -> dict[str, Any]:
    """A glTF document of the working mesh without its image, as plain JSON.

    Positions are 16 bit, normals 8 bit and uv 16 bit (KHR_mesh_quantization), so that a mesh weighs a
    quarter of its float form; the node's scale undoes the quantisation. The page adds `images`.
    """
    vertex, uv, faces, _ = split_corners(mesh)
    points = mesh.vertices.cpu().numpy()[vertex]
    scale = float(np.abs(points).max())
    positions = np.zeros((len(points), 4), dtype=np.int16)  # glTF wants every vertex to start at 4 bytes
    positions[:, :3] = np.round(points / scale * FLOAT_OF_SHORT)
    normals = np.zeros((len(points), 4), dtype=np.int8)
    normals[:, :3] = np.round(mesh.vertex_normals.cpu().numpy()[vertex] * 127)
    texcoords = mesh.uvs.cpu().numpy()[uv] * [1, -1] + [0, 1]  # glTF's v points down
    texcoords = np.round(np.clip(texcoords, 0, 1) * 65535).astype(np.uint16)
    indices = faces.ravel().astype(np.uint16 if len(points) < 65536 else np.uint32)

    blob, views = bytearray(), []
    for array, stride, target in ((positions, 8, 34962), (normals, 4, 34962), (texcoords, 4, 34962)):
        views.append(
            {"byteOffset": len(blob), "byteLength": array.nbytes, "byteStride": stride, "target": target}
        )
        blob += array.tobytes()
    views.append({"byteOffset": len(blob), "byteLength": indices.nbytes, "target": 34963})
    blob += indices.tobytes()
    count = len(points)
    low, high = positions[:, :3].min(axis=0).tolist(), positions[:, :3].max(axis=0).tolist()
    return {
        "asset": {"version": "2.0", "generator": "texreward"},
        "extensionsUsed": ["KHR_mesh_quantization"],
        "extensionsRequired": ["KHR_mesh_quantization"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [scale] * 3}],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}
                ]
            }
        ],
        "materials": [
            {
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 1.0,
                },
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "accessors": [
            {"bufferView": 0, "componentType": 5122, "normalized": True, "count": count, "type": "VEC3",
             "min": low, "max": high},
            {"bufferView": 1, "componentType": 5120, "normalized": True, "count": count, "type": "VEC3"},
            {"bufferView": 2, "componentType": 5123, "normalized": True, "count": count, "type": "VEC2"},
            {"bufferView": 3, "componentType": 5123 if indices.itemsize == 2 else 5125,
             "count": len(indices), "type": "SCALAR"},
        ],
        "bufferViews": [{"buffer": 0, **view} for view in views],
        "buffers": [{"byteLength": len(blob), "uri": data_uri(bytes(blob), "application/octet-stream")}],
    }  # fmt: skip
