"""`texreward push`: a tuned model to a repository of the model hub, from where `--model` takes it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from texgen import shipped
from texgen.storage.plain_text import first_line
from texgen.storage.result_records import check_adapter
from workflow.cli.adapters import find_tuned
from workflow.cli.checks import UsageError
from workflow.cli.terminal import say
from workflow.config.configuration import load_config
from workflow.config.kinds import ADAPTER_FILE, CAMERAS_FILE

CARD = "README.md"
PUSHED = (ADAPTER_FILE, CAMERAS_FILE, CARD, "config.json", "history.jsonl")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    one = commands.add_parser("push", help="bring a tuned model to a repository of the model hub")
    one.add_argument("model", help="a model of the configuration that was trained, or a folder with one")
    one.add_argument("repository", help="owner/name; made where there is none")
    one.add_argument("--public", action="store_true", help="of a new repository: for everybody to see")
    one.add_argument("--branch", help="instead of the main one; must be there")
    one.add_argument(
        "--config", default=shipped.project_configuration(), help="configuration that names the model"
    )
    one.set_defaults(run=push)


def push(options: argparse.Namespace) -> int:
    """Upload the files of a tuned model and say under which name it is to be had."""
    if not REPOSITORY.fullmatch(options.repository):
        raise UsageError(f"The repository is {options.repository!r}; give owner/name.")
    if "@" in options.model:
        raise UsageError(f"The model is {options.model!r}, which is on the hub already.")
    folder = find_tuned(load_config(options.config), options.model, "MODEL").folder
    check_adapter(folder)
    if not (folder / CARD).is_file():
        say(f"warning: {folder} has no model card ({CARD}), so the repository shows none")
    commit = upload(folder, options.repository, not options.public, options.branch)
    say(f"{options.repository}: written; use it with --model {options.repository}@{commit}")
    return 0


def upload(folder: Path, repository: str, private: bool, branch: str | None) -> str:
    """Write the files of a model into a repository; the commit. Raises UsageError in one sentence."""
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        written = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[name for name in PUSHED if (folder / name).is_file()],
            revision=branch,
            commit_message="A model tuned by texreward",
        )
    except Exception as error:  # the hub's client has many ways to say that it was not reached or let in
        raise UsageError(
            f"{repository} cannot be written ({first_line(error).rstrip('.')}); log in with `hf auth login`, "
            "and check the name and the network."
        ) from None
    return written.oid
