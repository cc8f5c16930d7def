"""Cameras, visible faces, differentiable images of a textured mesh, and its atlas."""
