"""What checking costs: writing stamps, and looking at every file of a results folder before a run.

    PYTHONPATH=.:tests python benchmarks/records.py [--assets 10000] [--kilobytes 100]

Prints seconds of the processor and of the clock per asset, and what that is for 100,000 assets.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path

from reference.fake_results import fake_shard

from texgen.storage.records import stamps
from texgen.storage.result_records import RUN_FILES, read_manifest, read_run
from workflow.jobs.recheck import damaged_assets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--kilobytes", type=int, default=100, help="of each picture whose hashing is timed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        textures = Path(place) / "method"
        assets = [{"asset": f"mesh--p{number}--0", "mesh": "mesh"} for number in range(options.assets)]
        textures.mkdir()
        fake_shard(textures, "method", 0, assets)
        manifest = textures / "shard-0.json"
        show("find damage, nothing damaged", options.assets, partial(found, manifest))
        show("read every run.json", options.assets, lambda: [read_run(textures, a["asset"]) for a in assets])
        for path in textures.glob("*/*.*"):
            os.utime(path, (1, 1))
        show("find damage, all times lost", options.assets, partial(found, manifest))
        one = Path(place) / "one"
        one.mkdir()
        for name in RUN_FILES:
            (one / name).write_bytes(os.urandom(options.kilobytes << 10))
        count = min(options.assets, 2000)
        show(
            f"stamp 3 files of {options.kilobytes} kB",
            count,
            lambda: [stamps(one, RUN_FILES) for _ in range(count)],
        )


def found(manifest: Path) -> list[str]:
    return list(damaged_assets(manifest.parent, read_manifest(manifest, "method")))


def show(what: str, count: int, call) -> None:
    """Print what a call over so many assets costs."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    each = processor / count
    print(
        f"{what:32s} {1e6 * each:7.0f} us of the processor per asset ({clock:.1f} s by the clock); "
        f"100,000 assets: {1e5 * each:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
