"""How far each method's renders are from a folder of reference pictures: CMMD, by the CLIP of a metric."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable
from pathlib import Path

from texgen.storage.result_records import checked_scores, write_score_record
from workflow import provenance
from workflow.jobs.jobs import ScoreJob
from workflow.jobs.references import pictures_in
from workflow.runtime.devices import claim_gpu, pick_device
from workflow.runtime.step_errors import run_step

COLUMNS = ("method", "cmmd", "renders", "references", "clip")
WHITE = (1.0, 1.0, 1.0)


def embeddings(clip, paths: Iterable[Path]):
    """Unit embeddings [N, D] of picture files; transparent ones lie on white. Raises PlainError."""
    import torch

    from rewards.picture_files import read_image

    with torch.no_grad():
        return torch.cat(
            [clip.image_features(read_image(str(path), WHITE).to(clip.device)).cpu() for path in paths]
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metric", type=Path, required=True, help="settings file of the CLIP score's job")
    parser.add_argument("--renders", type=Path, required=True, help="folder with <method>/renders.tsv")
    parser.add_argument("--methods", nargs="+", required=True, help="methods to measure")
    parser.add_argument("--references", type=Path, required=True, help="folder of reference pictures")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .tsv")
    options = parser.parse_args(arguments)
    from rewards.set_distance import cmmd
    from workflow.steps.scorers import load_metric

    claim = claim_gpu()
    references = pictures_in(options.references)
    clip = load_metric(ScoreJob.read(options.metric).block, pick_device()).clip
    wanted = embeddings(clip, references)
    rows = []
    for method in options.methods:
        folder = options.renders / method
        checked_scores(folder / "renders.tsv")
        with open(folder / "renders.tsv", newline="", encoding="utf-8") as stream:
            files = [row["file"] for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
        value = cmmd(embeddings(clip, (folder / file for file in files)), wanted) if files else float("nan")
        facts = {"renders": len(files), "references": len(references), "clip": clip.version}
        rows.append({"method": method, "cmmd": repr(value), **facts})
        print(
            f"{method}: CMMD {value:.3f} of {len(files)} renders to {len(references)} references", flush=True
        )
    with provenance.atomic_path(options.out) as path, open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_score_record(options.out, {})
    if claim is not None:
        claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
