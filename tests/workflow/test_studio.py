"""The studio: what its server answers to and refuses, its jobs, and the page in a browser."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from io import BytesIO

import numpy as np
import pytest
import yaml
from PIL import Image
from reference.browser import BROWSER, browser_tab
from reference.tiny_project import tiny_config, write_tiny_models

from texgen.mesh.export import write_glb
from texgen.mesh.procedural import write_shape
from texgen.reading.prepare import prepare_mesh
from workflow.cli.checks import UsageError
from workflow.cli.main import main
from workflow.cli.studio.server import MOST_BYTES, Server
from workflow.cli.studio.session import Session
from workflow.config.configuration import load_config

PAINT = {"prompt": "a red one", "methods": ["pretrained"], "seed": 1}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A running server on tiny models."""
    folder = tmp_path_factory.mktemp("studio")
    (folder / "models").mkdir()
    write_tiny_models(folder / "models" / "tiny")
    config = tiny_config()
    config["methods"]["plain"] = {"kind": "texgen", "preset": {"steps": 1}}
    config["results"] = str(folder / "results")
    (folder / "c.yaml").write_text(yaml.safe_dump(config).replace("models/tiny", f"{folder}/models/tiny"))
    write_shape("bumpy_ball", folder / "ball.obj")
    mesh, _ = prepare_mesh(folder / "ball.obj", "ball")
    import torch

    write_glb(folder / "bare.glb", mesh, torch.full((3, 8, 8), 0.7))
    (folder / "work").mkdir()
    server = Server(Session(mesh, load_config(str(folder / "c.yaml")), folder / "work"), folder / "bare.glb")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.session.stop()
    server.shutdown()
    server.server_close()


