"""The file of a prepared mesh: what is written is read again, and what is old or broken is refused."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from reference.tiny_meshes import sphere_mesh

from texgen.geometry.prepared import FORMAT, PreparedGeometry, prepare_geometry
from texgen.mesh.mesh import MeshError


@pytest.fixture(scope="module")
def geometry():
    return prepare_geometry(sphere_mesh(), 16)


def same(one, other):
    for each in fields(one):
        a, b = getattr(one, each.name), getattr(other, each.name)
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b), each.name
        elif isinstance(a, float):
            assert a == b, each.name
        else:
            same(a, b)


def test_what_is_written_is_read_again(geometry, tmp_path):
    geometry.save(tmp_path / "g.npz")
    same(geometry, PreparedGeometry.load(tmp_path / "g.npz"))
    same(geometry, geometry.to("cpu"))
    assert geometry.plane.normal.dtype == torch.float64


def test_old_and_broken_files_are_refused(geometry, tmp_path):
    with pytest.raises(MeshError, match="run the step"):
        PreparedGeometry.load(tmp_path / "none.npz")
    np.savez(tmp_path / "bad.npz", anisotropy=np.array([{}], dtype=object))
    with pytest.raises(MeshError, match="not a prepared geometry|prepare the mesh again"):
        PreparedGeometry.load(tmp_path / "bad.npz")
    # The first format had no number and no mirror plane.
    np.savez(tmp_path / "old.npz", anisotropy=geometry.anisotropy.numpy())
    with pytest.raises(MeshError, match=f"has format 1 .* reads format {FORMAT}; prepare the mesh again"):
        PreparedGeometry.load(tmp_path / "old.npz")
    geometry.save(tmp_path / "g.npz")
    with np.load(tmp_path / "g.npz") as stored:
        arrays = {name: stored[name] for name in stored if name != "plane"}
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(MeshError, match="not a prepared geometry .*plane"):
        PreparedGeometry.load(tmp_path / "part.npz")
