"""The authors' programs as methods, against checkouts that have their command lines, files and bad habits."""

import ast
import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from reference.fake_checkouts import make_checkout
from reference.tiny_meshes import make_mesh, sphere_mesh

from baselines.official import launch, mesh_out, templates
from baselines.official.adapter import PROGRAMS, OfficialError, ProgramAdapter, Setup
from baselines.official.method import folder_name, official
from baselines.official.run import PeakMemory, run_official
from baselines.precomputed import transfer
from texgen.diffusion import hub_aliases
from texgen.render.atlas import build_atlas

PYTHON = Path(sys.executable)
# Braces, quotes, colon and leading dash: each breaks some way of handing a prompt over.
PROMPT = '- a {red}: "brick" egg'


def egg(bump=0.4):
    """A mesh without any symmetry, its box centred at the origin; named the same whatever its shape."""
    ball = sphere_mesh(7)
    x, y, z = (ball.vertices * torch.tensor([1.0, 0.7, 0.8])).unbind(1)
    vertices = torch.stack([x + bump * y * y, y + 0.3 * (x + z) ** 2, z - bump * x * y], dim=1)
    vertices = vertices - (vertices.amin(0) + vertices.amax(0)) / 2
    return make_mesh(vertices, ball.faces, ball.uvs, ball.uv_faces, name="egg")


def adapter_for(program, folder, fault="", arguments=()):
    checkout = make_checkout(program, folder / f"checkout of {program}", fault)
    return ProgramAdapter(program, Setup(checkout, PYTHON, arguments))


def listing(folder):
    return sorted((path.relative_to(folder), path.stat().st_mtime) for path in folder.rglob("*"))


def blue(outcome):
    return float(outcome.parts[0].texture[2].max())


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_end_to_end(program, tmp_path):
    adapter, mesh = adapter_for(program, tmp_path), egg()
    assert adapter.health() == []
    before = listing(adapter.setup.checkout)
    first = run_official(adapter, mesh, PROMPT, 3, tmp_path / "a", 60)
    assert listing(adapter.setup.checkout) == before
    assert 0 < first.seconds < 60 and not first.kept

    # The prompt reaches every pass whole.
    noted = [json.loads(path.read_text()) for path in (tmp_path / "a").rglob("prompts.json")]
    assert len(noted) == (2 if program == "paint3d" else 1)
    assert all(PROMPT in prompt for prompts in noted for prompt in prompts)

    # Colours come back to where on the surface they were painted: x in red, y in green, within a face's size.
    texture, painted = transfer(first.parts, mesh, 32)
    atlas = build_atlas(mesh, 32)
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    place = ((atlas.position - low) / (high - low))[..., :2].permute(2, 0, 1)
    wrong = (texture[:2] - place).abs()[:, painted[0] > 0]
    assert float(wrong.mean()) < 0.05 and float(wrong.max()) < 0.25

    # A seed is a seed, also where the program ignores or never sets it.
    again = run_official(adapter, mesh, PROMPT, 3, tmp_path / "b", 60)
    other = run_official(adapter, mesh, PROMPT, 4, tmp_path / "c", 60)
    assert blue(again) == blue(first) != blue(other)


def test_a_run_is_kept_until_something_that_it_depends_on_changes(tmp_path):
    adapter, mesh = adapter_for("texture", tmp_path), egg()
    work = tmp_path / "work"
    first = run_official(adapter, mesh, PROMPT, 0, work, 60)
    (adapter.setup.checkout / "fault").write_text("crash")
    kept = run_official(adapter, mesh, PROMPT, 0, work, 60)
    assert kept.kept and kept.seconds == first.seconds and blue(kept) == blue(first)
    # What was deleted is made again, here by a program that fails by now.
    (work / "output" / "result" / "mesh" / "albedo.png").unlink()
    with pytest.raises(OfficialError, match="no kernel image"):
        run_official(adapter, mesh, PROMPT, 0, work, 60)
    for changed in ((egg(0.1), PROMPT, 0), (mesh, "another", 0), (mesh, PROMPT, 1)):
        with pytest.raises(OfficialError, match="no kernel image"):
            run_official(adapter, *changed, work, 60)


