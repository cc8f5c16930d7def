import csv
import io
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from report.columns import SCORE_COLUMNS
from report.run_records import read_runs, read_scores
from report.statistics import holm, paired_difference, sample_means, sign_flip_test
from report.table.blocks import latex, to_html, to_latex, to_text
from report.table.build import build_table
from report.table.csv_rows import to_csv
from report.table.data import MetricColumn, TableSpec
from report.table.mesh_notes import meshes_block
from report.table.notes import BETTER, TIED, TRAINED, WORSE
from report.table.numbers import show_p
from report.table.results_page import cost_block, markdown, scores_block, shown_decimals, table_blocks
from texgen.storage.records import write_record
from texgen.storage.result_records import write_score_record
from workflow.steps.table import published_block

MESHES, PROMPTS, SEEDS, VIEWS = ("bunny", "cow"), ("p0", "p1", "p2", "p3"), (0, 1), 2
SHIFT = {"pretrained": 0.0, "aligned": 0.5, "intex": -0.5}
SPEC = TableSpec(
    methods=[("pretrained", "Untuned"), ("aligned", "Tuned: alignment"), ("intex", "InTeX")],
    metrics=[("aesthetic", "Aesthetic", True, 2), ("seam", "Seam error", False, 3)],
    trained_on={"aligned": "geometry_alignment"},
    reward_metrics=[("geometry_alignment", "Alignment", True, 3)],
    caption={"models": "the miniature backbone", "protocol": "8 azimuths at 2 elevations"},
    miniature=True,
)


def make_data(skip: tuple[str, str] | None = None):
    """Scores with a fixed shift per method, and runs; `skip` = (method, asset) fails."""
    generator = np.random.default_rng(0)
    rows, runs = [], []
    for mesh in MESHES:
        for prompt in PROMPTS:
            for seed in SEEDS:
                asset = f"{mesh}--{prompt}--{seed}"
                place = dict(asset=asset, mesh=mesh, prompt_id=prompt, prompt=f"a {prompt}", seed=seed)
                base = generator.normal(size=(3, VIEWS))
                for method, shift in SHIFT.items():
                    run = dict(
                        method=method, asset=asset, mesh=mesh, prompt=f"a {prompt}", seed=seed, status="ok"
                    )
                    run |= dict(device_seconds=2.0 + seed, clock="process CPU seconds", seconds=4.0)
                    run |= dict(peak_memory_bytes=1000, calls=dict(unet=60, controlnet=60))
                    run |= dict(device="2 CPU cores")
                    if (method, asset) == skip:
                        run |= dict(status="failed", reason="no view\nshows the mesh")
                        runs.append(run)
                        continue
                    runs.append(run)
                    for k, metric in enumerate(("aesthetic", "seam", "geometry_alignment")):
                        sign = -1 if metric == "seam" else 1
                        for view in range(VIEWS if k < 2 else 1):
                            score = base[k, view] + sign * (shift + 0.05 * generator.normal())
                            label = view if k < 2 else "texture"
                            rows.append(
                                dict(
                                    method=method,
                                    metric=metric,
                                    **place,
                                    view=label,
                                    azimuth=0.0,
                                    elevation=0.0,
                                )
                                | dict(background="white", score=score)
                            )
    return pd.DataFrame(rows), runs


def lines_of(text: str) -> list[str]:
    """Lines with the padding of Markdown grids taken out."""
    return [re.sub(" +", " ", line) for line in text.splitlines()]


def line_of(text: str, start: str) -> str:
    return next(line for line in lines_of(text) if line.startswith(f"| {start}"))


