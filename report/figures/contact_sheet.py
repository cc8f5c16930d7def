"""A grid of pictures with row and column labels, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from texgen.storage.files import atomic_path
from texgen.storage.plain_text import plain

BACKGROUND, INK, EMPTY = (255, 255, 255), (30, 30, 30), (236, 236, 236)


def contact_sheet(
    cells: Sequence[Sequence],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    path: str | Path,
    title: str | None = None,
    cell_size: int | None = None,
    gap: int = 6,
) -> None:
    """Write pictures in rows and columns, with wrapped labels left of the rows and above the columns.

    cells: rows of images [3, H, W] in [0, 1] (torch tensors or arrays; values outside are clamped), None =
    an empty grey cell with a dash. Every row has one cell per column label. cell_size: pixels per cell side
    (None = the longest side of any picture, at least 64); pictures are scaled to fit, keeping their
    proportions. gap: pixels between cells. The file has no date or other metadata, so equal pictures give
    equal bytes.
    Raises ValueError when labels and cells do not fit together or a picture has another shape.
    """
    if len(cells) != len(row_labels):
        raise ValueError(f"There are {len(cells)} rows of cells but {len(row_labels)} row labels.")
    for label, row in zip(row_labels, cells, strict=True):
        if len(row) != len(column_labels):
            raise ValueError(
                f"Row '{label}' has {len(row)} cells but there are {len(column_labels)} columns."
            )
    pictures = [[None if cell is None else _picture(cell) for cell in row] for row in cells]
    if cell_size is None:
        cell_size = max([64, *(max(p.size) for row in pictures for p in row if p is not None)])

    font = _font(max(12, round(cell_size / 11)))
    heading = _font(max(15, round(cell_size / 8)))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = _label_width(measure, row_labels, font, limit=round(1.1 * cell_size))
    row_text = [_wrap(measure, label, font, left) for label in row_labels]
    column_text = [_wrap(measure, label, font, cell_size) for label in column_labels]
    indent = left + gap if left else 0
    width = gap + indent + len(column_labels) * (cell_size + gap)
    title_text = _wrap(measure, title or "", heading, width - 2 * gap)
    title_height = _height(measure, [title_text], heading)
    head = _height(measure, column_text, font)
    top = gap + sum(height + gap for height in (title_height, head) if height)
    heights = [max(cell_size, _height(measure, [text], font)) for text in row_text]

    sheet = Image.new("RGB", (width, top + sum(height + gap for height in heights)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title_height:
        draw.multiline_text((gap, gap), title_text, fill=INK, font=heading)
    x_of = [gap + indent + i * (cell_size + gap) for i in range(len(column_labels))]
    for x, text in zip(x_of, column_text, strict=True):
        anchor = (x + cell_size / 2, top - gap)
        draw.multiline_text(anchor, text, fill=INK, font=font, anchor="md", align="center")
    y = top
    for text, row, height in zip(row_text, pictures, heights, strict=True):
        middle = y + height / 2
        draw.multiline_text((gap, middle), text, fill=INK, font=font, anchor="lm")
        for x, picture in zip(x_of, row, strict=True):
            if picture is None:
                draw.rectangle((x, y, x + cell_size - 1, y + cell_size - 1), fill=EMPTY)
                draw.text((x + cell_size / 2, y + cell_size / 2), "–", fill=INK, font=heading, anchor="mm")
            else:
                fitted = _fit(picture, cell_size)
                corner = (x + (cell_size - fitted.width) // 2, y + (cell_size - fitted.height) // 2)
                sheet.paste(fitted, corner)
        y += height + gap
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def _picture(image) -> Image.Image:
    if hasattr(image, "detach"):
        image = image.detach().cpu().float().numpy()
    array = np.asarray(image, dtype=np.float32)
    if array.ndim != 3 or array.shape[0] != 3:
        raise ValueError(f"A picture of a contact sheet must be [3, H, W]; this one is {list(array.shape)}.")
    array = np.round(np.clip(array, 0.0, 1.0) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def _fit(picture: Image.Image, side: int) -> Image.Image:
    factor = side / max(picture.size)
    if factor == 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib carries this font, so that the text does not depend on the fonts of the machine.
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def _label_width(draw: ImageDraw.ImageDraw, labels: Sequence[str], font, limit: int) -> int:
    """Room for the labels: their natural width up to `limit`, but at least that of the longest word."""
    natural = max((draw.textlength(label, font=font) for label in labels), default=0)
    word = max((draw.textlength(part, font=font) for label in labels for part in label.split()), default=0)
    return round(max(min(natural, limit), word) + 0.5) if natural else 0


def _wrap(draw: ImageDraw.ImageDraw, text: str, font, width: float) -> str:
    lines: list[str] = []
    for word in plain(text).split():
        if lines and draw.textlength(f"{lines[-1]} {word}", font=font) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _height(draw: ImageDraw.ImageDraw, texts: Sequence[str], font) -> int:
    bottoms = [draw.multiline_textbbox((0, 0), text, font=font)[3] for text in texts if text]
    return round(max(bottoms, default=0) + 0.5)
