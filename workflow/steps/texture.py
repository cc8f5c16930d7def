"""Texture the assets of one shard by one method.

Each asset has a folder with texture.png, painted.png, mesh.glb and, written last, run.json. An asset whose
run.json carries the hash of everything it depends on is kept, so a killed job continues where it was. An
asset that fails leaves a run.json with the reason and does not stop the others.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage import records
from texgen.storage.plain_text import without_passwords
from texgen.storage.result_records import (
    RUN,
    RUN_FILES,
    check_run,
    checked_mesh,
    checked_model,
    read_run,
    write_manifest,
)
from workflow import provenance
from workflow.config import custom
from workflow.jobs.jobs import TextureJob
from workflow.runtime.devices import claim_gpu, device_name, pick_device
from workflow.runtime.locking import work_alone
from workflow.runtime.progress import Pace
from workflow.runtime.step_errors import concerns_machine, plain_sentence, run_step

# How little of what a method repeats is enough to warm it up, where the method has such a setting.
WARM_UP = {"rounds": 0, "adam_steps": 1}


def asset_hash(job: TextureJob, asset: dict[str, Any], code: str, files: dict[str, str]) -> str:
    """Hash of all that one asset depends on: method, preset, weights, mesh, prompt, seed, code."""
    return provenance.content_hash({"job": job.identity(), "asset": asset, "code": code, "files": files})


def finished_run(folder: Path, digest: str) -> dict[str, Any] | None:
    """The record of an asset that is done, current and whole, else None; says what is damaged."""
    if not os.path.lexists(folder / RUN):
        return None  # not begun, or killed before its end
    try:
        run = read_run(folder.parent, folder.name)
        if run["hash"] != digest or run["status"] != "ok":
            return None
        check_run(folder.parent, run)
    except (DamagedFileError, OSError) as error:
        print(f"{plain_sentence(error)} It is made again now.", flush=True)
        return None
    return run


def texture_asset(method: Callable, mesh, asset: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the method on one asset and write its files; returns the measured part of run.json."""
    from texgen.mesh.export import save_texture_png, write_glb

    result = method(mesh, asset["prompt"], asset["seed"])
    texture = result.texture.cpu()
    save_texture_png(folder / "texture.png", texture)
    # Stored like the texture, so that both are read back by one convention.
    save_texture_png(folder / "painted.png", result.painted.cpu().expand(3, -1, -1))
    write_glb(folder / "mesh.glb", mesh.to("cpu"), texture)
    return {
        records.FILES: records.stamps(folder, RUN_FILES),
        "seconds": result.spent.wall,
        "device_seconds": result.spent.device,
        "clock": result.spent.clock,
        "peak_memory_bytes": result.peak_memory_bytes,
        "calls": result.calls,
        "views": result.views,
    }


def run_shard(
    job: TextureJob, meshes: Path, models: Path, out: Path, code: str, threads: int
) -> list[dict[str, Any]]:
    """Texture every asset that is not finished; returns one record per asset, in order."""
    import torch

    from texgen.mesh.mesh import load_mesh
    from workflow.steps.loading import adapter_hashes, asset_files

    adapter = None if job.model is None else models / job.model
    if adapter is not None:
        checked_model(adapter)
    weights = provenance.place_hashes(job.places()) | ({} if adapter is None else adapter_hashes(adapter))
    device, method, mesh = None, None, None
    mesh_hashes: dict[str, str] = {}
    runs = []
    pace = Pace(len(job.assets))
    for index, asset in enumerate(job.assets):
        label = f"[{index + 1}/{len(job.assets)}] {asset['asset']}"
        folder = out / asset["asset"]
        mesh_path = meshes / asset["mesh"] / "mesh.npz"
        if asset["mesh"] not in mesh_hashes:
            checked_mesh(meshes, asset["mesh"])
            mesh_hashes[asset["mesh"]] = provenance.file_hash(mesh_path)
        files = {**weights, **asset_files(job, asset), "mesh": mesh_hashes[asset["mesh"]]}
        digest = asset_hash(job, asset, code, files)
        run = finished_run(folder, digest)
        if run is not None:
            pace.keep()
            print(f"{label}: kept", flush=True)
            runs.append(run)
            continue
        (folder / RUN).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if mesh is None or mesh.name != asset["mesh"]:
            mesh = load_mesh(mesh_path)
        if method is None:
            torch.set_num_threads(threads)
            device = pick_device()
            # Beside the textures, so that what an authors' program left outlives a new texturing.
            work = out.parent.parent / "official" / job.method
            method = ready_method(job, adapter, device, work, mesh, asset)
        run = {
            "method": job.method,
            "kind": job.kind,
            "model": job.model,
            "lora_scale": job.lora_scale,
            **asset,
            "status": "ok",
            "device": device_name(device),
            "preset": job.preset,
            "versions": provenance.package_versions(),
            "git": provenance.git_revision(),
            # For those who ask what differs; `hash` covers these and all weights.
            "settings_hash": provenance.content_hash(job.identity()),
            "code": code,
            "mesh_hash": files["mesh"],
            "hash": digest,
        }
        pace.begin()
        try:
            run |= texture_asset(method, mesh, asset, folder)
            said = f"{run['seconds']:.1f} s"
        # Whatever a method stumbles over is part of its result: the table shows it, the others go on.
        except Exception as error:
            if concerns_machine(error):
                raise
            traceback.print_exc()
            run |= {"status": "failed", "reason": without_passwords(f"{type(error).__name__}: {error}")}
            said = f"failed, {run['reason']}"
        provenance.write_json(folder / RUN, run)
        print(f"{label}: {said} ({pace.finish()})", flush=True)
        runs.append(run)
    return runs


def ready_method(
    job: TextureJob, adapter: Path | None, device: str, work: Path, mesh, asset: dict[str, Any]
) -> Callable:
    """The method of a job, warmed up; work: folder for the files of an authors' program."""
    from workflow.steps.loading import Adapters, load_method

    build = load_method(job, device, Adapters(adapter), work)
    # An authors' program has its own models, in its own process: there is nothing to warm up.
    if job.backbone is not None and (job.file is None or takes_steps(job.file)):
        # One denoising step, so that compilation and caches are not part of any time.
        once = {"steps": 1} | {name: value for name, value in WARM_UP.items() if name in job.preset}
        warm_up(build(**once), mesh, asset)
    return build()


def takes_steps(file: str) -> bool:
    """Whether a custom method can be run for one step only."""
    signature = custom.signature_of(file)
    return signature.open or any(each.name == "steps" for each in signature.parameters)


def warm_up(method: Callable, mesh, asset: dict[str, Any]) -> None:
    """Run a method once and forget the result; what it stumbles over is met again, and recorded, later."""
    try:
        method(mesh, asset["prompt"], asset["seed"])
    except Exception as error:
        if concerns_machine(error):
            raise
        traceback.print_exc()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the job")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--models", type=Path, required=True, help="folder of tuned models")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one folder per asset")
    parser.add_argument("--manifest", type=Path, required=True, help="list of the shard's runs to write")
    parser.add_argument("--code", required=True, help="hash of the code of this stage")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args(arguments)
    job = TextureJob.read(options.settings)
    with work_alone(options.manifest):
        claim = claim_gpu()
        started = time.perf_counter()
        runs = run_shard(job, options.meshes, options.models, options.out, options.code, options.threads)
        write_manifest(options.manifest, job.method, options.out, runs)
        done = sum(run["status"] == "ok" for run in runs)
        seconds = time.perf_counter() - started
        print(f"{job.method}: {done} of {len(runs)} assets textured, {seconds:.0f} s")
        if claim is not None:
            claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
