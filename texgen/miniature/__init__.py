"""The procedural world on which the embedded miniature models are trained: shapes, materials, captions."""
