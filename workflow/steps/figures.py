"""Draw the figures of a run from its scores, textures and histories, as PDF and PNG, without any model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from workflow import provenance
from workflow.jobs.figure_names import BEFORE_AFTER
from workflow.runtime.step_errors import run_step


def drawer(name: str) -> Callable:
    """The function of `report` that draws a figure of `workflow.jobs.figure_names.figure_names`."""
    from report.figures import charts, grids, overlays, showcase, sweeps
    from report.figures import method_diagram as method_figure
    from report.figures import study_result as study_figure
    from report.figures import view_figures as rigs

    if name.startswith(BEFORE_AFTER):
        return grids.before_after(name.removeprefix(BEFORE_AFTER))
    modules = (charts, grids, overlays, rigs, showcase, sweeps, study_figure, method_figure)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the table")
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write figures into")
    parser.add_argument("--figures", nargs="+", required=True, help="names, e.g. comparison winrates")
    options = parser.parse_args(arguments)

    from report import style
    from report.results import Results

    results = Results(provenance.read_settings(options.settings), options.results)
    style.apply()
    for name in options.figures:
        try:
            figure = drawer(name)(results)
        except style.NotDrawn as reason:
            # The file is still written, and says why it is empty.
            print(f"{name}: not drawn. {reason}")
            figure = style.sentence(str(reason))
        style.save(figure, options.out / name)
        print(f"{options.out / name}.pdf, .png", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
