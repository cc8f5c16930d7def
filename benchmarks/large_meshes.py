"""What preparing a mesh costs by its number of faces: CPU seconds and peak memory, start included.

    PYTHONPATH=. python benchmarks/large_meshes.py --faces 10000 160000 1000000

The mesh is the procedural `bumpy_ball`, subdivided, without uvs, so that it is unwrapped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.schedule import measured
from texgen.mesh.procedural import bumpy_ball


def write_ball(path: Path, faces: int) -> int:
    """An OBJ of about so many faces; returns their number. Each of six sides has cells² squares."""
    cells = max(1, round((faces / 12) ** 0.5))
    points, triangles = bumpy_ball(cells)
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in points.tolist())
        stream.writelines(f"f {a} {b} {c}\n" for a, b, c in (triangles + 1).tolist())
    return len(triangles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 160_000, 1_000_000])
    options = parser.parse_args()
    print("| faces | CPU seconds | peak MiB | unwrapping (seconds of the clock) | charts |")
    print("|---|---|---|---|---|")
    for faces in options.faces:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            count = write_ball(folder / "ball.obj", faces)
            command = ["-m", "workflow.steps.prepare_mesh", "--mesh", "ball", "--out", str(folder / "out")]
            seconds, memory = measured([*command, "--source", f"file:{folder / 'ball.obj'}"], folder)
            record = json.loads((folder / "out" / "mesh.json").read_text())
        unwrapping = f"{record['unwrap_seconds']:.1f} | {record['charts']}"
        print(f"| {count:,} | {seconds:.1f} | {memory:.0f} | {unwrapping} |", flush=True)


if __name__ == "__main__":
    main()
