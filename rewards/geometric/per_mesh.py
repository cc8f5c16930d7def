"""What the geometric rewards share: what they compute once per mesh, kept for the meshes seen last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewards.base import Textured
from texgen.geometry.prepared import PreparedGeometry
from texgen.kept import Kept
from texgen.mesh.mesh import Mesh

FORMS = ("released", "corrected")


def check_form(form: str) -> str:
    """`form`, or a ValueError when it is neither released nor corrected."""
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; use 'released' or 'corrected'.")
    return form


def working(texture: Tensor) -> Tensor:
    """The texture in the precision that rewards compute in: float64 stays, all else becomes float32."""
    return texture if texture.dtype == torch.float64 else texture.float()


class PerMesh:
    """Calls `build(mesh, geometry)` for a mesh that is new and returns its NamedTuple of tensors.

    Floating tensors come in the texture's working precision, all on its device.
    """

    def __init__(
        self, name: str, build: Callable[[Mesh, PreparedGeometry], NamedTuple], size: int = 8
    ) -> None:
        self._name = name
        self._build = build
        self._kept = Kept(max(size, 1))

    def __call__(self, textured: Textured) -> Any:
        """Raises ValueError where the geometry is missing or prepared for another texture size."""
        mesh, geometry, texture = textured.mesh, textured.geometry, working(textured.texture)
        size = texture.shape[-1]
        if geometry is not None and geometry.atlas.face.shape[-1] != size:
            raise ValueError(
                f"Mesh {mesh.name!r}: texture of {size} texels, geometry prepared for "
                f"{geometry.atlas.face.shape[-1]}; prepare the mesh at the texture's size."
            )
        return self.of(mesh, geometry, texture.device, texture.dtype)

    def of(
        self,
        mesh: Mesh,
        geometry: PreparedGeometry | None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Any:
        """The fields of a mesh on a device."""
        if geometry is None:
            raise ValueError(f"Mesh {mesh.name!r}: {self._name} needs its prepared geometry.")
        where = torch.device(device)

        def made() -> Any:
            return _move(self._build(mesh.to("cpu"), geometry.to("cpu")), where, dtype)

        return self._kept.get((id(mesh), id(geometry), where, dtype), made, mesh, geometry)


def _move(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    return type(value)(*(_move(each, device, dtype) for each in value))


class GeometricReward:
    """Base of the rewards of geometry, which can tell before there is a texture what they cannot judge.

    A subclass sets `_field`.
    """

    _field: PerMesh

    def check(self, mesh: Mesh, geometry: PreparedGeometry | None) -> None:
        """Raises NotApplicable for a mesh that cannot be judged, ValueError where its geometry is missing."""
        self._field.of(mesh, geometry)
