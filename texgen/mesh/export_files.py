"""Textured meshes in the formats beside GLB: OBJ with MTL and PNG, PLY with a PNG, USDZ."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
from torch import Tensor

from texgen.errors import PlainError, package_trouble
from texgen.mesh.export import save_texture_png, to_png, write_glb
from texgen.mesh.export_parts import ExportedPart, surfaces
from texgen.mesh.mesh import Mesh
from texgen.storage.files import atomic_path, write_text


def write_textured(path: Path | str, mesh: Mesh, texture: Tensor) -> list[str]:
    """Write the mesh with its texture [3, H, W] in [0, 1] in the format of the path's ending.

    Returns what the format cannot hold, one sentence each. Raises PlainError for a missing package and
    ValueError for another ending.
    """
    path = Path(path)
    writers = {".glb": write_glb, ".obj": write_obj, ".ply": write_ply, ".usdz": write_usdz}
    if path.suffix.lower() not in writers:
        raise ValueError(f"{path} does not end in one of {', '.join(writers)}.")
    return writers[path.suffix.lower()](path, mesh, texture) or []


def write_obj(path: Path, mesh: Mesh, texture: Tensor) -> list[str]:
    """OBJ in the input's coordinates, with NAME.mtl and NAME.png beside it."""
    nodes, parts = surfaces(mesh)
    placed = [_world(nodes, part) for part in parts]
    library, image = path.with_suffix(".mtl"), path.with_suffix(".png")
    lines = [f"mtllib {library.name}"]
    start, shown = 1, None
    for part, (positions, normals) in zip(parts, placed, strict=True):
        name = _word(nodes[part.node].name or part.part.mesh or mesh.name)
        if name != shown:
            lines.append(f"o {name}")
            shown = name
        lines += [f"v {x:.15g} {y:.15g} {z:.15g}" for x, y, z in positions.tolist()]
        lines += [f"vt {u:.9g} {v:.9g}" for u, v in part.uvs.tolist()]
        lines += [f"vn {x:.7g} {y:.7g} {z:.7g}" for x, y, z in normals.tolist()]
        lines.append(f"usemtl {_word(part.part.material or mesh.name)}")
        faces = _outwards(nodes, part) + start
        lines += [f"f {a}/{a}/{a} {b}/{b}/{b} {c}/{c}/{c}" for a, b, c in faces.tolist()]
        start += len(positions)
    materials = dict.fromkeys(_word(part.part.material or mesh.name) for part in parts)
    blocks = [f"newmtl {each}\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {image.name}\n" for each in materials]
    save_texture_png(image, texture)
    write_text(library, "\n".join(blocks))
    write_text(path, "\n".join(lines) + "\n")
    return _losses(mesh, "OBJ", names=False)


def write_ply(path: Path, mesh: Mesh, texture: Tensor) -> list[str]:
    """Binary PLY in the input's coordinates (float64), with NAME.png beside it, as MeshLab reads it."""
    nodes, parts = surfaces(mesh)
    placed = [_world(nodes, part) for part in parts]
    offsets = np.cumsum([0] + [len(positions) for positions, _ in placed])
    faces = np.concatenate([_outwards(nodes, part) + at for part, at in zip(parts, offsets, strict=False)])
    names = ("x", "y", "z", "nx", "ny", "nz", "s", "t")
    columns = np.concatenate(
        [np.concatenate((*place, part.uvs), axis=1) for part, place in zip(parts, placed, strict=True)]
    )
    kinds = [(name, "<f8" if index < 3 else "<f4") for index, name in enumerate(names)]
    vertices = np.empty(len(columns), dtype=kinds)
    for index, name in enumerate(names):
        vertices[name] = columns[:, index]
    table = np.empty(len(faces), dtype=[("n", "u1"), ("corners", "<i4", 3)])
    table["n"], table["corners"] = 3, faces
    image = path.with_suffix(".png")
    header = ["ply", "format binary_little_endian 1.0", f"comment TextureFile {image.name}"]
    header.append(f"element vertex {len(vertices)}")
    header += [f"property {'double' if index < 3 else 'float'} {name}" for index, name in enumerate(names)]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    save_texture_png(image, texture)
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(header).encode() + vertices.tobytes() + table.tobytes())
    return _losses(mesh, "PLY", names=True)


