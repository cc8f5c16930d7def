"""The gallery page: what it embeds, and that it works in a browser from a file."""

import base64
import io
import json
import re
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from reference.browser import BROWSER, FLAGS, browser_tab
from reference.tiny_meshes import sphere_mesh
from reference.tiny_results import FAILED, METHODS, make_results

from report.gallery.embedded import FRAME_SIZE, FRAMES, Turntable, gltf_geometry, texture_image
from report.gallery.gallery_page import gallery_page
from report.results import Results
from workflow.steps import gallery


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "settings.json").write_text(json.dumps(make_results(folder)))
    arguments = ["--settings", folder / "settings.json", "--results", folder, "--out", folder / "index.html"]
    assert gallery.main(list(map(str, arguments))) == 0
    return folder / "index.html"


def decoded(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2])


def test_quantised_geometry_gives_the_mesh_back():
    mesh = sphere_mesh(6)
    document = gltf_geometry(mesh)
    blob = decoded(document["buffers"][0]["uri"])
    assert len(blob) == document["buffers"][0]["byteLength"]

    def read(k, kind, width):
        view, count = document["bufferViews"][k], document["accessors"][k]["count"]
        flat = np.frombuffer(blob, kind, count * width, view["byteOffset"])
        return flat.reshape(count, width)

    scale = document["nodes"][0]["scale"][0]
    points = read(0, np.int16, 4)[:, :3] / 32767 * scale
    uv = read(2, np.uint16, 2) / 65535
    faces = read(3, np.uint16, 1).reshape(-1, 3)
    assert np.allclose(points[faces], mesh.vertices[mesh.faces].numpy(), atol=scale / 30000)
    expected = mesh.uvs[mesh.uv_faces].numpy() * [1, -1] + [0, 1]
    assert np.allclose(uv[faces], expected, atol=1 / 60000)
    assert document["accessors"][0]["max"] == read(0, np.int16, 4)[:, :3].max(axis=0).tolist()


def test_turntable_turns_the_object():
    mesh = sphere_mesh(6)
    halves = torch.zeros(3, 16, 16)
    halves[0, :, :8] = 1.0  # u < 0.5: one half of the sphere red, the other black
    strip = np.asarray(Image.open(io.BytesIO(decoded(Turntable(mesh).strip(halves)))), dtype=float)
    assert strip.shape == (FRAME_SIZE, FRAMES * FRAME_SIZE, 3)
    red = strip.reshape(FRAME_SIZE, FRAMES, FRAME_SIZE, 3)[60:100, :, 60:100, 0].mean(axis=(0, 2))
    assert red.max() > 150 and red.min() < 60
    picture = np.asarray(Image.open(io.BytesIO(decoded(texture_image(halves)))))
    assert picture[0, 0, 0] > 240 and picture[0, -1, 0] < 15


def test_a_texture_of_noise_is_written_too():
    """The largest JPEG that there is: Pillow's optimising encoder gave up on it."""
    noise = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    head, data = texture_image(noise, side=256).split(",")
    assert head == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=np.float32)
    assert picture.shape == (256, 256, 3)
    assert np.abs(picture / 255 - noise.flip(1).permute(1, 2, 0).numpy()).mean() < 0.1


def test_page_is_one_file_and_shows_failures(page):
    text = page.read_text(encoding="utf-8")
    body = text.split('<script type="module">')[0]
    assert "http://" not in body and "https://" not in body, "everything is inside"
    assert "no view shows the mesh" in text
    assert "Tuned \\u003cours\\u003e" in text and "\\u003c/script\\u003e ball" in text, (
        "labels cannot end the script"
    )
    assert text.count("</script>") == 2


def test_page_is_the_same_every_time(page):
    settings = json.loads((page.parent / "settings.json").read_text())
    assert gallery_page(Results(settings, page.parent)) == page.read_text(encoding="utf-8")


def browse(page, fragment, *more, budget=8000):
    """What Chromium prints; budget: milliseconds of its own clock that the page may take."""
    with_profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [
        BROWSER,
        *FLAGS,
        with_profile,
        f"--virtual-time-budget={budget}",
        *more,
        f"file://{page}#{fragment}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=240).stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium; install the package chromium to check the page")
