"""The diffusion model: loading, sampling, adapters, what it is shown of a view."""