def test_cells_hold_the_statistics_of_the_samples():
    scores, runs = make_data()
    table = build_table(scores, runs, SPEC)
    assert [row.label for row in table.rows] == ["Untuned", "Tuned: alignment", "InTeX"]
    p_values = {}
    for row in table.rows:
        for metric, cell in zip(table.metrics, row.cells, strict=True):
            own = {}
            for mesh in MESHES:
                for prompt in PROMPTS:
                    chosen = scores[
                        (scores.method == row.key)
                        & (scores.metric == metric.key)
                        & (scores.mesh == mesh)
                        & (scores.prompt_id == prompt)
                    ]
                    own[mesh, prompt] = np.mean([chosen[chosen.seed == s].score.mean() for s in SEEDS])
            values = np.array(list(own.values()))
            assert cell.summary.n == 8
            assert cell.summary.mean == pytest.approx(values.mean())
            assert cell.summary.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(8))
            if row.key == "pretrained":
                assert cell.versus is None
                p_values["base", metric.key] = values
            else:
                difference = values - p_values["base", metric.key]
                assert cell.versus.mean == pytest.approx(difference.mean())
                assert cell.versus.p == sign_flip_test(difference)[0] == 2 / 2**8
                assert cell.adjusted_p == pytest.approx(holm([2 / 2**8] * 4)[0])


def test_best_is_bold_and_differences_are_marked_by_direction():
    scores, runs = make_data()
    text = markdown(build_table(scores, runs, SPEC))
    line = {label: line_of(text, label) for _, label in SPEC.methods}
    assert line["Tuned: alignment"].count("**") == 4 and line["Tuned: alignment"].count(BETTER) == 2
    assert line["InTeX"].count(WORSE) == 2 and "**" not in line["InTeX"]
    assert BETTER not in line["Untuned"] and WORSE not in line["Untuned"]
    header = line_of(text, "Method")
    assert "Aesthetic ↑" in header and "Seam error ↓" in header
    assert "| 2.5 | 4.0 | 60 | 0.00 | 8 |" in line["InTeX"]
    assert "not comparable with published" in text
    assert "2 meshes (bunny, cow), 4 prompts, 2 seeds (0, 1)." in text
    assert "- Device: 2 CPU cores." in text and "- Protocol: 8 azimuths at 2 elevations" in text


def test_trained_columns_carry_a_dagger():
    scores, runs = make_data()
    spec = TableSpec(SPEC.methods, SPEC.metrics, trained_on={"aligned": "aesthetic"})
    text = markdown(build_table(scores, runs, spec))
    header = line_of(text, "Method")
    assert f"Aesthetic{TRAINED} ↑" in header and f"Seam error{TRAINED}" not in header
    assert line_of(text, "Tuned").count(TRAINED) == 1
    assert TRAINED not in line_of(text, "InTeX")
    assert "miniature" not in text


def test_a_model_trained_on_several_metrics_is_marked_in_each():
    scores, runs = make_data()
    trained = {"aligned": ["seam", "aesthetic", "absent"]}
    table = build_table(scores, runs, TableSpec(SPEC.methods, SPEC.metrics, trained_on=trained))
    assert [cell.trained for cell in table.rows[1].cells] == [True, True]
    assert [own.metric.key for own in table.own_rewards] == ["seam", "aesthetic", "absent"]
    assert [own.difference.n for own in table.own_rewards] == [8, 8, 0]
    assert [own.leading for own in table.own_rewards] == [True, False, False]
    assert [own.adjusted_p for own in table.own_rewards[:2]] == [2 / 2**8] * 2, (
        "families; the empty row is no test"
    )
    assert "| absent ↑ | – | – | – | – | – | – | 0 |" in " ".join(lines_of(markdown(table)))


def test_what_models_are_tuned_for_is_a_family_of_its_own():
    scores, runs = make_data()
    trained = {"aligned": ["seam", "aesthetic"], "intex": ["seam", "aesthetic"]}
    table = build_table(scores, runs, TableSpec(SPEC.methods, SPEC.metrics, trained_on=trained))
    for leading in (True, False):
        rows = [own for own in table.own_rewards if own.leading is leading]
        assert [own.adjusted_p for own in rows] == holm([own.difference.p for own in rows])
    page = markdown(table)
    first, second = page.index("## Own held-out reward"), page.index("## Terms that hold a model")
    assert first < page.index("Seam error", first) < second < page.index("Aesthetic", second)


