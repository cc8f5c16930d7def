"""Fine-tuning of the painter by gradients of a reward of its textures."""
