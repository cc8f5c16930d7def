"""`texreward texture`: batches, regions of a texture, films, adapters; sentences for what cannot be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from reference.hub import COMMIT, serving
from reference.tiny_meshes import square_mesh
from reference.tiny_models import load_miniature
from reference.tiny_project import tiny_config, write_tiny_models

from texgen.diffusion import lora
from texgen.mesh.procedural import write_shape
from texgen.painting.keep import KeptTexture
from workflow.cli import texture_folder
from workflow.cli.keeping import parse_box
from workflow.cli.kept_results import choice_identity, mesh_hash, result_hash
from workflow.cli.main import main
from workflow.cli.painter import MethodRequest, choose
from workflow.cli.texture_batch import Prompt, TextureRequest, all_prompts, wanted_results
from workflow.config.configuration import load_config

PARTS = """
o plate
v -1 -1 0.2\nv 1 -1 0.2\nv 1 1 0.2\nv -1 1 0.2
v -1 -1 -0.2\nv 1 -1 -0.2\nv 1 1 -0.2\nv -1 1 -0.2
vt 0.02 0.02\nvt 0.48 0.02\nvt 0.48 0.98\nvt 0.02 0.98
vt 0.52 0.02\nvt 0.98 0.02\nvt 0.98 0.98\nvt 0.52 0.98
usemtl front
f 1/1 2/2 3/3\nf 1/1 3/3 4/4
usemtl rear
f 6/5 5/6 8/7\nf 6/5 8/7 7/8
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a configuration of tiny models, two meshes, and an adapter for them."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "models").mkdir()
    write_tiny_models(folder / "models" / "tiny")
    config = tiny_config() | {"title": "Tiny"}
    preset = {"control_role": "depth_inpaint", "texture_size": 32}
    config["methods"]["other"] = {"kind": "psd_like", "metric": "clipscore", "preset": preset}
    text = yaml.safe_dump(config).replace("models/tiny", str(folder / "models" / "tiny"))
    (folder / "c.yaml").write_text(text)
    (folder / "meshes").mkdir()
    for shape in ("wavy_ring", "bumpy_ball"):
        write_shape(shape, folder / "meshes" / f"{shape}.obj")
    (folder / "parts.obj").write_text(PARTS)
    backbone = load_miniature(folder / "again")
    backbone.add_lora(1)
    for parameter in backbone.lora_parameters():
        parameter.data.fill_(0.3)
    backbone.save_lora(folder / "adapter")
    return folder


@pytest.fixture
def command(project, monkeypatch, capsys):
    """Runs a command line in the project; gives its status and what it said."""
    monkeypatch.chdir(project)

    def run(*words: str) -> tuple[int, str]:
        status = main(["texture", *words, "--config", "c.yaml"])
        return status, capsys.readouterr().err.strip()

    return run


def seen(folder) -> set[str]:
    """Names in a folder, without hidden ones."""
    return {each.name for each in folder.iterdir() if not each.name.startswith(".")}


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def picture(path, size=32, colour=0):
    Image.new("RGB", (size, size), colour if isinstance(colour, tuple) else (colour,) * 3).save(path)


def test_outside_of_a_mask_the_texture_is_kept_to_the_bit(command, project):
    plate = ("parts.obj", "--up", "y")
    assert command(*plate, "a red one", "--out", "one.glb", "--texture", "one.png")[0] == 0
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[4:20, 3:13] = 255
    Image.fromarray(mask).save(project / "mask.png")
    region = ("--texture-in", "one.png", "--mask", "mask.png")
    words = (*plate, *region, "a blue one", "--out", "two.glb", "--texture", "two.png", "--seed", "3")
    status, said = command(*words)
    assert status == 0 and "two.glb: textured by pretrained" in said
    before, after, inside = pixels(project / "one.png"), pixels(project / "two.png"), mask > 0
    assert np.array_equal(before[~inside], after[~inside])
    # Pixels that show both are kept, and a pixel of this render is a texel wide.
    assert (before != after).any(axis=2)[inside].mean() > 0.5


def test_parts_and_boxes_are_regions(command, project):
    picture(project / "grey.png", colour=128)
    for number, region in enumerate((("--repaint-part", "front"), ("--repaint-box=-2,-2,0,2,2,1",))):
        out = f"region-{number}.png"
        words = ("parts.obj", "a red one", "--texture-in", "grey.png", *region, "--out", "r.glb")
        assert command(*words, "--texture", out)[0] == 0
        changed = (pixels(project / out) != 128).any(axis=2)
        # The front's chart is the left half; the padding between the two charts goes with the nearer one.
        assert changed[1:-1, 1:15].mean() > 0.9 and not changed[:, 17:].any()


