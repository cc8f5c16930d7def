"""The renders that all image metrics of a job share, compared with rendering for every one."""

from pathlib import Path

import pytest
import torch
from reference.tiny_painter import tetrahedron

from rewards.base import Textured
from rewards.preference.clip_score import CLIPScore
from texgen.render.cameras import rig_cameras
from texgen.render.images import render
from workflow.jobs.jobs import Protocol
from workflow.steps import renders as module
from workflow.steps.renders import Renders
from workflow.steps.score import score_views

ROOT = Path(__file__).parents[2]
PROTOCOL = Protocol(
    rig="front_3view",
    size=40,
    supersample=2,
    backgrounds={"white": [1.0, 1.0, 1.0], "grey": [0.5, 0.5, 0.5]},
)


def textured(seed=0):
    texture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Textured(tetrahedron(), texture, torch.ones(1, 32, 32), "a red pyramid")


@pytest.fixture
def rasterised(monkeypatch):
    """Counts what is rasterised."""
    calls, real = [], module.geometry_buffer
    monkeypatch.setattr(module, "geometry_buffer", lambda *given: calls.append(given) or real(*given))
    return calls


def test_scores_of_shared_renders_are_those_of_renders_in_floats():
    # The score rounds to 8 bits itself, so that nothing may change.
    metric = CLIPScore.load(ROOT / "models" / "miniature" / "clip", eight_bit=True)
    rows = list(score_views(metric, textured(), "one", PROTOCOL, Renders()))
    assert [(row["background"], row["view"]) for row in rows] == [
        (name, view) for name in ("white", "grey") for view in range(3)
    ]
    for row in rows:
        camera = rig_cameras("front_3view")[row["view"]]
        colour = tuple(PROTOCOL.backgrounds[row["background"]])
        image, _ = render(tetrahedron(), textured().texture, camera, 40, background=colour, supersample=2)
        assert float(row["score"]) == pytest.approx(float(metric(image, ["a red pyramid"])), abs=1e-6)


def test_an_asset_is_rendered_once_and_its_mesh_rasterised_once(rasterised):
    renders = Renders()
    first = renders.of(textured(0), "one", PROTOCOL)
    other = renders.of(textured(1), "two", PROTOCOL)
    assert renders.of(textured(0), "one", PROTOCOL) is first
    assert len(rasterised) == 1
    assert not torch.equal(first["white"], other["white"])
    small = renders.of(textured(0), "one", PROTOCOL.model_copy(update={"size": 20}))
    assert small["white"].shape == (3, 3, 20, 20) and first["white"].shape == (3, 3, 40, 40)
    assert len(rasterised) == 2


def test_what_finds_no_place_is_rendered_anew():
    room = 2 * 3 * 3 * 40 * 40
    renders = Renders(limit=room)
    first = renders.of(textured(0), "one", PROTOCOL)
    second = renders.of(textured(1), "two", PROTOCOL)
    assert renders.of(textured(0), "one", PROTOCOL) is first
    again = renders.of(textured(1), "two", PROTOCOL)
    assert again is not second and torch.equal(again["grey"], second["grey"])
