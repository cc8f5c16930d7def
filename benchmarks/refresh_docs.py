"""Put what a finished default run shows into the documents: table, overview, figures before and after.

    python -m benchmarks.refresh_docs [--results results]

Writes docs/default-run.md (the whole results page), some columns of its first table into README.md between
two marks, and docs/images/{overview,comparison,before-after-*}.png as palette pictures, 1,800 pixels a side
at most.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from texgen.storage.files import atomic_path, write_text

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- first table of docs/default-run.md -->", "<!-- end -->"
WIDEST = 1800
README_COLUMNS = ("Method", "ImageReward", "HPSv2", "CLIPScore", "wall s")
FIGURES = {
    "overview": "overview.png",
    "comparison": "figures/comparison.png",
    "method": "figures/method_overview.png",
    **{
        f"before-after-{name.replace('_', '-')}": f"figures/before_after_{name}.png"
        for name in ("camera_pose", "geometry_alignment", "symmetry", "emphasis", "preference")
    },
}
HEAD = """# The default run

What `make table` wrote to `results/table.md`, whole. It compares methods on the miniature's models alone; how
it is measured stands in [evaluation.md](evaluation.md), how the models were tuned in
[finetuning.md](finetuning.md).

![A row per mesh and prompt, a column per method](images/overview.png)

"""


def first_table(page: str) -> str:
    """The first Markdown table of a page. Raises ValueError where there is none."""
    found = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)
    if found is None:
        raise ValueError("the page holds no table")
    # Cells are padded for readers of the source; here they only make lines long.
    return re.sub(r" {2,}", " ", re.sub(r"-{4,}", "---", found[0]))


def with_columns(table: str, names: Sequence[str]) -> str:
    """Some columns of a Markdown table, by the words of their heads. Raises ValueError for one it lacks."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
    heads = [re.sub(r"[^A-Za-z0-9 ]", "", head).strip() for head in rows[0]]
    missing = [name for name in names if name not in heads]
    if missing:
        raise ValueError(f"the table has no column {missing[0]}; it has {', '.join(heads)}")
    places = [heads.index(name) for name in names]
    return "".join(f"| {' | '.join(row[place] for place in places)} |\n" for row in rows)


def between_marks(text: str, table: str) -> str:
    """A text whose part between the two marks is replaced."""
    before, mark, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def write_picture(source: Path, target: Path) -> None:
    """A picture in at most 256 colours and `WIDEST` pixels a side."""
    image = Image.open(source).convert("RGB")
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    with atomic_path(target) as path:
        image.quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of a finished run")
    options = parser.parse_args(arguments)
    page = (options.results / "table.md").read_text(encoding="utf-8")
    write_text(ROOT / "docs/default-run.md", HEAD + page.partition("\n")[2].lstrip())
    readme = ROOT / "README.md"
    write_text(
        readme,
        between_marks(readme.read_text(encoding="utf-8"), with_columns(first_table(page), README_COLUMNS)),
    )
    for name, file in FIGURES.items():
        if (options.results / file).is_file():
            write_picture(options.results / file, ROOT / "docs/images" / f"{name}.png")
        else:
            print(f"left as it is: docs/images/{name}.png, since {options.results / file} is not there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
