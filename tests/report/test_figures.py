"""Every figure from a tiny results folder: it is drawn, twice the same, and says why when it is not."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from reference.tiny_meshes import sphere_mesh
from reference.tiny_results import FAILED, SIZE, make_results

import workflow
from report import quality as measures
from report import style
from report.figures import charts, overlays
from report.figures import view_figures as rigs
from report.figures.grids import typical_assets
from report.pictures import MeshPictures
from report.results import Results
from texgen.geometry.mirror_plane import MirrorPlane
from texgen.render.atlas import build_atlas
from workflow.jobs import figure_names as names
from workflow.jobs.figure_names import figure_caption, figure_labels, figure_names, figure_part
from workflow.steps import figures, quality, table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    (path / "settings.json").write_text(json.dumps(make_results(path)))
    return path


@pytest.fixture
def results(folder):
    return Results(json.loads((folder / "settings.json").read_text()), folder)


def draw(folder, out, *names):
    arguments = ["--settings", str(folder / "settings.json"), "--results", str(folder), "--out", str(out)]
    assert figures.main([*arguments, "--figures", *names]) == 0


@pytest.mark.timeout(900)  # nineteen figures, on a processor that may be shared
def test_every_figure_of_the_settings_is_drawn(folder, results, tmp_path, capsys):
    names = figure_names(results.settings)
    assert len(names) == 19
    draw(folder, tmp_path, *names)
    assert "not drawn" not in capsys.readouterr().out
    for name in names:
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 400 and np.asarray(image.convert("L")).std() > 5, name
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert not list(tmp_path.glob(".*"))


def test_the_snakemake_report_has_caption_and_labels_for_every_figure(results):
    captions = Path(workflow.__file__).parent / "report"
    labels = [figure_labels(name, results.settings) for name in figure_names(results.settings)]
    assert len({tuple(each.items()) for each in labels}) == 19, "no two figures look the same in the list"
    assert {figure_part(name) for name in figure_names(results.settings)} == {
        "All methods",
        "Training",
        "Before and after training",
    }
    assert all(
        (captions / f"{figure_caption(name)}.rst").is_file() for name in figure_names(results.settings)
    )
    assert figure_labels("before_after_tuned", results.settings) == {
        "figure": "views and texture",
        "method": "Tuned <ours>",
        "reward": "Aesthetic, Symmetry, Alignment, Emphasis",
    }


def test_figures_are_deterministic(folder, tmp_path):
    for out in ("a", "b"):
        draw(folder, tmp_path / out, "winrates", "comparison")
    for name in ("winrates.png", "winrates.pdf", "comparison.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_figure_without_inputs_says_why(folder, tmp_path, capsys):
    settings = json.loads((folder / "settings.json").read_text())
    settings["models"], settings["trained_on"] = {}, {}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    arguments = ["--settings", str(tmp_path / "settings.json"), "--results", str(folder)]
    assert figures.main([*arguments, "--out", str(tmp_path), "--figures", "symmetry", "training"]) == 0
    said = capsys.readouterr().out
    assert "symmetry: not drawn. No method of this run was trained on symmetry" in said
    assert "training: not drawn. No model was tuned" in said
    assert (tmp_path / "symmetry.png").is_file()
    assert "symmetry" not in figure_names(settings) and "winrates" in figure_names(settings)


def test_typical_assets_are_the_extremes_and_the_median(results):
    chosen = typical_assets(results, "tuned")
    assert [rank for rank, *_ in chosen] == ["largest gain", "median change", "least gain"]
    gains = [float(after) - float(before) for _, _, (before, after) in chosen]
    assert gains == sorted(gains, reverse=True)


def test_win_rates_of_both_directions_add_up(results):
    style.apply()
    figure = charts.winrates(results)
    matrix = figure.axes[0].images[0].get_array().filled(np.nan)
    off = ~np.eye(3, dtype=bool)
    assert np.allclose((matrix + matrix.T)[off], 100) and np.isnan(np.diag(matrix)).all()
    plt.close(figure)


def test_divergence_prefers_held_out_measurements():
    rows = [{"step": k, "kl": 0.1 * k, "reward": 1.0 * k, "heldout_kl": None} for k in range(3)]
    word, points = charts.divergences(rows)
    assert word == "training" and points.tolist() == [[0, 0, 0], [0.1, 1, 1], [0.2, 2, 2]]
    rows[2] |= {"heldout_kl": 0.5, "heldout_reward": 4.0}
    word, points = charts.divergences(rows)
    assert word == "held-out" and points.tolist() == [[0.5, 4.0, 2.0]]
    assert len(charts.divergences([])[1]) == 0


def test_mirror_error_is_zero_for_a_mirrored_texture_and_does_not_see_contrast():
    mesh = sphere_mesh()
    atlas = build_atlas(mesh, SIZE)
    plane = MirrorPlane(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), 0.0, 0.0)
    even, odd = atlas.position[..., 0].abs(), atlas.position[..., 0]
    noise = torch.rand(odd.shape, generator=torch.Generator().manual_seed(0))
    cases = (
        (even, 0.0, 0.05),
        (odd, 1.1, 1.4),
        (0.1 * odd, 1.1, 1.4),
        (noise, 0.6, 1.0),
        (0 * odd, 0.0, 0.0),
    )
    for colours, low, high in cases:
        error, known = overlays.mirror_error(colours.expand(3, -1, -1), atlas, plane, reach=0.1)
        assert float(known.sum()) > 0.9 * float(atlas.mask.sum())
        assert low <= float(error[known > 0].mean()) <= high


def test_strokes_follow_known_directions():
    """A texture of stripes along v has its gradient along u: horizontal on the sphere's front."""
    mesh = sphere_mesh(16)
    look = MeshPictures(mesh, 0.0, 0.0, 64)
    strokes = overlays.Strokes(look, mesh, step=8)
    stripes = torch.sin(torch.arange(128) / 128 * 40 * torch.pi).expand(3, 128, 128) * 0.5 + 0.5
    direction, strength = strokes.gradient(stripes)
    pixel = torch.linalg.solve(strokes._uv_of_pixel, direction[..., None])[..., 0]
    middle = (abs(strokes.y - 31.5) < 6) & (abs(strokes.x - 31.5) < 20)
    angle = torch.atan2(pixel[:, 1].abs(), pixel[:, 0].abs())[torch.from_numpy(middle)]
    assert middle.sum() >= 4 and float(angle.median()) < 0.15
    assert 0 <= float(strength.min()) and float(strength.max()) <= 1


