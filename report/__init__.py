"""Statistics, tables and contact sheets over scores and textures on disk. Nothing here imports a model."""
