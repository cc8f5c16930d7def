"""From a file to a mesh that can be painted: readers, winding, normals, uvs."""
