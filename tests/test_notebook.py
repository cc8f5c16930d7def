"""The notebook of the documentation: stored without outputs, and its code runs from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 4
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert not [cell for cell in cells if cell.source.lstrip().startswith(("!", "%"))], "plain Python only"


@pytest.mark.timeout(900)
def test_its_code_paints_a_pumpkin(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    names: dict = {"__name__": "__main__"}
    try:
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{NOTEBOOK.name}, cell {number}", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    out = tmp_path / "notebook-results"
    assert (out / "pumpkin.glb").read_bytes()[:4] == b"glTF"
    texture = np.asarray(Image.open(out / "pumpkin.png"), dtype=float)
    views = np.asarray(Image.open(out / "views.png"), dtype=float)
    assert texture.shape == (256, 256, 3) and views.shape == (256, 1024, 3)
    seen = views[views.min(axis=-1) < 240]
    assert 0.1 < len(seen) / views[..., 0].size < 0.9
    red, green, blue = seen.mean(axis=0)
    assert red > green > blue and red > blue + 60, "it is orange"
    assert "texture (3, 256, 256)" in capsys.readouterr().out
