"""Differentiable text-to-texture core."""
