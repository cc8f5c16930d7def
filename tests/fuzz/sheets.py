"""Coverage-guided fuzzing of the sheets and the configuration, for as long as one likes.

    pip install atheris
    PYTHONPATH=. python tests/fuzz/sheets.py prompts -max_total_time=600

The first argument is meshes, prompts or config; the rest is libFuzzer's. `test_guided.py` does the same,
slower and briefer, in the test suite. Ends with a traceback and the offending bytes when anything but the
project's own error comes out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["workflow"]):
    from workflow.config.configuration import load_config
    from workflow.config.sheets import ConfigError, read_meshes, read_prompts

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {
    "meshes": ROOT / "config" / "meshes.tsv",
    "prompts": ROOT / "config" / "smoke_prompts.tsv",
    "config": ROOT / "config" / "smoke.yaml",
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in SEEDS:
        sys.exit(f"Give one of {', '.join(SEEDS)}, then options of libFuzzer.")
    kind = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp())
    corpus, path = folder / "corpus", folder / SEEDS[kind].name
    corpus.mkdir()
    (corpus / "seed").write_bytes(SEEDS[kind].read_bytes())
    meshes = read_meshes(SEEDS["meshes"])

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            if kind == "meshes":
                read_meshes(path)
            elif kind == "prompts":
                read_prompts(path, meshes)
            else:
                load_config(path)
        except ConfigError:
            pass

    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
