"""The mesh in memory, where meshes come from, and how a textured one is written."""