def test_every_mesh_by_every_prompt_by_every_seed(command, project):
    prompts = ("--prompt", "a red one", "--prompt", "a Blue one!")
    status, said = command("meshes", *prompts, "--seed", "7", "--out", "many")
    assert status == 0 and "grid.png: 4 of 4 textures" in said
    names = {
        f"{mesh}--{prompt}--7"
        for mesh in ("wavy-ring", "bumpy-ball")
        for prompt in ("a-red-one", "a-blue-one")
    }
    folder = project / "many"
    assert seen(folder) == names | {"grid.png"}
    for name in names:
        files = {each.name for each in (folder / name).iterdir()}
        assert files == {"mesh.glb", "texture.png", "result.json"}
    result = json.loads((folder / "wavy-ring--a-blue-one--7" / "result.json").read_text())
    assert result["prompt"] == "a Blue one!" and result["seed"] == 7 and result["calls"]["unet"] > 0
    with Image.open(folder / "grid.png") as grid:
        assert grid.width > 2 * 256 and grid.height > 2 * 256  # a row per mesh and seed, a column per prompt
    # One alone is the same.
    words = ("meshes/wavy_ring.obj", "--seed", "7", "a Blue one!", "--out", "alone.glb", "--texture", "a.png")
    assert command(*words, "--turntable", "t.gif", "--picture", "p.png")[0] == 0
    assert pixels(project / "p.png").shape == (512, 512, 3) and pixels(project / "p.png").std() > 5
    with Image.open(project / "t.gif") as film:
        assert film.n_frames > 10
    together = pixels(folder / "wavy-ring--a-blue-one--7" / "texture.png")
    assert np.array_equal(pixels(project / "a.png"), together)


def test_a_killed_batch_keeps_what_is_finished(command, project, monkeypatch):
    words = ("meshes", "--prompt", "a red one", "--seed", "3,4", "--steps", "2", "--out", "killed")
    real, painted = texture_folder.write_result, []

    def killed(folder, mesh, texture):
        """The process dies while the third result is written."""
        if len(painted) == 2:
            (folder / "mesh.glb").parent.mkdir(parents=True, exist_ok=True)
            raise KeyboardInterrupt
        painted.append(folder.name)
        return real(folder, mesh, texture)

    monkeypatch.setattr(texture_folder, "write_result", killed)
    assert command(*words)[0] == 130
    monkeypatch.setattr(texture_folder, "write_result", real)
    monkeypatch.setattr(texture_folder, "write_film", lambda path, *_: path.write_bytes(b"a film"))
    out = project / "killed"
    before = {path: path.stat().st_mtime_ns for name in painted for path in (out / name).iterdir()}
    status, said = command(*words)
    assert status == 0 and "killed: 2 of 4 textures are finished and kept" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(re.findall(r"^\[\d/4\]", said, re.M)) == 2 and "4 of 4 textures" in said
    # All is there: no model is loaded. A film that was not asked for before is made of what is kept.
    status, said = command(*words, "--turntable", "turn.gif")
    assert status == 0 and "4 of 4 textures are finished and kept" in said and "loading" not in said
    assert all((path / "turn.gif").is_file() for path in out.iterdir() if path.is_dir())
    film = (out / painted[0] / "turn.gif").stat().st_mtime_ns
    # Another setting is another texture; what was damaged is made again, and said.
    (out / painted[0] / "texture.png").write_bytes(b"no picture")
    status, said = command(*words, "--turntable", "turn.gif")
    assert status == 0 and "3 of 4 textures are finished" in said and "texture.png has 10 bytes" in said
    assert (out / painted[0] / "turn.gif").stat().st_mtime_ns != film
    status, said = command(*words, "--steps", "1")
    assert status == 0 and "finished" not in said


def test_what_a_result_depends_on_is_in_its_hash(project):
    config = load_config(str(project / "c.yaml"))
    mesh = mesh_hash(square_mesh())
    wanted = TextureRequest(Path("a.obj"), Prompt("a", "a red one"), 0, "a--a--0")

    def chosen(*words, **more):
        return choose(config, MethodRequest(*words, **more))

    plain = chosen("pretrained", {})
    tuned = chosen("pretrained", {}, model=str(project / "adapter"))
    half = chosen("pretrained", {}, model=str(project / "adapter"), lora_scale=0.5)
    beside = chosen("pretrained", {}, adapter=str(project / "adapter"))
    more = chosen("pretrained", {"steps": 9})
    hashes = {
        result_hash(choice_identity(choice), mesh, wanted, None)
        for choice in (plain, tuned, half, beside, more, chosen("other", {}))
    }
    assert len(hashes) == 6
    identity = choice_identity(plain)
    assert result_hash(identity, mesh, wanted, None) in hashes  # again the same
    texture, region = torch.zeros(3, 8, 8), torch.eye(8)[None]
    changed = {
        result_hash(identity, mesh_hash(replace(square_mesh(), uvs=square_mesh().uvs / 2)), wanted, None),
        result_hash(identity, mesh, replace(wanted, seed=1), None),
        result_hash(identity, mesh, replace(wanted, prompt=Prompt("a", "a blue one")), None),
        result_hash(identity, mesh, wanted, KeptTexture(texture, region)),
        result_hash(identity, mesh, wanted, KeptTexture(texture + 1, region)),
    }
    assert len(changed) == 5 and not changed & hashes


