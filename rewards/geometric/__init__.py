"""Rewards that compare the texture with the geometry of its mesh, on the uv texture."""