def write_usdz(path: Path, mesh: Mesh, texture: Tensor) -> list[str]:
    """USDZ by Pixar's usd-core, for viewers of Apple's and for studios: one mesh per part, metres, +y up."""
    try:
        from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils
    except ImportError as error:
        raise PlainError(
            f"USDZ is written by usd-core, but {package_trouble('pxr', error)}; pip install usd-core."
        ) from error
    nodes, parts = surfaces(mesh)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "texture.png").write_bytes(to_png(texture.flip(1)))
        stage = Usd.Stage.CreateNew(str(Path(folder) / "scene.usdc"))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = UsdGeom.Xform.Define(stage, "/Root")
        stage.SetDefaultPrim(root.GetPrim())
        material = _usd_material(stage, Sdf, UsdShade)
        used: dict[str, int] = {}
        for part in parts:
            name = re.sub(r"\W", "_", part.part.mesh or mesh.name) or "mesh"
            name = name if name[0].isalpha() or name[0] == "_" else f"_{name}"
            used[name] = used.get(name, 0) + 1
            name = name if used[name] == 1 else f"{name}_{used[name]}"
            shape = UsdGeom.Mesh.Define(stage, f"/Root/{name}")
            shape.AddTransformOp().Set(Gf.Matrix4d(*_matrix(nodes, part).T.reshape(-1).tolist()))
            shape.CreatePointsAttr(part.positions.astype(np.float32))
            shape.CreateFaceVertexCountsAttr([3] * len(part.faces))
            shape.CreateFaceVertexIndicesAttr(part.faces.reshape(-1).astype(np.int32))
            shape.CreateNormalsAttr(part.normals.astype(np.float32))
            shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
            shape.CreateSubdivisionSchemeAttr("none")
            shape.CreateDoubleSidedAttr(part.part.double_sided)
            shape.CreateExtentAttr([part.positions.min(axis=0).tolist(), part.positions.max(axis=0).tolist()])
            coordinates = UsdGeom.PrimvarsAPI(shape).CreatePrimvar(
                "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
            )
            coordinates.Set(part.uvs.astype(np.float32))
            UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)
        stage.Save()
        with atomic_path(path) as temporary:
            if not UsdUtils.CreateNewUsdzPackage(str(Path(folder) / "scene.usdc"), str(temporary)):
                raise PlainError(f"{path} could not be written by usd-core; choose another format.")
    return _losses(mesh, "USDZ", names=True)


def _usd_material(stage, sdf, shade):
    """The material of all parts: the texture as sRGB colour, rough, not metallic."""
    material = shade.Material.Define(stage, "/Root/Painted")
    surface = shade.Shader.Define(stage, "/Root/Painted/Surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", sdf.ValueTypeNames.Float).Set(1.0)
    surface.CreateInput("metallic", sdf.ValueTypeNames.Float).Set(0.0)
    reader = shade.Shader.Define(stage, "/Root/Painted/Coordinates")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", sdf.ValueTypeNames.String).Set("st")
    image = shade.Shader.Define(stage, "/Root/Painted/Texture")
    image.CreateIdAttr("UsdUVTexture")
    image.CreateInput("file", sdf.ValueTypeNames.Asset).Set("texture.png")
    image.CreateInput("sourceColorSpace", sdf.ValueTypeNames.Token).Set("sRGB")
    image.CreateInput("wrapS", sdf.ValueTypeNames.Token).Set("clamp")
    image.CreateInput("wrapT", sdf.ValueTypeNames.Token).Set("clamp")
    image.CreateInput("st", sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.CreateOutput("result", sdf.ValueTypeNames.Float2)
    )
    surface.CreateInput("diffuseColor", sdf.ValueTypeNames.Color3f).ConnectToSource(
        image.CreateOutput("rgb", sdf.ValueTypeNames.Float3)
    )
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", sdf.ValueTypeNames.Token))
    return material


def _matrix(nodes, part: ExportedPart) -> np.ndarray:
    """[4, 4] from a surface's node to the scene."""
    found, number = np.eye(4), part.node
    while number >= 0:
        found = nodes[number].matrix() @ found
        number = nodes[number].parent
    return found


def _world(nodes, part: ExportedPart) -> tuple[np.ndarray, np.ndarray]:
    """Positions and unit normals of a surface in the input's coordinates."""
    matrix = _matrix(nodes, part)
    positions = part.positions @ matrix[:3, :3].T + matrix[:3, 3]
    normals = part.normals @ np.linalg.inv(matrix[:3, :3])
    return positions, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)


def _outwards(nodes, part: ExportedPart) -> np.ndarray:
    """The faces as they are wound in the scene: a mirroring node turns them."""
    return part.faces[:, ::-1] if np.linalg.det(_matrix(nodes, part)[:3, :3]) < 0 else part.faces


def _word(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip()) or "mesh"


def _losses(mesh: Mesh, kind: str, names: bool) -> list[str]:
    structure, lost = mesh.structure, []
    if names and len(structure.parts) > 1:
        lost.append(f"{kind} keeps no materials' names; the texture is one for all parts.")
    if len(structure.nodes) > 1:
        lost.append(f"{kind} is written without the hierarchy of {len(structure.nodes)} nodes.")
    if mesh.second_uvs is not None:
        lost.append(f"{kind} is written without the second uv set.")
    return lost
