"""Read scores and runs from the results folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd

from report.columns import SCORE_COLUMNS
from texgen.errors import DamagedFileError
from texgen.finetune.history import read_history
from texgen.storage.files import read_bytes
from texgen.storage.records import AGAIN
from texgen.storage.result_records import checked_model, checked_scores, read_run

RUN_KEYS = ("method", "asset", "mesh", "prompt", "seed", "status")


def read_scores(
    folder: str | Path,
    metrics: Iterable[str],
    methods: Iterable[str],
    assets: Collection[str] | None = None,
    optional: Collection[tuple[str, str]] = (),
) -> pd.DataFrame:
    """All rows of `<folder>/<metric>/<method>.tsv`, with the columns metric and method added in front.

    folder: usually results/scores. assets: keep only these assets (None = all). optional: (metric, method)
    pairs whose file may be absent. A metric that scores a texture rather than views has one row per asset
    with view = "texture". Raises FileNotFoundError for a missing file, DamagedFileError for a missing column.
    """
    methods = list(methods)
    tables = []
    for metric in metrics:
        for method in methods:
            path = Path(folder) / metric / f"{method}.tsv"
            if not path.exists():
                if (metric, method) in optional:
                    continue
                raise FileNotFoundError(f"{path} is missing; score method '{method}' by '{metric}' first.")
            table = read_score_file(path)
            table.insert(0, "method", method)
            table.insert(0, "metric", metric)
            if assets is not None:
                table = table.loc[table["asset"].isin(list(assets))]
            tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["metric", "method", *SCORE_COLUMNS])
    return pd.concat(tables, ignore_index=True)


def read_quality(
    path: str | Path, methods: Collection[str], assets: Collection[str] | None = None
) -> pd.DataFrame:
    """The quality measures of some methods: rows as `read_scores` gives, of the metrics the file holds."""
    table = read_score_file(path)
    missing = [column for column in ("metric", "method") if column not in table.columns]
    if missing:
        raise DamagedFileError(f"{path} has no column {', '.join(missing)}; delete it and measure again.")
    chosen = table["method"].isin(list(methods))
    return table.loc[chosen if assets is None else chosen & table["asset"].isin(list(assets))]


def quality_columns(path: str | Path) -> list[tuple[str, str, bool, int]]:
    """The columns of a file of quality measures: key, label, whether up is better, decimals at most.

    Raises DamagedFileError for the record of another version.
    """
    columns = checked_scores(Path(path)).get("columns")
    if columns is None:
        raise DamagedFileError(f"{path} is of another version; delete it and measure again.")
    return [(name, label, better, decimals) for name, label, better, decimals in columns]


def read_score_file(path: str | Path) -> pd.DataFrame:
    """One score file: tab-separated, one row per asset, view and background.

    Raises DamagedFileError for a file that its record, beside it, does not stand for.
    """
    checked_scores(Path(path))
    table = pd.read_csv(BytesIO(read_bytes(path)), sep="\t", dtype=str, keep_default_na=False, quoting=3)
    missing = [column for column in SCORE_COLUMNS if column not in table.columns]
    if missing:
        raise DamagedFileError(f"{path} has no column {', '.join(missing)}; delete it and score again.")
    for column in ("seed", "azimuth", "elevation", "score"):
        numbers = pd.Series(pd.to_numeric(table[column].replace("", "nan"), errors="coerce"))
        unreadable = numbers.isna() & ~table[column].str.lower().isin(["", "nan"])
        if unreadable.any():
            line = int(unreadable.to_numpy().argmax()) + 2
            text = table[column].iloc[line - 2]
            raise DamagedFileError(f"{path}, line {line}: {column} is {text!r}, not a number; score again.")
        table[column] = numbers
    if bool(table["seed"].isna().to_numpy().any()):
        raise DamagedFileError(f"{path} has a row without a seed; delete it and run the scoring step again.")
    table["seed"] = table["seed"].astype("int64")
    return table


def read_runs(
    folder: str | Path,
    methods: Iterable[str],
    assets: Collection[str] | None = None,
    complete: bool = False,
) -> list[dict]:
    """The run records `<folder>/<method>/<asset>/run.json`, ordered by method as given, then by asset.

    folder: usually results/textures. assets: keep only these (None = all that exist). complete: every method
    must have one of every asset. Raises DamagedFileError for a record that is missing then, was changed, is
    another asset's or lacks a key.
    """
    runs = []
    for method in methods:
        found = {path.parent.name for path in (Path(folder) / method).glob("*/run.json")}
        names = found if assets is None else set(assets) if complete else found & set(assets)
        for name in sorted(names):
            path = Path(folder) / method / name / "run.json"
            run = read_run(Path(folder) / method, name)
            missing = [key for key in RUN_KEYS if key not in run]
            if missing:
                raise DamagedFileError(f"{path} lacks {', '.join(missing)}; delete it and {AGAIN}.")
            if run["method"] != method:
                raise DamagedFileError(
                    f"{path} is a record of the method {run['method']!r}; delete it and {AGAIN}."
                )
            runs.append(run)
    return runs


def read_training(model: str | Path) -> list[dict]:
    """The training history of a tuned model's folder, checked against the model's record; empty where there
    is no model. Raises DamagedFileError.
    """
    model = Path(model)
    if not model.is_dir():
        return []
    checked_model(model)
    return read_history(model / "history.jsonl")
