"""Painting a mesh view by view: presets, scene, state, the pipeline."""