@pytest.mark.parametrize("module", [launch, mesh_out, templates, hub_aliases])
def test_a_run_depends_on_all_code_that_makes_its_inputs(module, tmp_path, monkeypatch):
    adapter, mesh = adapter_for("texture", tmp_path), egg()
    before = adapter.key_of(mesh, PROMPT, 0)
    assert adapter.key_of(mesh, PROMPT, 0) == before
    edited = tmp_path / "edited.py"
    edited.write_text(Path(module.__file__).read_text() + "# changed\n")
    monkeypatch.setattr(module, "__file__", str(edited))
    assert adapter.key_of(mesh, PROMPT, 0) != before


def test_a_mesh_of_the_same_name_is_no_mesh_of_the_same_cache(tmp_path):
    adapter = adapter_for("paint3d", tmp_path)
    ball = sphere_mesh(5)
    small = make_mesh(ball.vertices, ball.faces, ball.uvs, ball.uv_faces, name="egg")
    for index, mesh in enumerate((egg(), small)):
        parts = run_official(adapter, mesh, PROMPT, 0, tmp_path / str(index), 60).parts
        assert sum(len(part.faces) for part in parts) == len(mesh.faces)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("crash", r"TEXTure: ended with status 1: RuntimeError: CUDA error: no kernel image.*log\.txt"),
        ("killed", "TEXTure: was ended by SIGKILL, often for lack of memory"),
        ("silent", "TEXTure: it ended without an error but wrote no mesh.obj"),
        ("stale", "mesh.obj is older than this run"),
        ("other mesh", "not the one it was given"),
        ("mirrored", "not the one it was given"),
        ("no uvs", "has faces without uvs"),
        ("flat uvs", "uvs that cover nothing"),
        ("wide uvs", "which leave the picture"),
    ],
)
def test_each_failure_is_one_sentence(fault, sentence, tmp_path):
    adapter = adapter_for("texture", tmp_path, fault)
    with pytest.raises(OfficialError, match=sentence) as caught:
        run_official(adapter, egg(), PROMPT, 0, tmp_path / "work", 60)
    assert "\n" not in str(caught.value)
    # Once fixed, it runs in the same folder: nothing of the failed run is taken for a result.
    (adapter.setup.checkout / "fault").unlink()
    assert not run_official(adapter, egg(), PROMPT, 0, tmp_path / "work", 60).kept


def test_a_program_that_hangs_is_ended(tmp_path):
    adapter, started = adapter_for("syncmvd", tmp_path, "hang"), time.monotonic()
    with pytest.raises(OfficialError, match="stopped after 1 s, its time limit"):
        run_official(adapter, egg(), PROMPT, 0, tmp_path / "work", 1)
    assert time.monotonic() - started < 50  # it would sleep for 60


def test_gpu_memory_is_that_of_the_programs_own_processes(tmp_path, monkeypatch):
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\necho '{os.getpid()}, 100'\necho '999999999, 7'\necho '[N/A], [N/A]'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    memory = PeakMemory()
    memory.look(os.getpgid(0))
    assert memory.peak == 100 * 2**20
    other = PeakMemory()
    other.look(os.getpgid(0) + 1)
    assert other.peak == 0


def test_the_launcher_runs_on_the_oldest_python_of_the_programs():
    ast.parse(Path(launch.__file__).read_text(), feature_version=(3, 8))


def test_text2tex_takes_the_plain_mesh_where_no_other_is(tmp_path):
    adapter, mesh = adapter_for("text2tex", tmp_path), egg()
    work = run_official(adapter, mesh, PROMPT, 0, tmp_path / "work", 60) and tmp_path / "work"
    for path in work.rglob("19_post.obj"):
        path.unlink()
    assert blue(type("Outcome", (), {"parts": adapter.collect(work, mesh)})) == 0  # painted black by the fake


