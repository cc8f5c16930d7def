"""Fields of a mesh that geometric rewards need: curvature, and directions in the texture."""
