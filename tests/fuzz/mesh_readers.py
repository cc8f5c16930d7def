"""Coverage-guided fuzzing of the mesh readers, for as long as one likes; not part of the test suite.

    pip install atheris
    PYTHONPATH=.:tests python tests/fuzz/mesh_readers.py box.glb -max_total_time=600

The first argument names a valid file of `reference.mesh_files`, to start with; the rest is libFuzzer's.
Ends with a traceback and the offending bytes when anything but the project's own error comes out.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["texgen", "trimesh"]):
    from texgen.mesh.mesh import MeshError
    from texgen.reading.prepare import read_mesh
from reference.mesh_files import valid_files

FILES = valid_files()
FOLDER = Path(tempfile.mkdtemp())


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in FILES:
        sys.exit(f"Give one of {', '.join(FILES)}, then options of libFuzzer.")
    name = sys.argv.pop(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    (corpus / name).write_bytes(FILES[name])
    path = FOLDER / name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read_mesh(path)
        except MeshError:
            pass

    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
