"""Rewards and scores: differentiable measures of a textured mesh and of its renders."""