def test_own_reward_section_leaves_out_the_pairs_trained_on():
    scores, runs = make_data()
    seen = frozenset({("cow", "p0"), ("bunny", "p3")})
    spec = TableSpec(**{**vars(SPEC), "seen_pairs": {"aligned": seen}})
    (own,) = build_table(scores, runs, spec).own_rewards
    samples = {
        method: sample_means(scores[(scores.method == method) & (scores.metric == "geometry_alignment")])
        for method in ("aligned", "pretrained")
    }
    samples = {
        method: values[[pair not in seen for pair in values.index]] for method, values in samples.items()
    }
    expected = paired_difference(samples["aligned"], samples["pretrained"])
    assert own.difference == expected and own.difference.n == 6
    assert own.tuned.mean == pytest.approx(samples["aligned"].mean())
    assert own.difference.mean == pytest.approx(own.tuned.mean - own.baseline.mean)
    text = markdown(build_table(scores, runs, spec))
    assert "## Own held-out reward" in text
    line = next(t for t in lines_of(text) if t.startswith("| Tuned: alignment | Alignment ↑ |"))
    assert "| 1.00 [0.61, 1.00] | 0.031 | 0.031 | 6 |" in line


def test_failures_are_counted_and_explained():
    scores, runs = make_data(skip=("intex", "cow--p1--0"))
    text = markdown(build_table(scores, runs, SPEC))
    assert "8 (1 failed) |" in text  # the other seed of the pair is still a sample
    assert "- InTeX, cow--p1--0: no view shows the mesh" in text


def test_a_method_without_results_stays_in_the_table():
    scores, runs = make_data()
    scores = scores[scores.method != "intex"]
    runs = [run for run in runs if run["method"] != "intex"]
    text = markdown(build_table(scores, runs, SPEC))
    assert line_of(text, "InTeX") == "| InTeX | – | – | – | – | – | – | 0 |"


def test_too_few_samples_to_mark_anything_is_said():
    scores, runs = make_data()
    scores = scores[scores.prompt_id.isin(["p0", "p1"])]
    runs = [run for run in runs if run["prompt"] in ("a p0", "a p1")]
    text = markdown(build_table(scores, runs, SPEC))
    assert "With 4 samples the smallest corrected p that can occur is 0.50" in text
    assert not any(t.startswith("|") and (BETTER in t or WORSE in t) for t in text.splitlines())


def test_scores_without_a_run_and_unknown_baselines_are_refused():
    scores, runs = make_data()
    with pytest.raises(ValueError, match="scores of method 'pretrained', asset 'bunny--p0--0'"):
        build_table(scores, runs[1:], SPEC)
    with pytest.raises(ValueError, match="baseline 'none' is not among the methods"):
        build_table(scores, runs, TableSpec(SPEC.methods, SPEC.metrics, baseline="none"))


def write_results(folder, scores, runs):
    for (metric, method), rows in scores.groupby(["metric", "method"]):
        path = folder / "scores" / metric / f"{method}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows[list(SCORE_COLUMNS)].to_csv(path, sep="\t", index=False)
        write_score_record(path, {"metric": metric, "method": method})
    for run in runs:
        path = folder / "textures" / run["method"] / run["asset"] / "run.json"
        path.parent.mkdir(parents=True)
        write_record(path, {"hash": "h", **run})


def test_round_trip_through_the_results_folder(tmp_path):
    scores, runs = make_data(skip=("intex", "cow--p1--0"))
    write_results(tmp_path, scores, runs)
    methods = [key for key, _ in SPEC.methods]
    read = read_scores(tmp_path / "scores", ["aesthetic", "seam", "geometry_alignment"], methods)
    table = build_table(read, read_runs(tmp_path / "textures", methods), SPEC)
    expected = build_table(scores, runs, SPEC)
    assert markdown(table) == markdown(expected)

    records = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert [record["method"] for record in records] == methods
    cell = table.rows[1].cells[1]
    assert float(records[1]["seam_mean"]) == cell.summary.mean
    assert float(records[1]["seam_p_holm"]) == cell.adjusted_p
    assert float(records[1]["seam_win_rate"]) == 1.0, "lower seam error wins"
    assert float(records[1]["own_reward_difference"]) == table.own_rewards[0].difference.mean
    assert records[0]["seam_p"] == "" and records[2]["failed"] == "1"
    few = read_runs(tmp_path / "textures", methods, assets={"bunny--p0--0"})
    assert [run["method"] for run in few] == methods


