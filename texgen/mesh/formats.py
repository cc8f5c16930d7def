"""Which mesh formats are read and written, by the ending of the file. Imports nothing."""

FORMATS = {".obj": "OBJ", ".ply": "PLY", ".off": "OFF", ".stl": "STL", ".glb": "GLB", ".gltf": "glTF"}
"""Read by `texgen.reading.read`."""
WRITTEN = (".glb", ".obj", ".ply", ".usdz")
"""Written by `texgen.mesh.export_files`."""
