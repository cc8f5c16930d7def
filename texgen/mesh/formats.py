"""Where meshes come from, and which formats are read and written. Imports nothing."""

FORMATS = {".obj": "OBJ", ".ply": "PLY", ".off": "OFF", ".stl": "STL", ".glb": "GLB", ".gltf": "glTF"}
"""By the ending of the file, read by `texgen.reading.read`."""
WRITTEN = (".glb", ".obj", ".ply", ".usdz")
"""Written by `texgen.mesh.export_files`."""
SOURCES = {"file": "PATH", "https": "//ADDRESS", "pymeshlab": "SAMPLE", "procedural": "SHAPE"}
"""Kinds of sources that `texgen.mesh.sources.fetch_source` knows, and what follows the colon of each."""


def source_forms(last: str = "or") -> str:
    """The forms of all sources as a phrase for errors; last: the word before the last one."""
    *first, final = (f"{kind}:{what}" for kind, what in SOURCES.items())
    return f"{', '.join(first)} {last} {final}"