def test_bad_files_are_named(tmp_path):
    scores, runs = make_data()
    write_results(tmp_path, scores, runs)
    with pytest.raises(FileNotFoundError, match="score method 'other' by 'seam' first"):
        read_scores(tmp_path / "scores", ["seam"], ["other"])
    assert read_scores(tmp_path / "scores", ["seam"], ["other"], optional=[("seam", "other")]).empty
    path = tmp_path / "scores" / "seam" / "intex.tsv"
    path.write_text(path.read_text().replace("\twhite\t", "\twhite\tx", 1))
    with pytest.raises(ValueError, match="intex.tsv has .* bytes and had .*; run snakemake"):
        read_scores(tmp_path / "scores", ["seam"], ["intex"])
    write_score_record(path, {"metric": "seam", "method": "intex"})
    with pytest.raises(ValueError, match="intex.tsv, line 2: score is 'x"):
        read_scores(tmp_path / "scores", ["seam"], ["intex"])
    path = tmp_path / "textures" / "intex" / "cow--p0--0" / "run.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="run.json is damaged: it is not a record"):
        read_runs(tmp_path / "textures", ["intex"])


def test_ranks_leave_out_what_was_trained_on_and_mark_ties():
    scores, runs = make_data()
    scores.loc[scores.method == "intex", "score"] += 0.5  # as good as the untuned one, up to noise
    spec = TableSpec(SPEC.methods, SPEC.metrics[:1], trained_on={"aligned": "aesthetic"})
    table = build_table(scores, runs, spec)
    cells = {row.key: row.cells[0] for row in table.rows}
    assert cells["aligned"].summary.mean == max(cell.summary.mean for cell in cells.values())
    assert not (cells["aligned"].best or cells["aligned"].second or cells["aligned"].tied)
    ranked = sorted(("pretrained", "intex"), key=lambda key: -cells[key].summary.mean)
    assert cells[ranked[0]].best and not cells[ranked[0]].tied
    assert cells[ranked[1]].second and cells[ranked[1]].tied
    text = markdown(table)
    assert text.count("<ins>") == 1 and text.count("**") == 2
    line = next(t for t in text.splitlines() if "<ins>" in t)
    assert f"</ins> {TIED} |" in line


def test_equal_means_share_the_first_rank():
    scores, runs = make_data()
    copy = scores[scores.method == "aligned"].assign(method="intex")
    scores = pd.concat([scores[scores.method != "intex"], copy])
    table = build_table(scores, runs, TableSpec(SPEC.methods, SPEC.metrics))
    assert [row.cells[0].best for row in table.rows] == [False, True, True]
    assert table.rows[0].cells[0].second


def test_tuned_models_meet_the_best_other_method():
    scores, runs = make_data()
    rival = scores[scores.method == "intex"].assign(method="rival", score=lambda rows: rows.score + 0.1)
    more = [{**run, "method": "rival"} for run in runs if run["method"] == "intex"]
    methods = [*SPEC.methods, ("rival", "Rival")]
    spec = TableSpec(**{**vars(SPEC), "methods": methods})
    table = build_table(pd.concat([scores, rival]), runs + more, spec)
    first, second = table.best_baselines
    assert (first.metric.key, first.opponent) == ("aesthetic", "rival")
    assert (second.metric.key, second.opponent) == ("seam", "intex"), "a lower seam error is better"
    samples = {
        method: sample_means(rows) for method, rows in scores[scores.metric == "seam"].groupby("method")
    }
    assert second.difference == paired_difference(samples["aligned"], samples["intex"])
    assert second.adjusted_p == pytest.approx(2 * 2 / 2**8)
    assert "| Tuned: alignment | Seam error ↓ | InTeX |" in " ".join(lines_of(markdown(table)))


