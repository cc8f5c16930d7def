import numpy as np
import pytest
import torch
from PIL import Image

from report.figures.contact_sheet import contact_sheet


def pictures():
    generator = torch.Generator().manual_seed(0)
    return [[torch.rand(3, 32, 32, generator=generator) for _ in range(3)] for _ in range(2)]


def test_cells_are_pasted_unchanged_in_their_place(tmp_path):
    cells = pictures()
    contact_sheet(cells, ["", ""], ["", "", ""], tmp_path / "sheet.png", cell_size=32, gap=4)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (4 + 2 * 36, 4 + 3 * 36, 3)
    for i in range(2):
        for j in range(3):
            seen = sheet[4 + 36 * i : 36 + 36 * i, 4 + 36 * j : 36 + 36 * j]
            expected = (cells[i][j].numpy().transpose(1, 2, 0) * 255).round()
            assert np.array_equal(seen, expected.astype(np.uint8))
            assert (sheet[4 + 36 * i : 36 + 36 * i, 36 * j : 36 * j + 4] == 255).all()


def test_labels_make_room_and_leave_ink(tmp_path):
    cells = [[torch.ones(3, 64, 64)], [None]]
    contact_sheet(
        cells, ["untuned model", "texture alignment"], ["a wooden crate"], tmp_path / "a.png", "Views"
    )
    contact_sheet(cells, ["", ""], [""], tmp_path / "b.png")
    labelled, bare = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    assert labelled.shape[0] > bare.shape[0] and labelled.shape[1] > bare.shape[1]
    left = labelled.shape[1] - bare.shape[1]
    assert (labelled[:, :left] < 100).any(), "row labels"
    head = labelled.shape[0] - bare.shape[0]
    assert (labelled[: head // 2] < 100).any(), "title"
    assert (labelled[head // 2 : head, left:] < 100).any(), "column label"


def test_same_pictures_give_the_same_bytes_without_metadata(tmp_path):
    for name in ("a.png", "b.png"):
        contact_sheet(pictures(), ["x", "y"], ["1", "2", "3"], tmp_path / name, title="t")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").info == {}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_proportions_are_kept_and_values_clamped(tmp_path):
    contact_sheet([[torch.full((3, 20, 40), -3.0)]], [""], [""], tmp_path / "c.png", cell_size=80, gap=0)
    sheet = np.asarray(Image.open(tmp_path / "c.png"))
    assert (sheet[20:60] == 0).all() and (sheet[:20] == 255).all() and (sheet[60:] == 255).all()


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Row 'y' has 1 cells"):
        contact_sheet([[None, None], [None]], ["x", "y"], ["1", "2"], tmp_path / "d.png")
    with pytest.raises(ValueError, match=r"must be \[3, H, W\]; this one is \[1, 8, 8\]"):
        contact_sheet([[torch.zeros(1, 8, 8)]], ["x"], ["1"], tmp_path / "d.png")
    assert not list(tmp_path.iterdir())
