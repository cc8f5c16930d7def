"""`texreward push`, with a hub that only remembers what it was sent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from workflow.cli.main import main
from workflow.config.kinds import ADAPTER_FILE


@pytest.fixture
def hub(monkeypatch):
    """Calls of the hub's client, in their order."""
    calls = []

    class Client:
        def create_repo(self, repository, **more):
            calls.append(("create", repository, more))

        def upload_folder(self, **more):
            calls.append(("upload", more))
            return SimpleNamespace(oid="0123abc")

    monkeypatch.setattr("huggingface_hub.HfApi", Client)
    return calls


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder with a tuned model, its card, and a file that stays here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned").mkdir()
    save_file({"unet.x.lora_A.weight": torch.zeros(1, 2)}, tmp_path / "tuned" / ADAPTER_FILE)
    (tmp_path / "tuned" / "README.md").write_text("# tuned\n")
    (tmp_path / "tuned" / "notes.txt").write_text("mine")
    return tmp_path / "tuned"


def test_the_files_of_a_model_and_no_others_are_sent(hub, model, capsys):
    assert main(["push", "tuned", "me/tuned"]) == 0
    created, (_, sent) = hub
    assert created == ("create", "me/tuned", {"private": True, "exist_ok": True})
    assert sent["repo_id"] == "me/tuned" and sent["folder_path"] == model and sent["revision"] is None
    assert sorted(sent["allow_patterns"]) == ["README.md", ADAPTER_FILE]
    said = capsys.readouterr().err
    assert "--model me/tuned@0123abc" in said and "warning" not in said
    (model / "README.md").unlink()
    assert main(["push", "tuned", "me/tuned", "--public", "--branch", "next"]) == 0
    assert hub[2][2]["private"] is False and hub[3][1]["revision"] == "next"
    assert "has no model card" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tuned", "mine"), "The repository is 'mine'; give owner/name."),
        (("me/tuned@abc", "me/tuned"), "is on the hub already"),
        (("nothing", "me/tuned"), "There is no model 'nothing'"),
        (("camera_pose", "me/tuned"), "is not trained yet"),
    ],
)
def test_what_cannot_be_sent_is_said_and_nothing_is_asked(hub, model, capsys, words, said):
    assert main(["push", *words]) == 2
    assert said in capsys.readouterr().err and not hub


def test_a_hub_that_refuses_is_one_sentence(model, monkeypatch, capsys):
    def refuse(*_, **__):
        raise RuntimeError("401 Client Error: Unauthorized\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    assert main(["push", "tuned", "me/tuned"]) == 2
    said = capsys.readouterr().err.strip()
    assert said == (
        "me/tuned cannot be written (401 Client Error: Unauthorized); log in with `hf auth login`, and check "
        "the name and the network."
    )