def test_cost_block_shows_spread_and_training():
    scores, runs = make_data()
    table = build_table(scores, runs, SPEC)
    block = cost_block(table, {"aligned": 90.0}, {"aligned": {"steps": 50, "seconds": 330.0}})
    shown = [[cell.value for cell in row] for row in block.rows]
    assert shown[0] == ["Untuned", "2.5", "2.0–3.0", "4.0", "60", "60", "0.00", "–", "–", "–", "2 CPU cores"]
    assert shown[1][7:10] == ["1.5", "50", "5.5"]


@pytest.mark.parametrize(
    "clocks, heading, said",
    [
        (["process CPU seconds"], "CPU s", "user and system"),
        (["CUDA events"], "GPU s", "CUDA events"),
        (["process CPU seconds", "CUDA events"], "device s", "on a GPU time between CUDA events"),
    ],
)
def test_the_table_says_what_its_seconds_were_measured_on(clocks, heading, said):
    scores, runs = make_data()
    for index, run in enumerate(runs):
        run["clock"] = clocks[index % len(clocks)]
    table = build_table(scores, runs, SPEC)
    block = scores_block(table)
    place = list(block.header).index(heading)
    assert block.header[place + 1] == "wall s"
    assert [cell.value for cell in block.rows[0][place : place + 2]] == ["2.5", "4.0"]
    assert any(said in note for note in block.notes) and any(
        said in note for note in cost_block(table, {}, {}).notes
    )
    for run in runs:
        run["device_seconds"] = run["clock"] = None  # an authors' program
    row = scores_block(build_table(scores, runs, SPEC)).rows[0]
    assert [cell.value for cell in row[place : place + 2]] == ["–", "4.0"]


@pytest.mark.parametrize(
    "errors, shown",
    [
        ([0.361], 2),
        ([0.0475], 3),
        ([0.00391], 4),
        ([12.3], 0),
        ([0.03, 0.4, 0.5], 2),
        ([math.nan], 4),
        ([0], 4),
    ],
)
def test_two_figures_of_the_standard_error_are_shown(errors, shown):
    assert shown_decimals(MetricColumn("m", "M", True, 4), errors) == shown
    assert shown_decimals(MetricColumn("m", "M", True, 1), errors) == min(shown, 1), (
        "the metric's own are the most"
    )


def test_p_values_have_two_figures():
    shown = [show_p(p) for p in (1.0, 0.25, 0.0312, 0.00338, 0.00012, 0.00009)]
    assert shown == ["1.00", "0.25", "0.031", "0.0034", "0.0001", "< 0.0001"]


def test_fewer_than_six_pairs_have_no_interval_and_tell_nothing_apart():
    scores, runs = make_data()
    scores, runs = scores[scores.mesh == "cow"], [run for run in runs if run["mesh"] == "cow"]
    table = build_table(scores, runs, SPEC)
    cells = [row.cells[0] for row in table.rows]
    assert [cell.versus.n for cell in cells[1:]] == [4, 4] and math.isnan(cells[1].versus.low)
    assert [cell.tied for cell in cells] == [True, False, True]
    text = markdown(table)
    assert "or there are fewer than 6 pairs" in text and "nan" not in text
    assert next(t for t in lines_of(text) if "| Alignment ↑ |" in t).count("[") == 1, "that of the win rate"


def test_pairs_that_share_a_mesh_and_single_trainings_are_owned_up_to():
    scores, runs = make_data()
    text = markdown(build_table(scores, runs, SPEC))
    assert "The 8 pairs are on 2 meshes and count as independent" in text
    assert "Each model was trained once: no interval here" in text
    one = [run for run in runs if run["prompt"] == "a p0"]
    text = markdown(build_table(scores[scores.prompt_id == "p0"], one, SPEC))
    assert "count as independent" not in text


def test_markdown_columns_line_up():
    scores, runs = make_data()
    grids = [block.splitlines() for block in markdown(build_table(scores, runs, SPEC)).split("\n\n")]
    grids = [grid for grid in grids if grid[0].startswith("|")]
    assert len(grids) == 3
    for grid in grids:
        assert {len(line) for line in grid} == {len(grid[0])}
        assert set(grid[1]) <= set("|-: ") and grid[1].count("-:") == grid[0].count("|") - 2


