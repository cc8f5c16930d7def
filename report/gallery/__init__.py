"""The gallery: every texture of a run in one HTML file."""