def test_what_changes_the_painting_does_so(command, project):
    def painted(*options: str) -> np.ndarray:
        words = ("meshes/bumpy_ball.obj", "a red one", "--out", "x.glb", "--texture", "x.png")
        assert command(*words, *options)[0] == 0
        return pixels(project / "x.png").astype(int)

    plain = painted()
    for options in (
        ("--negative-prompt", "ugly"),
        ("--model", "adapter"),
        ("--adapter", "adapter", "--adapter-scale", "0.5"),
        ("--model", "adapter", "--adapter", f"adapter/{lora.FILE_NAME}"),
    ):
        assert (painted(*options) != plain).any(), options
    assert abs(painted("--model", "adapter", "--lora-scale", "0") - plain).max() <= 1
    assert abs(painted("--adapter", "adapter") - painted("--model", "adapter")).max() <= 1
    assert painted("--texture-size", "48").shape == (48, 48, 3)


ASK = """
import sys
from workflow.cli.adapters import find_beside
from workflow.runtime.step_errors import plain_sentence
try:
    print(find_beside(sys.argv[1]).path.read_bytes().hex())
except Exception as error:
    print(plain_sentence(error) or repr(error))
"""


def test_adapters_come_from_a_hub_at_a_revision(project, tmp_path):
    def found(place: str, offline: str, address: str = "http://127.0.0.1:9") -> str:
        hub = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", ASK, place], env=os.environ | hub, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    place, whole = f"someone/style@{COMMIT}", (project / "adapter" / lora.FILE_NAME).read_bytes().hex()
    said = found(place, "1")
    assert said.startswith(f"{place} cannot be downloaded (") and "\n" not in said
    assert said.endswith("connect to the network, or give --adapter a folder of this machine.")
    with serving({"someone/style": project / "adapter"}) as (address, _):
        assert found(place, "0", address) == whole
        assert "has no other.safetensors" in found(f"{place}:other.safetensors", "0", address)
    assert found(place, "1") == whole  # from the cache


MISTAKES = {
    "region without texture": (("--mask", "m.png"), "--mask says where --texture-in is painted again"),
    "texture without region": (
        ("--texture-in", "t.png"),
        "one of --mask, --repaint-box, --repaint-part; none",
    ),
    "two regions": (
        ("--texture-in", "t.png", "--mask", "m.png", "--repaint-part", "x"),
        "--mask and --repaint-part was given",
    ),
    "no texture there": (
        ("--texture-in", "no.png", "--mask", "m.png"),
        "--texture-in is 'no.png'; there is no",
    ),
    "no picture": (("--texture-in", "c.yaml", "--mask", "m.png"), "c.yaml cannot be read as an image"),
    "other size": (
        ("--texture-in", "t.png", "--mask", "big.png"),
        "big.png is 64 x 64, but the texture t.png",
    ),
    "nothing white": (("--texture-in", "t.png", "--mask", "black.png"), "black.png is black, so nothing"),
    "all white": (("--texture-in", "t.png", "--mask", "white.png"), "white.png is white, so nothing"),
    "transparent": (("--texture-in", "clear.png", "--mask", "m.png"), "clear.png is transparent in places"),
    "texture size": (
        ("--texture-in", "t.png", "--mask", "m.png", "--texture-size", "64"),
        "--texture-size is 64, but t.png has 32 texels",
    ),
    "no box": (("--texture-in", "t.png", "--repaint-box", "1,2,3"), "give six numbers, x0,y0,z0,x1,y1,z1"),
    "empty box": (("--texture-in", "t.png", "--repaint-box", "8,8,8,9,9,9"), "which spans x -1 to 1"),
    "no part": (("--texture-in", "t.png", "--repaint-part", "lid"), "no part 'lid'; its parts are"),
    "new uvs": (
        ("--texture-in", "t.png", "--mask", "m.png", "--uv", "unwrap"),
        "--uv unwrap makes other uvs",
    ),
    "another method": (
        ("--texture-in", "t.png", "--mask", "m.png", "--method", "other"),
        "'other' cannot keep a part of a texture; --texture-in needs one of pretrained, tuned",
    ),
    "many into one file": (("--seed", "0,1"), "one file, but 2 textures are asked for; give a folder"),
    "seed twice": (("--seed", "1,1"), "--seed names a seed twice"),
    "scale of nothing": (("--lora-scale", "0.5"), "--lora-scale is the strength of --model; give both"),
    "scale out of range": (("--model", "adapter", "--lora-scale", "-1"), "give a number from 0 to 10"),
    "picture of a folder": (("--seed", "0,1", "--out", "some", "--picture", "p.png"), "grid.png shows all"),
    "same file": (("--texture", "s.png", "--picture", "s.png"), "--picture and --texture name the same file"),
    "film": (("--turntable", "x.avi"), "give a name that ends in .gif or .mp4"),
    "hub without revision": (("--adapter", "someone/style"), "needs its revision, as someone/style@COMMIT"),
    "no adapter": (("--adapter", "nothing"), "there is no such file or folder"),
    "several files": (("--adapter", "two"), "a folder with 2 .safetensors files; name one"),
    "prompts file": (("--prompts", "none.txt"), "--prompts none.txt cannot be read"),
}


