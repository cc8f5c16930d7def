"""What stands below the tables of the results page: marks, samples, tests."""

from __future__ import annotations

from report.statistics import (
    EXACT_SIGN_FLIP_LIMIT,
    RANDOM_SIGN_PATTERNS,
    SMALLEST_INTERVAL,
    smallest_p,
)
from report.table.data import Table
from report.table.numbers import count, show_p
from texgen.timing import CPU_CLOCK, GPU_CLOCK

LEVEL = 0.05
TRAINED, BETTER, WORSE, TIED = "†", "▲", "▼", "≈"
_CPU_MEANING = "seconds of the process on the CPU (user and system, all threads)"
_GPU_MEANING = "time between CUDA events on the GPU's stream, waiting for the host included"
_CLOCKS = {
    (CPU_CLOCK,): ("CPU s", _CPU_MEANING),
    (GPU_CLOCK,): ("GPU s", _GPU_MEANING),
    (): ("device s", f"on a CPU {_CPU_MEANING}, on a GPU {_GPU_MEANING}"),
}
_SIGN_FLIP = (
    f"It counts all sign patterns for n ≤ {EXACT_SIGN_FLIP_LIMIT}, else {RANDOM_SIGN_PATTERNS:,} random ones."
)


def reading_notes(table: Table) -> list[str]:
    """What a cell is, what the marks mean, and what was tested."""
    spec, cells = table.spec, [cell for row in table.rows for cell in row.cells]
    lines = [
        "Mean ± standard error over n samples; one sample is one (mesh, prompt) pair, with views and seeds "
        "averaged inside it. The best mean of a column is bold (¹ in plain text), the second underlined (²); "
        "they are ranked before rounding."
    ]
    lines += marks_notes(table)
    pairs, meshes = _pairs_and_meshes(table)
    if pairs > meshes > 0:
        lines.append(
            f"The {pairs} pairs are on {count(meshes, 'mesh', 'meshes')} and count as independent; pairs of "
            "one mesh may be more alike than that."
        )
    if any(cell.trained for cell in cells):
        lines.append(
            f"{TRAINED}: the row's model was trained on this metric, which is no independent evidence; such "
            "cells are not ranked."
        )
    lines += samples_notes(table)
    if table.failures:
        lines.append("Failed runs are not in the means; their reasons are listed below.")
    lines.append(
        f"{timing_note(table)} calls: UNet evaluations per texture, a "
        "guidance pair as one (UNet / ControlNet where they differ). GB: peak memory. More under Cost."
    )
    lines += programs_note(table)
    if spec.miniature:
        lines.append(
            "**The scorers are the miniature ones of this repository: these scores are not comparable with "
            "published ones, only with each other.**"
        )
    return lines


def further_notes(table: Table) -> list[str]:
    """What differs from the notes of the first table."""
    compared = sum(cell.versus is not None for row in table.rows for cell in row.cells)
    lines = [
        "Read as the first table"
        + (f"; Holm's correction is over the {compared} comparisons of this one." if compared else ".")
    ]
    return lines + _nothing_markable(table) + samples_notes(table)


def marks_notes(table: Table) -> list[str]:
    """Ties, and differences from the baseline."""
    cells = [cell for row in table.rows for cell in row.cells]
    compared = sum(cell.versus is not None for cell in cells)
    lines = []
    if any(cell.tied for cell in cells):
        lines.append(
            f"{TIED}: cannot be told apart from the best of its column: the 95 % bootstrap interval of the "
            "paired difference includes 0, without correction for the number of rows, or there are fewer "
            f"than {SMALLEST_INTERVAL} pairs. It is no claim of equality."
        )
    if compared:
        baseline = dict(table.spec.methods)[table.spec.baseline]
        lines.append(
            f"{BETTER} / {WORSE}: better / worse than {baseline}, paired over the samples that both have: "
            f"two-sided sign-flip test, p < {LEVEL} after Holm's correction over the {compared} comparisons "
            f"of this table. {_SIGN_FLIP}"
        )
    return lines + _nothing_markable(table)


def samples_notes(table: Table) -> list[str]:
    """Says so when rows or cells rest on different samples."""
    lines = []
    if len({row.n for row in table.rows if row.n}) > 1:
        lines.append(
            "n differs between rows: those means are over different samples, the comparisons are not."
        )
    if any(0 < cell.summary.n != row.n for row in table.rows for cell in row.cells):
        lines.append("(n = …): a cell with fewer samples, because the metric has no value for some meshes.")
    return lines


def _nothing_markable(table: Table) -> list[str]:
    versus = [cell.versus for row in table.rows for cell in row.cells if cell.versus is not None]
    floor = len(versus) * min((smallest_p(result.n) for result in versus), default=0.0)
    if floor < LEVEL:
        return []
    return [
        f"With {max(result.n for result in versus)} samples the smallest corrected p that can occur is "
        f"{show_p(min(1.0, floor))}: no cell could be marked {BETTER} or {WORSE}."
    ]


def _pairs_and_meshes(table: Table) -> tuple[int, int]:
    pairs = {(run["mesh"], run.get("prompt_id", run["prompt"])) for run in table.ok_runs}
    return len(pairs), len({mesh for mesh, _ in pairs})


def device_heading(table: Table) -> str:
    """Heading of the column of device seconds, after the clocks that they were read from."""
    return _CLOCKS.get(_clocks(table), _CLOCKS[()])[0]


def timing_note(table: Table) -> str:
    """What the two columns of seconds were measured on."""
    heading, meaning = _CLOCKS.get(_clocks(table), _CLOCKS[()])
    return (
        f"{heading}: mean seconds per texture, without loading models: {meaning}. wall s: the same by the "
        "wall clock, which other work on the machine lengthens."
    )


def _clocks(table: Table) -> tuple[str, ...]:
    return tuple(sorted({clock for row in table.rows for clock in row.clocks}))


def programs_note(table: Table) -> list[str]:
    """What differs for rows that the authors' own programs made; empty when there are none."""
    methods = {run["method"] for run in table.ok_runs if run.get("kind") == "official"}
    rows = [row.label for row in table.rows if row.key in methods]
    if not rows:
        return []
    return [
        f"{', '.join(rows)}: the authors' own programs; their wall time is that of whole processes, loading "
        "of models included; what of it their device worked is not known, and their model calls cannot be "
        "counted."
    ]


def comparison_notes() -> list[str]:
    """What the columns of a paired comparison are."""
    return [
        "Difference: mean over the pairs, model minus opponent, with its BCa bootstrap interval, widened for "
        f"small n and left out below {SMALLEST_INTERVAL} pairs. Win rate: share of pairs in which the model "
        "is better, ties one half, with Wilson's interval.",
        f"p: two-sided sign-flip test. {_SIGN_FLIP} Holm: p after Holm's correction over the rows of this "
        "section.",
    ]
