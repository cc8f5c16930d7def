"""The card beside a tuned model: what it says, from records alone, and that no text breaks out of it."""

from __future__ import annotations

import copy

import pytest
import yaml
from reference.hostile_texts import HOSTILE

from report.model_card import MOST_PAIRS, model_card

RECORD = {
    "model": "tuned",
    "training": {
        "algorithm": "direct", "rank": 4, "alpha": 8.0, "layers": "attention", "batch": 2, "seed": 7,
        "learning_rate": 0.003, "decay": True, "warmup": 5, "keep_best": True,
        "rewards": [{"metric": "clipscore", "weight": 1.5, "rig": "tilted_short", "size": 128}],
    },
    "metrics": {"clipscore": {"kind": "clipscore"}},
    "backbone": {"hub": "someone/model", "revision": "abc123", "folder": None},
    "assets": [{"mesh": "cow", "prompt": "a red cow"}, {"mesh": "vase", "prompt": "a blue vase"}],
    "validation_assets": [{"mesh": "cow", "prompt": "a green cow"}],
    "steps_done": 20, "saved_step": 10, "device": "NVIDIA H200", "threads": 2,
}  # fmt: skip
HISTORY = [
    {"step": 0, "heldout_reward": 0.2, "heldout_scores": {"aesthetic": 5.0}, "seconds": 0.0},
    *(
        {"step": step, "heldout_reward": None, "seconds": 1.5, "evaluations": {"unet": 3}}
        for step in range(1, 10)
    ),
    {"step": 10, "heldout_reward": 0.35, "heldout_scores": {"aesthetic": 4.5}, "seconds": 1.5},
]
WEIGHTS = {"backbone": "someone/model: see its page", "reward clipscore, clip": "openai/x: MIT"}
MESHES = {"cow": "CC0-1.0", "vase": "none stated"}


def test_a_card_says_what_on_what_how_long_and_what_it_gained():
    card = model_card(RECORD, HISTORY, WEIGHTS, MESHES)
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "someone/model",
        "library_name": "diffusers",
        "license": "other",
        "tags": ["lora", "text-to-texture", "texreward"],
    }
    for said in (
        "# tuned",
        "rank 4 (alpha 8; attention)",
        "someone/model at abc123",
        "| clipscore | clipscore | 1.5 | tilted_short | 128 |",
        "2 pairs of mesh and prompt, 2 per step",
        "seed 7",
        "- cow: “a red cow”\n",
        "- cow: “a green cow” (measured only)",
        "cow: CC0-1.0; vase: none stated",
        "20 steps; the adapter is that of step 10",
        "15 s of training steps on NVIDIA H200, 2 CPU threads",
        "Learning rate 0.003, falling to 0, after 5 steps of rise.",
        "27 unet",
        "| reward | 0.2000 | 0.3500 | +0.1500 |",
        "| aesthetic | 5.0000 | 4.5000 | -0.5000 |",
        "Of 1 pair,",
        "No interval",
        "The adapter was chosen by them",
        "- reward clipscore, clip: openai/x: MIT",
    ):
        assert said in body, said


def test_what_was_not_measured_is_not_claimed():
    for history in ([{**row, "heldout_reward": None} for row in HISTORY], HISTORY[:1], HISTORY[1:]):
        card = model_card(RECORD, history, WEIGHTS, MESHES)
        assert "Not measured" in card and "difference" not in card
    folder = RECORD | {"backbone": {"hub": None, "folder": "models/mine"}}
    card = model_card(folder, HISTORY, WEIGHTS, MESHES)
    assert "base_model" not in card and "models/mine" in card


def test_a_long_list_of_pairs_is_cut_and_counted():
    many = [{"mesh": "cow", "prompt": f"cow {k}"} for k in range(MOST_PAIRS + 5)]
    card = model_card(RECORD | {"assets": many}, HISTORY, WEIGHTS, MESHES)
    assert f"{MOST_PAIRS + 5} pairs" in card and "and 6 more, in config.json" in card


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
def test_hostile_texts_stay_texts(text):
    plain = model_card(RECORD, HISTORY, WEIGHTS, MESHES)
    record = copy.deepcopy(RECORD)
    record["model"] = record["device"] = text
    for asset in record["assets"] + record["validation_assets"]:
        asset["prompt"] = text
    record["backbone"] |= {"hub": text}
    card = model_card(record, HISTORY, WEIGHTS | {"backbone": text}, {"cow": text, "vase": text})
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["base_model"] == text
    assert body.count("\n") == plain.removeprefix("---\n").split("\n---\n", 1)[1].count("\n")
    assert "<script" not in body and "](" not in body and "\x1b" not in body