def ask(server, method="GET", place="", body=None, path=None, **headers):
    """(status, body) of one request; place: below the secret."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    given = {"Content-Type": "application/json"} if body is not None else {}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path or f"/{server.secret}/{place}", data, given)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def until_idle(server, listener):
    """Events of a job until it has ended."""
    events = []
    while True:
        events.append(listener.get(timeout=120))
        if events[-1]["kind"] == "state" and not events[-1]["busy"] and len(events) > 1:
            server.session.forget(listener)
            return events


def png(pixels, mode=None) -> str:
    """A picture as a data: address."""
    stream = BytesIO()
    Image.fromarray(pixels, mode).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def painted(server, **given):
    listener = server.session.listen()
    status, said = ask(server, "POST", "paint", PAINT | given)
    assert status == 202, said
    return until_idle(server, listener)


def texture(server, number):
    status, data = ask(server, place=f"results/{number}.png")
    assert status == 200
    return np.array(Image.open(BytesIO(data)).convert("RGB"))


def test_a_job_tells_its_views_and_leaves_a_mesh(studio):
    events = painted(studio)
    views = [event for event in events if event["kind"] == "view"]
    assert {event["index"] for event in views} == {0, 1, 2}
    assert [event["done"] for event in views] == [False, True] * 3
    first = base64.b64decode(views[1]["picture"].partition(",")[2])
    assert Image.open(BytesIO(first)).size == (32, 32)
    steps = [event for event in events if event["kind"] == "step"]
    assert (steps[-1]["view"], steps[-1]["step"]) == (3, 2)
    (made,) = events[-1]["made"]
    assert events[-1]["said"] is None and events[-1]["results"][-1]["number"] == made
    status, glb = ask(studio, place=f"results/{made}.glb")
    assert status == 200 and glb[:4] == b"glTF"
    assert texture(studio, made).std() > 0


def test_a_region_of_a_result_is_painted_again_and_two_methods_in_turn(studio):
    (base,) = painted(studio)[-1]["made"]
    before = texture(studio, base)
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[3:16, 3:29] = 255
    events = painted(studio, base=base, mask=png(mask), seed=5, methods=["pretrained", "plain"])
    made = events[-1]["made"]
    assert len(made) == 2, events[-1]["said"]
    for number in made:
        after = texture(studio, number)
        assert np.array_equal(after[mask == 0], before[mask == 0])
        # Renders of 32 pixels show most of the small charts together with what is kept.
        assert (after != before).any(axis=2)[mask > 0].mean() > 0.2
    boxed = painted(studio, base=base, box="-9,0,-9,9,9,9", seed=6)[-1]
    assert 0.1 < (texture(studio, boxed["made"][0]) != before).any(axis=2).mean() < 0.9
    nowhere = painted(studio, base=base, box="8,8,8,9,9,9")[-1]
    assert nowhere["made"] == [] and "holds no surface of the mesh" in nowhere["said"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": " "}, "The prompt is empty"),
        ({"prompt": 5}, "prompt must be a text"),
        ({"seed": -1}, "The seed is -1"),
        ({"seed": "1"}, "seed must be a whole number"),
        ({"methods": ["magic"]}, "There is no method 'magic'"),
        ({"methods": []}, "Choose one method or two"),
        ({"model": "/etc/passwd"}, "There is no tuned model '/etc/passwd'"),
        ({"base": 99, "box": "0,0,0,1,1,1"}, "There is no result 99"),
        ({"box": "0,0,0,1,1,1"}, "Choose the result of which"),
        ({"out": "/tmp/x"}, "'out', which is not a field"),
    ],
)
def test_what_cannot_be_painted_is_said(studio, given, said):
    status, body = ask(studio, "POST", "paint", PAINT | given)
    assert status == 400 and said in json.loads(body)["said"]


def test_masks_that_are_none_are_said(studio):
    (base,) = painted(studio)[-1]["made"]
    small = BytesIO()
    Image.new("L", (9, 9), 255).save(small, format="PNG")
    for data, said in (
        (b"no picture", "The mask is not a complete picture"),
        (small.getvalue(), "The mask is 9 x 9, but the texture of the result is 32 x 32"),
    ):
        sent = "data:;base64," + base64.b64encode(data).decode()
        status, body = ask(studio, "POST", "paint", PAINT | {"base": base, "mask": sent})
        assert status == 400 and said in json.loads(body)["said"]


def test_a_texture_of_a_file_is_a_result_of_which_a_region_is_painted_again(studio):
    given = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    listener = studio.session.listen()
    status, body = ask(studio, "POST", "start", {"name": "mine.png", "texture": png(given)})
    assert status == 202
    number = json.loads(body)["number"]
    assert listener.get(timeout=10)["kind"] == "state"  # what it begins with
    told = listener.get(timeout=10)
    studio.session.forget(listener)
    assert told["made"] == [number] and told["results"][-1]["words"] == f"{number}. mine.png, as it was given"
    assert np.array_equal(texture(studio, number), given)
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[3:16, 3:29] = 255
    (again,) = painted(studio, base=number, mask=png(mask))[-1]["made"]
    after = texture(studio, again)
    assert np.array_equal(after[mask == 0], given[mask == 0])
    assert (after != given).any(axis=2)[mask > 0].mean() > 0.2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"texture": "data:;base64,bm8="}, "The texture is not a complete picture"),
        ({"texture": 7}, "The texture is not a complete picture"),
        ({}, "The texture is not a complete picture"),
        ({"texture": png(np.zeros((32, 20, 3), np.uint8)), "name": "x.png"}, "The texture x.png is 20 x 32"),
        ({"texture": png(np.zeros((32, 32, 4), np.uint8))}, "is transparent in places"),
        ({"texture": "", "path": "/etc/passwd"}, "'path', which is not a field"),
    ],
)
def test_textures_that_are_none_are_said(studio, sent, said):
    status, body = ask(studio, "POST", "start", sent)
    assert status == 400 and said in json.loads(body)["said"]


def test_a_texture_that_cannot_fit_the_mesh_is_said(studio, monkeypatch):
    def refuse():
        raise UsageError("the mesh is not mapped by uvs of its own")

    monkeypatch.setattr(studio.session, "require_uvs", refuse)
    before = len(studio.session.results)
    status, body = ask(studio, "POST", "start", {"texture": png(np.zeros((32, 32, 3), np.uint8))})
    assert status == 400 and "not mapped by uvs of its own" in json.loads(body)["said"]
    assert len(studio.session.results) == before


def test_one_job_at_a_time_and_it_can_be_stopped(studio):
    listener = studio.session.listen()
    assert ask(studio, "POST", "paint", PAINT | {"steps": 900})[0] == 202
    status, body = ask(studio, "POST", "paint", PAINT)
    assert status == 409 and "wait for it, or stop it" in json.loads(body)["said"]
    assert ask(studio, "POST", "stop", b"")[0] == 200
    last = until_idle(studio, listener)[-1]
    assert last["said"] == "Stopped." and last["made"] == []


def test_other_hosts_pages_and_users_are_refused(studio):
    port = studio.server_port
    assert ask(studio)[0] == 200
    assert ask(studio, Host=f"evil.example:{port}")[0] == 403  # a name that was bound anew to 127.0.0.1
    assert ask(studio, Host=f"localhost:{port}")[0] == 200
    assert ask(studio, "POST", "paint", PAINT, Origin="http://evil.example")[0] == 403
    assert ask(studio, "POST", "paint", PAINT, Origin="null")[0] == 403
    for path in ("/", "/x/", f"/{studio.secret[:-1]}/", "/paint", f"/{studio.secret}x/page.js"):
        assert ask(studio, path=path)[0] == 404
    assert ask(studio, "POST", "paint", json.dumps(PAINT).encode(), Content_Type="text/plain")[0] == 415
    assert studio.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "place",
    [
        "../../c.yaml",
        "results/../bare.glb",
        "..%2f..%2fetc%2fpasswd",
        "results/999.glb",
        "/etc/passwd",
        "c.yaml",
    ],
)
def test_no_file_is_served_but_its_own(studio, place):
    assert ask(studio, place=place)[0] == 404


def test_requests_that_are_too_large_or_no_object_are_refused(studio):
    assert ask(studio, "POST", "paint", b"{}", Content_Length=str(MOST_BYTES + 1))[0] == 413
    assert ask(studio, "POST", "paint", b"{}", Content_Length="many")[0] == 411
    for body in (b"[]", b"{", b"\xff", b"[" * 100_000):
        assert ask(studio, "POST", "paint", body)[0] == 400


@pytest.mark.skipif(BROWSER is None, reason="no Chromium; install the package chromium to check the page")
def test_the_page_paints_shows_and_repaints_in_a_browser(studio, tmp_path):
    with browser_tab(tmp_path / "profile") as tab:
        tab.open(studio.address)
        # What there is of results is shown beside the bare mesh.
        tab.until("document.body.dataset.right === 'mesh.glb'")
        newest = max(studio.session.results, default=None)
        left = "mesh.glb" if newest is None else f"results/{newest}.glb"
        tab.until(f"document.body.dataset.left === '{left}'")
        assert tab.value("document.getElementById('mesh').textContent").startswith("ball, 9,")
        count = int(tab.value("document.body.dataset.results"))
        tab.value("document.getElementById('prompt').value = 'a red one'")
        tab.value("document.getElementById('second').value = 'plain'")
        tab.click("#paint")
        tab.until(
            f"Number(document.body.dataset.results) === {count + 2} && document.body.dataset.busy === 'false'"
        )
        assert tab.value("document.querySelectorAll('#views img.done').length") == 3
        numbers = [tab.value(f"document.getElementById('{side}').value") for side in ("left", "right")]
        assert int(numbers[1]) == int(numbers[0]) + 1
        tab.until(f"document.body.dataset.left === 'results/{numbers[0]}.glb'")
        tab.until(f"document.body.dataset.right === 'results/{numbers[1]}.glb'")
        link = tab.value("document.getElementById('load-left').href")
        assert link == f"{studio.address}results/{numbers[0]}.glb"
        # Both turn together.
        orbit = "['left', 'right'].map(s => document.getElementById('view-' + s).getCameraOrbit().theta)"
        before = tab.value(orbit)
        tab.drag("#view-left", 120, 0)
        tab.until(f"Math.abs({orbit}[0] - {before[0]}) > 0.05 && Math.abs({orbit}[1] - {before[1]}) > 0.05")
        tab.picture(tmp_path / "studio.png")
        shown = np.asarray(Image.open(tmp_path / "studio.png").convert("RGB"), dtype=int)
        assert shown[100:400, 340:].std() > 5  # something is drawn in the viewers
        # What cannot be is said on the page.
        tab.value("document.getElementById('prompt').value = ''")
        tab.click("#paint")
        tab.until("document.getElementById('said').textContent.includes('The prompt is empty')")
        # A region of the first result: a box whose middle is clicked.
        tab.value("document.getElementById('prompt').value = 'a blue one'")
        tab.value("document.getElementById('second').value = ''")
        tab.value("document.getElementById('again').open = true")
        tab.value(f"document.getElementById('base').value = '{numbers[0]}'")
        tab.value("document.getElementById('base').dispatchEvent(new Event('change'))")
        tab.value("document.getElementById('size').value = '60'")
        tab.click("#view-left")
        tab.until("document.getElementById('box').value.split(',').length === 6")
        low, high = np.array(
            tab.value("document.getElementById('box').value.split(',').map(Number)")
        ).reshape(2, 3)
        span = studio.session.mesh.input_vertices()
        side = float((span.amax(0) - span.amin(0)).max())
        assert (high - low) == pytest.approx(0.6 * side, rel=1e-3)
        # The middle lies on the mesh, on the side that is seen.
        assert float((span - span.new_tensor((low + high) / 2)).norm(dim=1).min()) < 0.2 * side
        tab.click("#paint")
        tab.until(
            f"Number(document.body.dataset.results) === {count + 3} && document.body.dataset.busy === 'false'"
        )
        assert tab.value("document.getElementById('said').textContent") == ""
        # A texture of a file is chosen as the one to keep.
        sent = png(np.full((32, 32, 3), 99, np.uint8))
        tab.value(
            f"fetch('{sent}').then(got => got.blob()).then(blob => {{ const list = new DataTransfer();"
            "list.items.add(new File([blob], 'grey.png')); const node = document.getElementById('texture');"
            "node.files = list.files; node.dispatchEvent(new Event('change')); })"
        )
        tab.until(f"Number(document.body.dataset.results) === {count + 4}")
        tab.until("document.getElementById('base').selectedOptions[0].textContent.includes('grey.png')")
        assert tab.value("window.problems") == []
    deadline = time.monotonic() + 60
    while studio.session._listeners and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not studio.session._listeners  # a page that is gone is forgotten


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--texture-in", "none.png"), "--texture-in is 'none.png'; there is no such file"),
        (
            ("--texture-in", "grey.png", "--uv", "unwrap"),
            "--uv unwrap makes other uvs than those of --texture-in",
        ),
        (("--texture-in", "grey.png"), "is not mapped by uvs of its own that can be kept"),
    ],
)
def test_a_texture_that_cannot_be_started_from_is_said(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    Image.new("RGB", (32, 32)).save("grey.png")
    assert main(["studio", "bare.obj", "--port", "0", *words]) == 2
    assert said in capsys.readouterr().err