def test_replayed_trimaps_partition_the_surface(results):
    run = results.runs["pretrained", "ball--dots--0"]
    found = rigs.replay_trimaps(results, run)
    shares = [rigs.trimap_shares(masks, view) for view, masks in found]
    assert [sum(share.values()) for share in shares] == pytest.approx([1, 1, 1], abs=1e-5)
    assert shares[0]["generate"] == 1.0, "nothing is painted before the first view"
    assert shares[2]["generate"] < shares[1]["generate"] < 1, "the third view overlaps both others"


def test_quality_and_table_steps_on_the_same_folder(folder, tmp_path):
    settings = ["--settings", str(folder / "settings.json"), "--results", str(folder)]
    assert quality.main([*settings, "--out", str(tmp_path / "quality.tsv")]) == 0
    outputs = {name: str(tmp_path / f"table.{name}") for name in ("markdown", "csv", "text", "latex", "html")}
    extra = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    assert table.main([*settings, "--quality", str(tmp_path / "quality.tsv"), *extra]) == 0
    text = (tmp_path / "table.markdown").read_text()
    for part in ("Coverage ↑", "Seam error ↓", "View consistency ↑", "## Cost", "1.000 ± 0.000", "1 failed"):
        assert part in text, part
    assert f"- Other, {FAILED[1]}: no view shows the mesh" in text
    second = text.split("## Geometry and texture quality")[1]
    assert "Alignment†" in second and "Aesthetic" not in second.split("\n\n")[1]


def test_a_model_free_column_is_one_entry_of_one_module(folder, tmp_path, monkeypatch):
    redness = measures.Measure("Redness", False, 2, lambda seen: float(seen.texture[0].mean()))
    monkeypatch.setitem(measures.MEASURES, "redness", redness)
    settings = ["--settings", str(folder / "settings.json"), "--results", str(folder)]
    assert quality.main([*settings, "--out", str(tmp_path / "quality.tsv")]) == 0
    outputs = ["--markdown", str(tmp_path / "t.md"), "--csv", str(tmp_path / "t.csv")]
    assert table.main([*settings, "--quality", str(tmp_path / "quality.tsv"), *outputs]) == 0
    second = (tmp_path / "t.md").read_text().split("## Geometry and texture quality")[1]
    assert "Redness ↓" in second.split("\n\n")[1] and "View consistency ↑" in second.split("\n\n")[1]


def test_a_figure_is_a_function_and_a_line(results, tmp_path, monkeypatch):
    """A module of report/figures and the list of names; a caption is a third file, where one is wanted."""
    monkeypatch.setattr(charts, "sparkle", lambda results: style.sentence("sparkle"), raising=False)
    monkeypatch.setitem(names.ALWAYS, "sparkle", "how it sparkles")
    assert figure_names(results.settings)["sparkle"] == "how it sparkles"
    assert figure_part("sparkle") == "All methods"
    assert (names.CAPTIONS / f"{figure_caption('sparkle')}.rst").is_file()
    style.save(figures.drawer("sparkle")(results), tmp_path / "sparkle")
    assert (tmp_path / "sparkle.pdf").is_file() and (tmp_path / "sparkle.png").is_file()


def test_every_figure_has_a_function_and_a_caption_of_its_own():
    parts = (
        names.ALWAYS,
        names.OF_TUNED,
        names.OF_TUNED_PICTURES,
        names.OF_SWEEPS,
        names.OF_RENDERED,
        *names.OF_KIND.values(),
        {names.STAGES, names.STUDY, f"{names.BEFORE_AFTER}x"},
    )
    for name in (name for part in parts for name in part):
        assert callable(figures.drawer(name)), name
        assert figure_caption(name) != "figure", name
