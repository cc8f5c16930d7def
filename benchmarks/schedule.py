"""What scheduling costs: CPU time and memory of planning and of a dry run, by number of assets and shards.

    PYTHONPATH=. python benchmarks/schedule.py --assets 1000 10000 100000 --shard-size 250 1000

Each case is a made-up configuration of two methods and two metrics without weights: 8 prompts for every mesh,
as many meshes as needed, nothing computed yet. Every figure is of a process of its own, start included. The
files are those that planning writes (settings), the bytes what the file system gives them.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = 8
PLAN = (
    "from workflow.config.configuration import load_config; from workflow.jobs.plan import Plan; "
    "plan = Plan(load_config('config.yaml')); print(len(plan.assets))"
)
SNAKEMAKE = ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
SNAKEMAKE += ["--workflow-profile", "none", "--nolock", "--cores", "1", "--resources", "gpu=0"]


def write_project(folder: Path, assets: int, shard_size: int) -> None:
    """Sheets and configuration of a run of so many assets."""
    meshes = ["mesh\tsource\tsha256\trotate\tlicence\tsplit"]
    meshes += [f"m{k:06d}\tprocedural:trefoil\t\t\tfree\tevaluation" for k in range(-(-assets // PROMPTS))]
    prompts = ["prompt_id\tmesh\tprompt\tsplit"]
    prompts += [
        f"p{k}\t*\ta thing of material number {k}, worn by weather\tevaluation" for k in range(PROMPTS)
    ]
    (folder / "meshes.tsv").write_text("\n".join(meshes) + "\n")
    (folder / "prompts.tsv").write_text("\n".join(prompts) + "\n")
    config = {
        "title": "Scheduling",
        "meshes": {"table": "meshes.tsv"},
        "prompts": "prompts.tsv",
        "backbone": {"hub": "nobody/nothing", "controlnets": {"depth_inpaint": {"hub": "nobody/nothing"}}},
        "metrics": {"alignment": {"kind": "alignment"}, "emphasis": {"kind": "emphasis"}},
        "methods": {"pretrained": {"kind": "texgen"}, "intex": {"kind": "intex"}},
        "evaluation": {"shards": max(1, assets // shard_size)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def measured(arguments: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of `python ARGUMENTS`. Raises RuntimeError with its output when it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError((folder / "output.txt").read_text()[-3000:])
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def written(folder: Path) -> tuple[int, int]:
    """Number of settings files, and the bytes that the file system gives them."""
    sizes = [path.stat().st_blocks * 512 for path in (folder / "results" / "settings").glob("*.json")]
    return len(sizes), sum(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--shard-size", type=int, nargs="+", default=[1000], help="assets per job")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPU cores, Python {platform.python_version()}")
    print("assets\tshard\tjobs\tplan s\tplan MiB\tparse s\tparse MiB\tdry run s\tdry run MiB\tfiles\tbytes")
    for assets in options.assets:
        for size in options.shard_size:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                write_project(folder, assets, size)
                plan = measured(["-c", PLAN], folder)
                # Writes the settings; every later parse, also that of each cluster job, only looks for them.
                measured([*SNAKEMAKE, "--list-rules"], folder)
                parse = measured([*SNAKEMAKE, "--list-rules"], folder)
                dry = measured([*SNAKEMAKE, "--dry-run", "--quiet", "rules"], folder)
                lines = (folder / "output.txt").read_text().split()
                jobs = lines[lines.index("total") + 1]
                figures = [f"{value:.1f}" for pair in (plan, parse, dry) for value in pair]
                print("\t".join(map(str, (assets, size, jobs, *figures, *written(folder)))), flush=True)


if __name__ == "__main__":
    main()
