"""Other text-to-texture methods on the shared core: each is a callable (mesh, prompt, seed, progress)."""