@pytest.fixture(scope="module")
def pictures(project):
    picture(project / "t.png", colour=90)
    picture(project / "big.png", 64)
    picture(project / "black.png")
    picture(project / "white.png", colour=255)
    Image.new("RGBA", (32, 32), (9, 9, 9, 100)).save(project / "clear.png")
    mask = Image.new("L", (32, 32))
    mask.paste(255, (2, 2, 20, 20))
    mask.save(project / "m.png")
    (project / "two").mkdir()
    for name in "ab":
        (project / "two" / f"{name}.safetensors").touch()


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_sentence_before_a_model_is_loaded(command, pictures, project, name):
    options, said = MISTAKES[name]
    words = () if name == "prompts file" else ("a red one",)
    status, error = command("parts.obj", *words, "--out", "y.glb", *options)
    assert status == 2 and said in error, error
    assert "loading" not in error and not (project / "y.glb").exists()
    last = error.splitlines()[-1]
    assert last.endswith(".") and len(error.splitlines()) <= 2  # one may say that the mesh is read


def test_a_mesh_without_uvs_of_its_own_is_refused(command, pictures):
    region = ("--texture-in", "t.png", "--mask", "m.png")
    status, error = command("meshes/bumpy_ball.obj", "a red one", "--out", "y.glb", *region)
    assert status == 2 and "is not mapped by uvs of its own that can be kept" in error


def test_a_result_that_fails_does_not_stop_the_others(command, project, monkeypatch):
    from workflow.cli import texture as cli_texture

    real = cli_texture.ChosenMethod.load

    def load(self, work):
        paint = real(self, work)

        def sometimes(mesh, prompt, seed, progress, **more):
            if seed == 1:
                raise ValueError("no view")
            return paint(mesh, prompt, seed, progress, **more)

        return sometimes

    monkeypatch.setattr(cli_texture.ChosenMethod, "load", load)
    status, said = command("parts.obj", "a red one", "--seed", "1", "--seed", "2", "--out", "some")
    assert status == 1 and "parts--a-red-one--1: failed, ValueError: no view" in said
    assert seen(project / "some") == {"parts--a-red-one--2", "grid.png"}


def test_prompts_come_from_lines_and_sheets(tmp_path):
    (tmp_path / "p.txt").write_text("a red  vase\n\na blue vase\na red vase\n")
    found = all_prompts([], str(tmp_path / "p.txt"))
    assert [(each.name, each.text) for each in found] == [
        ("a-red-vase", "a red vase"),
        ("a-blue-vase", "a blue vase"),
    ]
    rows = ["prompt_id\tmesh\tprompt\tsplit", "one\tcow\ta cow\tboth", "any\t*\ta thing\tboth"]
    (tmp_path / "p.tsv").write_text("\n".join(rows))
    sheet = all_prompts(["a thing!"], str(tmp_path / "p.tsv"))
    assert sheet[1:] == [Prompt("one", "a cow", "cow"), Prompt("any", "a thing")]
    meshes = [tmp_path / "cow.obj", tmp_path / "Cow.ply"]
    names = [each.name for each in wanted_results(meshes, sheet[1:], [0])]
    assert names == ["cow--one--0", "cow--any--0", "cow-2--any--0"]
    with pytest.raises(ValueError, match="the mesh 'cow', which is not given"):
        wanted_results(meshes[1:], sheet[1:], [0])


def test_a_box_may_be_given_by_any_two_opposite_corners():
    assert parse_box("1,-2,3,-1,2,0.5") == (-1, -2, 0.5, 1, 2, 3)
    assert re.fullmatch(r"\(.*\)", str(parse_box("0,0,0,0,0,0")))
