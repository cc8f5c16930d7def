"""What the tests of the baselines share: one tiny backbone with every net that some baseline asks for."""

import pytest
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh

ROLES = ("depth", "inpaint", "tile", "uv_position")
# Sizes of every method here; the number of steps is each test's own.
SMALL = {"image_size": 64, "render_size": 64, "texture_size": 32}


@pytest.fixture(scope="package")
def full_backbone(tmp_path_factory):
    return tiny_models.load_sd15_with(tmp_path_factory.mktemp("models"), ROLES)


@pytest.fixture(scope="package")
def ball():
    return sphere_mesh(8)
