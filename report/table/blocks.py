"""Tables as blocks of plain cells, and what they look like in Markdown, plain text, LaTeX and HTML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from report.escaping import latex, markdown
from report.pages import template
from texgen.storage.plain_text import plain

NOTE_BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True)
class Text:
    """One cell. best: shown bold; second: underlined; muted: trained on, not ranked; mark: signs after it."""

    value: str
    best: bool = False
    second: bool = False
    muted: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Block:
    """A heading, a grid (or none) and sentences. Notes may hold **bold** parts. The first column is text,
    the others are numbers."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Text]] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def to_markdown(blocks: Sequence[Block]) -> str:
    """Markdown as GitHub shows it; the first block's title is the document's."""
    parts = []
    for i, block in enumerate(blocks):
        parts.append(f"{'#' if i == 0 else '##'} {markdown(block.title)}")
        if block.header:
            parts.append(_markdown_grid(block))
        if block.notes:
            parts.append("\n".join(f"- {_markdown_note(note)}" for note in block.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_grid(block: Block) -> str:
    """Columns are padded, so that the source can be read as well."""
    lines = [[markdown(name) for name in block.header]]
    lines += [[_markdown_cell(cell) for cell in row] for row in block.rows]
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in (*lines, rule)]
    grid = ["| " + " | ".join(line) + " |" for line in padded]
    return "\n".join([grid[0], grid[-1], *grid[1:-1]])


def _markdown_cell(cell: Text) -> str:
    text = markdown(cell.value)
    if cell.best:
        text = f"**{text}**"
    elif cell.second:
        text = f"<ins>{text}</ins>"  # the tag that GitHub underlines; it drops <u>
    return f"{text} {cell.mark}" if cell.mark else text


def _markdown_note(note: str) -> str:
    """A note with its **bold** parts; all else in it is text."""
    parts = [markdown(part) if part.strip() else part for part in NOTE_BOLD.split(note)]
    return "".join(f"**{part}**" if k % 2 else part for k, part in enumerate(parts))


def to_text(blocks: Sequence[Block], width: int = 118) -> str:
    """Plain text for a terminal: a superscript 1 is the best of its column, a 2 the second.

    width: characters; notes are wrapped to it, and so is the first column of a grid that would be wider.
    """
    parts = []
    for i, block in enumerate(blocks):
        title = plain(block.title)
        parts.append(f"{title}\n{('=' if i == 0 else '-') * len(title)}")
        if block.header:
            parts.append(_text_grid(block, width))
        if block.notes:
            notes = [NOTE_BOLD.sub(r"\1", plain(note)) for note in block.notes]
            wrapped = [
                textwrap.fill(note, width, initial_indent="- ", subsequent_indent="  ") for note in notes
            ]
            parts.append("\n".join(wrapped))
    return "\n\n".join(parts) + "\n"


def _text_grid(block: Block, width: int) -> str:
    header = [plain(name) for name in block.header]
    body = [[plain(row[0].value), *map(_text_cell, row[1:])] for row in block.rows]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    rest = sum(widths[1:]) + 2 * len(widths[1:])
    first = max(12, min(widths[0], width - rest))

    def line(cells: Sequence[str]) -> list[str]:
        name, *more = textwrap.wrap(cells[0], first) or [""]
        numbers = "".join(f"  {cell:>{size}}" for cell, size in zip(cells[1:], widths[1:], strict=True))
        return [f"{name:<{first}}{numbers}".rstrip(), *(f"  {part}" for part in more)]

    lines = [*line(header), "-" * (first + rest), *(part for row in body for part in line(row))]
    return "\n".join(lines)


def _text_cell(cell: Text) -> str:
    marks = ("¹" if cell.best else "²" if cell.second else "") + cell.mark
    return plain(cell.value).replace(" ± ", "±") + marks


def to_latex(blocks: Sequence[Block]) -> str:
    """One booktabs table per block with a grid, notes in the caption (booktabs, graphicx, amssymb)."""
    parts = ["% \\usepackage{booktabs,graphicx,amssymb}"]
    for block in blocks:
        if not block.header:
            continue
        lines = [" & ".join(latex(name) for name in block.header) + r" \\", r"\midrule"]
        lines += [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in block.rows]
        caption = " ".join(
            [f"{latex(block.title)}.", *(NOTE_BOLD.sub(r"\\textbf{\1}", latex(note)) for note in block.notes)]
        )
        parts.append(
            "\n".join(
                [
                    r"\begin{table*}",
                    r"\centering",
                    rf"\caption{{{caption}}}",
                    r"\resizebox{\linewidth}{!}{%",
                    rf"\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}",
                    r"\toprule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}}",
                    r"\end{table*}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _latex_cell(cell: Text) -> str:
    text = latex(cell.value)
    if cell.best:
        text = rf"\textbf{{{text}}}"
    elif cell.second:
        text = rf"\underline{{{text}}}"
    return text + latex(cell.mark.replace(" ", ""))


def to_html(blocks: Sequence[Block], title: str) -> str:
    """One self-contained HTML page."""
    page = template("table.html.j2")
    split = [[NOTE_BOLD.split(note) for note in block.notes] for block in blocks]
    return page.render(title=title, blocks=list(zip(blocks, split, strict=True)))