def test_arguments_of_the_user_reach_the_program(tmp_path):
    adapter = adapter_for("mv_adapter", tmp_path, arguments=("--variant=sd21",))
    run_official(adapter, egg(), PROMPT, 0, tmp_path / "work", 60)
    assert "--variant=sd21" in (tmp_path / "work" / "log.txt").read_text()
    adapter = adapter_for("mv_adapter", tmp_path, arguments=("--varaint=sd21",))
    with pytest.raises(OfficialError, match="ended with status 2: .*unrecognized arguments"):
        run_official(adapter, egg(), PROMPT, 0, tmp_path / "work", 60)


def test_health_names_what_is_missing(tmp_path):
    def problems(program="text2tex", checkout=None, python=PYTHON):
        return ProgramAdapter(program, Setup(checkout or tmp_path / "there", python)).health()

    assert "there is no checkout" in problems()[0] and "git clone https://github.com/" in problems()[0]
    checkout = make_checkout("text2tex", tmp_path / "there")
    assert problems() == []
    (checkout / "models/ControlNet/models/control_sd15_depth.pth").unlink()
    (checkout / "pytorch3d.py").unlink()
    (checkout / "scripts/generate_texture.py").unlink()
    found = problems()
    assert len(found) == 3
    assert "lacks scripts/generate_texture.py" in found[0]
    assert "download it from https://huggingface.co/lllyasviel/ControlNet" in found[1]
    assert "lacks the package pytorch3d" in found[2]
    assert "there is no interpreter" in problems(python=tmp_path / "python")[-1]
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    assert "does not run as a Python interpreter" in problems(python=tmp_path / "python")[-1]
    with pytest.raises(OfficialError, match="allowed are texture"):
        ProgramAdapter("textrue", Setup(checkout, PYTHON))


def test_a_template_that_changed_is_named(tmp_path):
    adapter = adapter_for("paint3d", tmp_path)
    template = adapter.setup.checkout / "controlnet/config/UV_based_inpaint_template.yaml"
    template.write_text("inpaint: {}\n")
    with pytest.raises(OfficialError, match="template.yaml does not hold inpaint and img2img"):
        adapter.prepare(egg(), PROMPT, 0, tmp_path / "work")


@pytest.mark.parametrize("program", ["intex", "paint3d"])
def test_a_prompt_is_no_reference_to_another_setting(program, tmp_path):
    """Both programs read their configuration by OmegaConf, in which ${seed} is the value of seed."""
    work = adapter_for(program, tmp_path).prepare(egg(), "an egg for ${seed}", 3, tmp_path / "work")
    written = [path.read_text() for path in (work / "inputs").glob("*.yaml")]
    assert written and all("an egg for $ {seed}" in text and "${" not in text for text in written)


def test_the_method_gives_a_texture_of_the_evaluation_atlas(tmp_path):
    checkout, mesh = make_checkout("intex", tmp_path / "there"), egg()
    method = official(
        None, program="intex", checkout=str(checkout), python=str(PYTHON), work=str(tmp_path), texture_size=32
    )
    result = method(mesh, PROMPT, 0)
    assert result.texture.shape == (3, 32, 32) and bool(result.painted.any())
    assert result.calls == {} and result.views[0]["program"] == "InTeX" and result.views[0]["whole_process"]
    assert (tmp_path / folder_name("egg", PROMPT, 0) / "log.txt").is_file()
    with pytest.raises(OfficialError, match="there is no checkout"):
        official(None, program="intex", checkout="nowhere", python=str(PYTHON), work=str(tmp_path))


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_has_an_environment_that_names_what_it_needs(program):
    path = Path(__file__).parents[2] / "baselines" / "official" / "environments" / f"{program}.yaml"
    text, content = path.read_text(), yaml.safe_load(path.read_text())
    assert f"--prefix envs/{program} --file baselines/official/environments/{program}.yaml" in text
    (pip,) = (entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict))
    listed = " ".join([*pip, *(entry for entry in content["dependencies"] if isinstance(entry, str))])
    # Some packages are imported by another name than they are installed by.
    installed = {"cv2": "opencv", "torch": "torch", "cvcuda": "cvcuda_cu12", "cupy": "cupy-cuda11x"}
    for module in ProgramAdapter(program, Setup(Path("x"), PYTHON)).program.modules:
        name = installed.get(module, module).replace("_", "-")
        assert name in (listed + text).replace("_", "-"), module
