"""Published checkpoints of scorers: where they are, and how their tensors become those of transformers."""
