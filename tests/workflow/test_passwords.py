"""Addresses with a password: wherever one is shown, user and password are not."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from reference.outcomes import check_sentence

from rewards.checkpoints import store
from rewards.checkpoints.published_files import NeededFiles
from rewards.checkpoints.store import WeightsMissing
from texgen.mesh.mesh import MeshError
from texgen.mesh.sources import fetch_source
from texgen.storage.downloads import DownloadError, public_address, request_for, shown_source
from texgen.storage.plain_text import first_line, terminal, without_passwords
from workflow.cli import main as cli
from workflow.config.configuration import load_config
from workflow.config.sheets import ConfigError, read_meshes
from workflow.steps import prepare_mesh
from workflow.weights import diffusion_weights, published

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD = "loginname", "hunter2"
CLOSED = f"https://{USER}:{PASSWORD}@127.0.0.1:9/head.pth"  # nobody answers there
SHA = "0" * 64
ASKED = NeededFiles("someone/something", None, (), "")


def check_hidden(text: object) -> str:
    """The text, after it was looked through."""
    assert USER not in str(text) and PASSWORD not in str(text), text
    return str(text)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXREWARD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "*")


def head_config(folder: Path, address: str = CLOSED) -> Path:
    """A configuration whose only weights from a network are a head at an address."""
    text = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    head = {"url": address, "sha256": SHA}
    text["metrics"] = {
        "aesthetic": {
            "kind": "aesthetic",
            "clip": {"folder": str(ROOT / "models" / "miniature" / "clip")},
            "head": head,
        }
    }
    text.pop("models", None)
    text["methods"] = {"pretrained": {"kind": "texgen"}}
    path = folder / "head.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


@pytest.mark.parametrize(
    "address",
    [
        CLOSED,
        f"http://{USER}:{PASSWORD}@host",
        f"ftp://{USER}:a@{PASSWORD}@host/x",
        f"https://{USER}:{PASSWORD}@[::1/x",
        f"s3://{PASSWORD}@bucket/x",
    ],
)
def test_a_text_loses_what_stands_before_the_host(address):
    for shown in (without_passwords, terminal, shown_source, public_address):
        assert check_hidden(shown(address)).startswith(address.partition("://")[0] + "://")
    assert check_hidden(without_passwords(f"'{address}' and {address}, (see {address})")).count("://") == 3
    check_hidden(first_line(OSError(f"for url '{address}'\nmore")))


def test_other_texts_stay_as_they_are():
    for text in ("a@b", "https://host/a@b", "https://host/?mail=a@b", "an e-mail to me@host", "x://y z@w"):
        assert without_passwords(text) == text
    assert first_line(OSError()) == "OSError"


def test_a_need_and_what_is_lacking(tmp_path):
    config = load_config(head_config(tmp_path))
    (need,) = [each for each in published.needs(config) if each.url]
    assert "127.0.0.1:9/head.pth" in check_hidden(need.lacking()) and need.name == "head.pth"
    check_hidden(json.dumps(published.rows(config)))
    with pytest.raises(WeightsMissing) as caught:
        published.obtain(need, check_hidden)
    check_hidden(caught.value)
    nameless = dataclasses.replace(need, url="https://host/%00")
    with pytest.raises(DownloadError, match="cannot be printed"):
        nameless.lacking()


def test_all_weights_at_once(tmp_path, monkeypatch):
    config = load_config(head_config(tmp_path))
    for reason in ("", CLOSED):
        monkeypatch.setattr(published, "unreachable", lambda said=reason: without_passwords(said))
        with pytest.raises(WeightsMissing) as caught:
            published.require(config, check_hidden)
        assert "head.pth" in check_hidden(caught.value)


@pytest.mark.parametrize("end", ["127.0.0.1:9", "127.0.0.1:9/a b", "[::1"])
def test_a_mirror_that_does_not_answer(monkeypatch, end):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for scheme in ("https", "http", "ftp"):
        monkeypatch.setattr(constants, "ENDPOINT", f"{scheme}://{USER}:{PASSWORD}@{end}")
        assert check_hidden(published.unreachable()).startswith(f"{scheme}://")


def test_a_mirror_gets_its_password_in_a_header():
    request = request_for(f"http://{USER}:{PASSWORD}@127.0.0.1:9", "HEAD", ("https", "http"))
    check_hidden(request.full_url)
    assert request.host == "127.0.0.1:9" and request.unredirected_hdrs["Authorization"].startswith("Basic ")


def test_errors_of_the_hubs_client(monkeypatch):
    import huggingface_hub

    def fail(*arguments, **options):
        raise OSError(f"404 Not Found for url '{CLOSED}'")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    for call in (
        lambda: diffusion_weights.listing(ASKED),
        lambda: diffusion_weights.download_model(ASKED, ["x"]),
        lambda: store.fetch(ASKED),
    ):
        with pytest.raises(WeightsMissing) as caught:
            call()
        assert "404 Not Found" in check_hidden(caught.value)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("sha256", ["", SHA])
def test_sources_of_meshes(tmp_path, capsys, scheme, sha256):
    address = CLOSED.replace("https", scheme)
    with pytest.raises(MeshError) as caught:
        fetch_source(address, sha256, tmp_path)
    check_sentence(check_hidden(caught.value))
    job = ["--mesh", "a", "--source", address, "--sha256", sha256, "--out", str(tmp_path / "out")]
    assert prepare_mesh.main(job) == 1
    texture = ["texture", address, "a red one", "--out", "x.glb", "--sha256", sha256]
    assert cli.main(texture) == 2
    said = capsys.readouterr()
    assert "127.0.0.1:9" in check_hidden(said.err)
    check_hidden(said.out)


def test_sheets_and_configurations(tmp_path):
    sheet = tmp_path / "meshes.tsv"
    sheet.write_text(
        "mesh\tsource\tsha256\trotate\tlicence\tsplit\n" + f"a\thttp{CLOSED[5:]}\t\t\tfree\tboth\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_meshes(sheet)
    check_sentence(check_hidden(caught.value), "row 2, source")
    with pytest.raises(ConfigError) as caught:
        load_config(head_config(tmp_path, f"http{CLOSED[5:]}"))
    assert "url" in check_hidden(caught.value)


def test_weights_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "unreachable", lambda: "")
    config = str(head_config(tmp_path))
    assert cli.main(["weights", "check", "--config", config]) == 1
    assert cli.main(["weights", "fetch", "--config", config]) == 2
    said = capsys.readouterr()
    assert "head.pth" in check_hidden(said.out) and "head.pth" in check_hidden(said.err)


ADDRESSES = ("url", "address", "ENDPOINT", "endpoint", "source")
"""Names that hold an address as it was given."""


def shown_raw(path: Path) -> list[str]:
    """Addresses that a source file puts into a text as they are."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FormattedValue):
            name = getattr(node.value, "attr", getattr(node.value, "id", ""))
            if name in ADDRESSES:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node.value)}")
    return found


def test_no_module_that_knows_addresses_puts_one_into_a_text_as_it_is():
    folders = ("workflow/weights", "workflow/steps", "rewards/checkpoints", "texgen/storage")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files = (
        "texgen/mesh/sources.py",
        "workflow/config/sheets.py",
        "workflow/cli/main.py",
        "workflow/cli/checks.py",
    )
    paths += [ROOT / file for file in (*files, "workflow/cli/weights.py")]
    assert [each for path in paths for each in shown_raw(path)] == []
