"""Text to texture for 3D meshes, tuned by differentiable rewards: paint, score, tune.

>>> import texreward
>>> painter = texreward.load("miniature", image_size=64, render_size=64, texture_size=64, steps=2)
>>> result = painter.texture("procedural:trefoil", "a red brick knot", seed=0)
>>> result.texture.shape  # [3, T, T], colours in [0, 1]
torch.Size([3, 64, 64])
>>> result.save("knot.glb")
PosixPath('knot.glb')

Imported alone it loads no torch; docs/python-api.md shows more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from texreward.own import HOME, keep_own_packages

keep_own_packages()

if TYPE_CHECKING:
    from texreward.meshes import read_mesh
    from texreward.painting import Painter, load
    from texreward.result import Result
    from texreward.scoring import score
    from texreward.tuning import tune

SNAKEFILE = str(HOME / "workflow" / "Snakefile")
"""The workflow, for a `module` of another Snakefile."""

_PLACES = {
    "load": "painting",
    "Painter": "painting",
    "Result": "result",
    "read_mesh": "meshes",
    "score": "scoring",
    "tune": "tuning",
}
__all__ = ["SNAKEFILE", "Painter", "Result", "load", "read_mesh", "score", "tune"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"texreward.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