def test_text_fits_a_terminal_and_shows_the_same_cells():
    scores, runs = make_data()
    long = "A tuned model with quite a long name"
    spec = TableSpec(**{**vars(SPEC), "methods": [SPEC.methods[0], ("aligned", long), SPEC.methods[2]]})
    blocks = table_blocks(build_table(scores, runs, spec))
    text = to_text(blocks)
    assert all(len(line) <= 118 for line in text.splitlines())
    assert "**" not in text and "<ins>" not in text
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("A tuned"))
    value = blocks[0].rows[1][1].value.replace(" ± ", "±")
    assert lines[first].split()[-1] == "8" and lines[first].count("¹▲") == 2 and f"{value}¹▲" in lines[first]
    narrow = to_text(blocks[:1], width=70).splitlines()
    names = [line for line in narrow if line.startswith(("A tuned", "  "))]
    assert len(names) > 1 and max(map(len, narrow)) <= 70, "long names are wrapped"


def test_published_numbers_stand_under_our_labels_as_printed():
    ours = {"aesthetic": {"label": "Aesthetic", "higher_is_better": True}}
    block = published_block("config/published.tsv", ours)
    assert list(block.header[:3]) == ["Method", "Aesthetic ↑", "imagereward"] and "s / mesh" in block.header
    rows = {row[0].value: [cell.value for cell in row[1:]] for row in block.rows}
    assert len(rows) == 8 and rows["Text2Tex"][0] == "4.4454 ± 0.0387", "no digit is dropped"
    assert not any(cell.best or cell.second for row in block.rows for cell in row), "and nothing is ranked"
    assert "none of these numbers is reproduced here" in block.notes[0]


def test_latex_is_balanced_and_escaped():
    scores, runs = make_data()
    spec = TableSpec(**{**vars(SPEC), "methods": [("pretrained", "50 % & up_down"), *SPEC.methods[1:]]})
    text = to_latex(table_blocks(build_table(scores, runs, spec)))
    assert r"50 \% \& up\_down" in text and r"\textbf{" in text and r"\underline{" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 3
    for grid in text.split(r"\toprule")[1:]:
        lines = [line for line in grid.split(r"\bottomrule")[0].splitlines() if line.endswith(r"\\")]
        cells = [line.count("&") - line.count(r"\&") for line in lines]
        assert len(set(cells)) == 1 and cells[0] >= 5
    assert text.isascii(), "our marks are written as mathematics"
    assert latex("a≈b†") == r"a$^\approx$b$^\dagger$"
    assert latex("-0.5 to 1-2, text-2") == "$-$0.5 to 1-2, text-2"


def test_html_escapes_labels_and_marks_cells():
    scores, runs = make_data()
    spec = TableSpec(**{**vars(SPEC), "methods": [("pretrained", "<Untuned>"), *SPEC.methods[1:]]})
    page = to_html(table_blocks(build_table(scores, runs, spec)), "A & B")
    assert "&lt;Untuned&gt;" in page and "<title>A &amp; B</title>" in page
    assert page.count("<table>") == 3 and '<span class="best ">' in page
    assert "<strong>The scorers are the miniature ones" in page
    assert "src=" not in page and "href=" not in page, "the page needs no other file"


def test_meshes_are_listed_with_their_uvs_and_overlaps(tmp_path):
    for name, record in {
        "head": {"faces": 10, "kept_uvs": True, "charts": 2, "texture_coverage": 0.5, "uv_overlap": 0.46},
        "ball": {"faces": 20, "kept_uvs": False, "charts": 3, "texture_coverage": 0.6, "uv_overlap": 0.0},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "mesh.json").write_text(json.dumps(record))
    block = meshes_block(tmp_path, ["head", "ball", "gone"])
    assert [[cell.value for cell in row] for row in block.rows] == [
        ["head", "10", "the file's", "2", "50.0 %", "46.0 %"],
        ["ball", "20", "unwrapped", "3", "60.0 %", "0.0 %"],
    ]
    assert "Overlapping uvs: head;" in block.notes[1]
    assert meshes_block(tmp_path, ["gone"]) is None
