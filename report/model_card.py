"""The README.md beside a tuned model: what it is, trained on what, how long, its gains, its terms.

Everything is taken from the model's record and its history; nothing that was not measured is said. Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from report.escaping import markdown

MOST_PAIRS = 60
"""Pairs that are listed; the rest is counted."""
TAGS = ["lora", "text-to-texture", "texreward"]
ADAPTER_TERMS = (
    "The adapter changes these weights and is of no use without them: their terms apply to what is made with "
    "it. texreward itself is under Apache-2.0."
)


def model_card(
    record: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    weights: Mapping[str, str],
    meshes: Mapping[str, str],
) -> str:
    """The card as Markdown with the front matter that model hubs read.

    record: config.json of the model. history: rows of its history.jsonl. weights: what each network is (e.g.
    "backbone", "reward clipscore") -> "where it is from: its licence". meshes: name -> licence.
    """
    parts = [
        _front_matter(record),
        f"# {markdown(record['model'])}",
        _what(record),
        "## Reward\n\n" + _rewards(record),
        "## Trained on\n\n" + _pairs(record, meshes),
        "## How long\n\n" + _effort(record, history),
        "## Gains\n\n" + _gains(record, history),
        "## Use\n\n" + _use(record),
        "## Terms\n\n" + _terms(weights),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(record: Mapping[str, Any]) -> str:
    facts: dict[str, Any] = {"library_name": "diffusers", "license": "other", "tags": TAGS}
    hub = record["backbone"].get("hub")
    if hub is not None:
        facts = {"base_model": hub, **facts}
    return "---\n" + yaml.safe_dump(facts, sort_keys=False) + "---"


def base_name(backbone: Mapping[str, Any]) -> str:
    """A backbone as the card names it: hub id and revision, or folder."""
    if backbone.get("hub") is None:
        return str(backbone.get("folder"))
    revision = backbone.get("revision")
    return f"{backbone['hub']} at {revision}" if revision else f"{backbone['hub']}, its default revision"


def _what(record: Mapping[str, Any]) -> str:
    training = record["training"]
    return (
        f"LoRA adapter of rank {training['rank']} (alpha {training['alpha']:g}; {training['layers']}) for "
        f"the UNet of {markdown(base_name(record['backbone']))}, tuned for painting meshes by a text: the "
        f"reward of the finished texture was raised by the algorithm {training['algorithm']}."
    )


def _rewards(record: Mapping[str, Any]) -> str:
    lines = ["| term | kind | weight | cameras | side, pixels |", "|---|---|---:|---|---:|"]
    for term in record["training"]["rewards"]:
        kind = record["metrics"][term["metric"]]["kind"]
        cells = (markdown(term["metric"]), kind, f"{term['weight']:g}", term["rig"], str(term["size"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nCameras and side concern scores of renders; others judge the texture."


def _pairs(record: Mapping[str, Any], meshes: Mapping[str, str]) -> str:
    training, assets = record["training"], record["assets"]
    held = _count(len(record["validation_assets"]), "further pair")
    lines = [
        f"{_count(len(assets), 'pair')} of mesh and prompt, {training['batch']} per step, in an order and "
        f"with noise drawn from seed {training['seed']}; {held} only measured.",
        "",
    ]
    marked = [(asset, "") for asset in assets]
    marked += [(asset, " (measured only)") for asset in record["validation_assets"]]
    lines += [
        f"- {markdown(asset['mesh'])}: “{markdown(asset['prompt'])}”{mark}"
        for asset, mark in marked[:MOST_PAIRS]
    ]
    if len(marked) > MOST_PAIRS:
        lines.append(f"- and {len(marked) - MOST_PAIRS} more, in config.json")
    listed = "; ".join(f"{markdown(mesh)}: {markdown(licence)}" for mesh, licence in meshes.items())
    return "\n".join([*lines, "", f"Licences of the meshes: {listed}."])


def _effort(record: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    training = record["training"]
    seconds = sum(row.get("seconds") or 0.0 for row in history)
    threads = record.get("threads")
    beside = f", {_count(threads, 'CPU thread')}" if threads else ""
    lines = [
        f"- {_count(record['steps_done'], 'step')}; the adapter is that of step {record['saved_step']}.",
        f"- {seconds:.0f} s of training steps on {markdown(record['device'])}{beside}, measurements of "
        "held-out pairs excluded.",
        f"- Learning rate {training['learning_rate']:g}"
        + (", falling to 0" if training["decay"] else "")
        + (f", after {_count(training['warmup'], 'step')} of rise" if training["warmup"] else "")
        + ".",
    ]
    calls: dict[str, int] = {}
    for row in history:
        for name, count in (row.get("evaluations") or {}).items():
            calls[name] = calls.get(name, 0) + count
    if calls:
        said = ", ".join(f"{count} {markdown(name)}" for name, count in calls.items())
        lines.append(f"- Denoiser evaluations: {said}.")
    peak = max((row.get("peak_memory_bytes") or 0 for row in history), default=0)
    if peak:
        lines.append(f"- Memory at most {peak / 2**30:.1f} GiB.")
    return "\n".join(lines)


def _gains(record: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    measured = [row for row in history if row.get("heldout_reward") is not None]
    saved = [row for row in measured if row["step"] == record["saved_step"]]
    if not measured or measured[0]["step"] != 0 or not saved:
        return "Not measured: no held-out pairs were kept. See table.md of the results folder it is from."
    first, last = measured[0], saved[0]
    values = {"reward": (first["heldout_reward"], last["heldout_reward"])}
    for name, before in (first.get("heldout_scores") or {}).items():
        after = (last.get("heldout_scores") or {}).get(name)
        if after is not None:
            values[name] = before, after
    lines = ["| mean over held-out pairs | before | after | difference |", "|---|---:|---:|---:|"]
    for name, (before, after) in values.items():
        lines.append(f"| {markdown(name)} | {before:.4f} | {after:.4f} | {after - before:+.4f} |")
    pairs = _count(len(record["validation_assets"]), "pair")
    chosen = (
        " The adapter was chosen by them, so the difference flatters."
        if record["training"]["keep_best"]
        else ""
    )
    lines += [
        "",
        f"Of {pairs}, painted with the same noise.{chosen} No interval: the history holds means alone. "
        "Differences on pairs that nothing was chosen by, with intervals, are in table.md of the results "
        "folder.",
    ]
    return "\n".join(lines)


def _use(record: Mapping[str, Any]) -> str:
    cameras = " Put on its own by diffusers it lacks its cameras (cameras.json)." if _moves(record) else ""
    return (
        '    texreward texture mesh.obj "a text" --model FOLDER --out painted.glb\n\n'
        f"FOLDER is the one that holds this file.{cameras}"
    )


def _moves(record: Mapping[str, Any]) -> bool:
    return record["training"].get("learn_cameras") is not None


def _terms(weights: Mapping[str, str]) -> str:
    lines = [f"- {markdown(role)}: {markdown(text)}" for role, text in weights.items()]
    return "\n".join([*lines, "", ADAPTER_TERMS])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
