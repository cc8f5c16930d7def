"""Tables as blocks of plain cells, and what they look like in Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

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
        parts.append(f"{'#' if i == 0 else '##'} {block.title}")
        if block.header:
            parts.append(_markdown_grid(block))
        if block.notes:
            parts.append("\n".join(f"- {note}" for note in block.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_grid(block: Block) -> str:
    lines = [[_escape_markdown(name) for name in block.header]]
    lines += [[_markdown_cell(cell) for cell in row] for row in block.rows]
    grid = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([grid[0], "|---" + "|---:" * (len(block.header) - 1) + "|", *grid[1:]])


def _markdown_cell(cell: Text) -> str:
    text = _escape_markdown(cell.value)
    if cell.best:
        text = f"**{text}**"
    elif cell.second:
        text = f"<u>{text}</u>"
    return f"{text} {cell.mark}" if cell.mark else text


def _escape_markdown(text: str) -> str:
    return text.replace("|", "\\|")


_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
    "▲": r"$^\blacktriangle$",
    "▼": r"$^\blacktriangledown$",
    "≈": r"$^\approx$",
    "≤": r"$\leq$",
    "<": r"$<$",
    ">": r"$>$",
    "×": r"$\times$",
    "°": r"$^\circ$",
    "–": "--",
}


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


def latex(text: str) -> str:
    """Plain text with LaTeX's special signs escaped and our marks as mathematics."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex_cell(cell: Text) -> str:
    text = latex(cell.value)
    if cell.best:
        text = rf"\textbf{{{text}}}"
    elif cell.second:
        text = rf"\underline{{{text}}}"
    return text + latex(cell.mark.replace(" ", ""))


def to_html(blocks: Sequence[Block], title: str) -> str:
    """One self-contained HTML page."""
    environment = Environment(
        loader=PackageLoader("report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("table.html.j2")
    split = [[NOTE_BOLD.split(note) for note in block.notes] for block in blocks]
    return page.render(title=title, blocks=list(zip(blocks, split, strict=True)))