def test_filters_and_viewers_work_in_a_browser(page):
    # On a machine that is busy with other tests, software rendering may need more than the first budget.
    for budget in (8000, 30000, 90000):
        whole = browse(page, "asset=ball--red--0&left=pretrained&right=tuned", "--dump-dom", budget=budget)
        body = re.search(r"<body[^>]*>", whole)[0]
        if 'data-loaded="2"' in body:
            break
    assert 'data-shown="9"' in body and "data-problems" not in body, body
    assert 'data-loaded="2"' in body, body
    assert whole.count('class="card"') == 9 and FAILED[0] in METHODS

    filtered = browse(page, "method=tuned&mesh=ball", "--dump-dom")
    assert 'data-shown="2"' in re.search(r"<body[^>]*>", filtered)[0]
    assert len(re.findall(r'class="card"[^>]*data-method="tuned"', filtered)) == 2

    shot = page.parent / "shot.png"
    browse(page, "asset=ball--red--0&left=pretrained&right=tuned", f"--screenshot={shot}", budget=budget)
    picture = np.asarray(Image.open(shot).convert("RGB"), dtype=int)
    # The left viewer shows the red texture, the right one the green one, each over light grey.
    for half, channel in ((picture[:, :640], 0), (picture[:, 640:], 1)):
        upper = half[150:560]
        others = [c for c in range(3) if c != channel]
        coloured = upper[..., channel] > upper[..., others].max(axis=-1) + 40
        assert coloured.mean() > 0.05


CAMERAS = """["left", "right"].map(side => {
  const view = document.getElementById("view-" + side);
  const { theta, phi, radius } = view.getCameraOrbit(), { x, y, z } = view.getCameraTarget();
  return [theta, phi, radius, x, y, z, view.getFieldOfView()];
})"""


FRAMES_LATER = """new Promise(done => {
  let left = 10;
  const step = () => left-- ? requestAnimationFrame(step) : done();
  step();
})"""


def settled(tab):
    """Both cameras [2, 7], once they are where they were ten frames before: a viewer goes on for a while."""
    before = None
    while (now := tab.value(CAMERAS)) != before:
        before = now
        tab.value(FRAMES_LATER)
    return np.array(now)


def choose(tab, select, value):
    tab.value(
        f"(() => {{ const node = document.getElementById('{select}'); node.value = '{value}';"
        "node.dispatchEvent(new Event('change')); })()"
    )


@pytest.mark.skipif(BROWSER is None, reason="no Chromium; install the package chromium to check the page")
def test_both_viewers_have_one_camera(page):
    def same(what, before=None, moved=slice(None)):
        found = settled(tab)
        assert np.allclose(found[0], found[1], atol=1e-3), (what, found.tolist())
        if before is not None:
            assert np.abs(found[0] - before)[moved].max() > 0.05, (what, found[0], before)
        return found[0]

    with browser_tab(page.parent / "profile-of-user") as tab:
        tab.open(f"file://{page}#asset=ball--red--0&left=pretrained&right=tuned")
        tab.until("document.body.dataset.loaded === '2'")
        start = same("at the start")
        for side, way in (("left", 120), ("right", -40)):
            before = same(f"before the drag of the {side} one")
            tab.drag(f"#view-{side}", way, way / 3)
            tab.until(f"Math.abs(({CAMERAS})[0][0] - {before[0]}) > 0.05")
            turned = same(f"after the drag of the {side} one", before, slice(0, 2))

        place = tab.centre("#view-left")
        tab.mouse("mouseWheel", *place, deltaX=0, deltaY=-300)
        tab.until(f"({CAMERAS})[0][2] < {turned[2] - 0.05}")
        near = same("after the wheel", turned, slice(2, 3))
        tab.drag("#view-left", 60, 30, button="right")
        tab.until(f"Math.abs(({CAMERAS})[0][3] - {near[3]}) > 0.02")
        shifted = same("after a shift", near, slice(3, 6))

        # Loading does not take a viewer away from the camera, as long as the mesh stays.
        choose(tab, "right", "other")
        tab.until("document.body.dataset.loaded === '3'")
        assert np.allclose(same("with another method"), shifted, atol=1e-3)
        # Another mesh is framed anew from the same side; what failed on it shows no other texture instead.
        choose(tab, "asset", FAILED[1])
        tab.until("document.body.dataset.loaded === '4'")
        assert tab.value("getComputedStyle(document.getElementById('view-right')).visibility") == "hidden"
        choose(tab, "right", "tuned")
        tab.until("document.body.dataset.loaded === '5'")
        assert tab.value("getComputedStyle(document.getElementById('view-right')).visibility") == "visible"
        framed = same("with another mesh")
        assert np.allclose(framed[[0, 1, 3, 4, 5, 6]], [*turned[:2], 0, 0, 0, start[6]], atol=1e-3)
        tab.click("#reset")
        tab.until(f"Math.abs(({CAMERAS})[0][0] - {start[0]}) < 0.001")
        assert np.allclose(same("after the reset")[:2], start[:2], atol=1e-3)

        choose(tab, "method", "other")
        assert tab.value("document.querySelectorAll('.card').length") == 3
        assert tab.value("window.problems") == []
