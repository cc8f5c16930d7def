"""A results folder with everything that the report reads: two meshes, three methods, made in a second."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch
from reference.tiny_meshes import sphere_mesh

from report.columns import SCORE_COLUMNS
from texgen.geometry.prepared import prepare_geometry
from texgen.mesh.export import save_texture_png
from texgen.mesh.mesh import save_mesh
from texgen.storage.records import FILES, stamps, write_record
from texgen.storage.result_records import MESH_FILES, RUN_FILES, write_score_record

SIZE = 32
METHODS = {"pretrained": "Untuned", "tuned": "Tuned <ours>", "other": "Other"}
COLOURS = {"pretrained": (0.8, 0.2, 0.2), "tuned": (0.2, 0.6, 0.3), "other": (0.2, 0.3, 0.8)}
FAILED = ("other", "egg--dots--0")


def metric(label: str, kind: str, group: str, up: bool = True) -> dict:
    return {"label": label, "kind": kind, "group": group, "higher_is_better": up, "decimals": 3}


def tiny_settings() -> dict:
    """Settings of the table, as `Plan.table_settings` gives them; one model with every kind of reward."""
    assets = [
        {"asset": f"{mesh}--{prompt}--0", "mesh": mesh, "prompt_id": prompt, "prompt": text, "seed": 0}
        for mesh, prompt, text in (
            ("ball", "dots", "a dotted </script> ball"),
            ("ball", "red", "a red ball"),
            ("egg", "dots", "a dotted egg"),
        )
    ]
    own = ["aesthetic", "symmetry", "alignment", "emphasis"]
    return {
        "title": "Tiny run",
        "note": "Nothing here means anything.",
        "reference": "pretrained",
        "methods": METHODS,
        "metrics": {
            "aesthetic": metric("Aesthetic", "aesthetic", "preference"),
            "clipscore": metric("CLIPScore", "clipscore", "preference"),
            "symmetry": metric("Symmetry", "symmetry", "geometry", up=False),
            "alignment": metric("Alignment", "alignment", "geometry"),
            "emphasis": metric("Emphasis", "emphasis", "geometry"),
        },
        "trained_on": {"tuned": own},
        "models": {
            "tuned": {
                "model": "tuned",
                "rewards": [{"metric": name, "rig": "front_4view"} for name in own],
            }
        },
        "backbone": "tiny",
        "miniature": True,
        "evaluation": {"rig": "evaluation", "size": 32, "backgrounds": {"white": [1, 1, 1]}, "seeds": [0]},
        "published": None,
        "meshes": {name: {"source": f"procedural:{name}", "licence": "free"} for name in ("ball", "egg")},
        "assets": assets,
        "training_pairs": [],
    }


def make_results(folder: Path) -> dict:
    """Write the folder and return its settings."""
    settings = tiny_settings()
    for name in settings["meshes"]:
        mesh = sphere_mesh(8)
        (folder / "meshes" / name).mkdir(parents=True)
        save_mesh(mesh, folder / "meshes" / name / "mesh.npz")
        prepare_geometry(mesh, SIZE).save(folder / "meshes" / name / "geometry.npz")
        record = {"mesh": name, FILES: stamps(folder / "meshes" / name, MESH_FILES)}
        write_record(folder / "meshes" / name / "mesh.json", record)
    generator = torch.Generator().manual_seed(0)
    rows: dict[tuple[str, str], list] = {}
    for method in METHODS:
        for asset in settings["assets"]:
            path = folder / "textures" / method / asset["asset"]
            path.mkdir(parents=True)
            run = {"method": method, **asset, "hash": "h", "kind": "texgen", "device": "none", "preset": {}}
            if (method, asset["asset"]) == FAILED:
                run |= {"status": "failed", "reason": "no view shows the mesh"}
            else:
                run |= {"status": "ok", "seconds": 2.5, "device_seconds": 2.0, "clock": "process CPU seconds"}
                run |= {"calls": {"unet": 4, "controlnet": 4}}
                run["peak_memory_bytes"] = 10**9
                run["preset"] = {"render_size": 48, "texture_size": SIZE, "image_size": 32}
                run["views"] = [
                    {"azimuth": a, "elevation": 0.0, "generate": 1.0, "refine": 0.0, "keep": 0.0}
                    for a in (0.0, 120.0, 240.0)
                ]
                noise = torch.rand(1, SIZE, SIZE, generator=generator) * 0.4 - 0.2
                texture = (torch.tensor(COLOURS[method])[:, None, None] + noise).clamp(0, 1)
                save_texture_png(path / "texture.png", texture)
                save_texture_png(path / "painted.png", torch.ones(3, SIZE, SIZE))
                for name in settings["metrics"]:
                    score = float(torch.rand((), generator=generator)) + 0.1 * (method == "tuned")
                    whole = {"view": "texture", "azimuth": "", "elevation": "", "background": ""}
                    rows.setdefault((name, method), []).append({**asset, **whole, "score": score})
            if run["status"] == "ok":
                (path / "mesh.glb").write_bytes(b"the mesh")
                run[FILES] = stamps(path, RUN_FILES)
            write_record(path / "run.json", run)
    for (name, method), records in rows.items():
        path = folder / "scores" / name / f"{method}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="") as stream:
            writer = csv.DictWriter(stream, SCORE_COLUMNS, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
        write_score_record(path, {"metric": name, "method": method})
    history = [
        {"step": step, "reward": None if step == 0 else 0.1 * step, "kl": 0.01 * step, "seconds": 1.0}
        | {"heldout_reward": 0.2 if step in (0, 10) else None}
        for step in range(11)
    ]
    path = folder / "models" / "tuned" / "history.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in history))
    write_record(path.with_name("config.json"), {"model": "tuned", FILES: stamps(path.parent, [path.name])})
    return settings
