"""Hashes change with what they stand for, and with nothing else; writes are whole or absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workflow import code_identity, provenance
from workflow.code_identity import code_version
from workflow.provenance import atomic_path, content_hash, file_hash, folder_hash, write_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """A little tree of first-party modules in the place of the project."""
    for name, text in {
        "texgen/__init__.py": "",
        "texgen/alpha.py": "import numpy\n",
        "texgen/beta.py": "from texgen.alpha import Mesh\n",
        "texgen/other.py": "",
        "texgen/deep/__init__.py": "from . import field\n",
        "texgen/deep/field.py": "from ..alpha import Mesh\n",
        "rewards/__init__.py": "",
        "rewards/score.py": "def f():\n    from texgen import beta\n",
        "workflow/__init__.py": "",
        "workflow/plan.py": "from texgen import other\n",
        "workflow/steps/__init__.py": "",
        "workflow/steps/score.py": "from workflow.plan import x\nimport rewards.score\nrewards.score.f()\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code_identity, "ROOT", tmp_path)
    code_identity.read_source.cache_clear()
    yield tmp_path
    code_identity.read_source.cache_clear()


def edited(sources: Path, name: str) -> set[str]:
    """Which stages' hashes change when one module is edited."""
    stages = {
        "score": ("workflow.steps.score",),
        "render": ("texgen.beta",),
        "deep": ("texgen.deep",),
    }
    before = {stage: code_version(*modules) for stage, modules in stages.items()}
    path = sources / name
    path.write_text(path.read_text() + "\nedited = True\n")
    code_identity.read_source.cache_clear()
    return {stage for stage, modules in stages.items() if code_version(*modules) != before[stage]}


def test_an_edit_changes_the_version_of_all_that_import_it_however_they_do(sources):
    assert edited(sources, "texgen/alpha.py") == {"score", "render", "deep"}
    assert edited(sources, "texgen/beta.py") == {"score", "render"}
    assert edited(sources, "texgen/deep/field.py") == {"deep"}
    assert edited(sources, "rewards/score.py") == {"score"}
    assert edited(sources, "texgen/__init__.py") == {"score", "render", "deep"}


def version_after(sources: Path, name: str, change) -> tuple[str, str]:
    """The version of the stage score before and after a change to the text of one module."""
    before = code_version("workflow.steps.score")
    path = sources / name
    path.write_text(change(path.read_text()))
    code_identity.read_source.cache_clear()
    return before, code_version("workflow.steps.score")


def test_comments_docstrings_and_layout_change_nothing(sources):
    text = (
        '"""What it is."""\n\n# why\nimport numpy\n\n\ndef g( ):\n    """What it does."""\n    return (1)\n'
    )
    path = sources / "texgen/alpha.py"
    path.write_text("import numpy\ndef g():\n    return 1\n")
    code_identity.read_source.cache_clear()
    before, after = version_after(sources, "texgen/alpha.py", lambda _: text)
    assert before == after
    before, after = version_after(sources, "texgen/alpha.py", lambda old: old.replace("(1)", "2"))
    assert before != after


@pytest.mark.parametrize(
    ("call", "counts"),
    [
        ("", False),
        ("rewards.score.lazily()", True),
        ("getattr(rewards.score, 'lazily')()", True),
        ("from rewards.score import lazily as other", True),
        ("def never(run=rewards.score.lazily):\n    run()", True),
        ("if False:\n    from typing import TYPE_CHECKING", False),
    ],
)
def test_a_lazy_import_counts_where_its_function_may_be_called(sources, call, counts):
    (sources / "rewards/score.py").write_text("def lazily():\n    import texgen.other\n")
    (sources / "workflow/steps/score.py").write_text(f"import rewards.score\n{call}\n")
    before, after = version_after(sources, "texgen/other.py", lambda _: "edited = True\n")
    assert (before != after) == counts


def test_imports_for_type_checkers_do_not_count_and_methods_do(sources):
    text = """
from typing import TYPE_CHECKING
import rewards.score
if TYPE_CHECKING:
    from texgen import other
class A:
    def __enter__(self):
        return helper()
def helper():
    return B().deep()
class B:
    def deep(self):
        from texgen.deep import field
"""
    (sources / "workflow/steps/score.py").write_text(text)
    before, after = version_after(sources, "texgen/other.py", lambda _: "edited = True\n")
    assert before == after
    before, after = version_after(sources, "texgen/deep/field.py", lambda _: "edited = True\n")
    assert before != after


def test_an_edit_of_what_only_the_workflow_uses_changes_nothing(sources):
    assert edited(sources, "texgen/other.py") == set()
    assert edited(sources, "workflow/plan.py") == set()


def test_the_version_does_not_depend_on_the_order_of_modules(sources):
    assert code_version("texgen.alpha", "rewards.score") == code_version("rewards.score", "texgen.alpha")
    with pytest.raises(FileNotFoundError, match="texgen.nothing"):
        code_version("texgen.nothing")


def test_stages_of_the_project_depend_on_what_they_should():
    def depends(*modules: str) -> set[str]:
        return set(code_identity.reached(*modules))

    assert {
        "texgen.painting.pipeline",
        "texgen.backprojection.project",
        "texgen.diffusion.sampler",
    } <= depends("texgen.painting.pipeline")
    assert "baselines.intex" not in depends("workflow.steps.texture")
    assert "rewards.preference.aesthetic" not in depends("workflow.steps.texture")
    assert "texgen.finetune.trainer" in depends("workflow.steps.finetune")
    assert "texgen.finetune.trainer" not in depends("workflow.steps.score")
    painter = depends("workflow.steps.texture", "texgen.painting.pipeline")
    assert not {name for name in painter if name.startswith(("rewards", "report", "texgen.finetune"))}
    assert {
        "texgen.mesh.export",
        "texgen.mesh.mesh",
        "workflow.steps.loading",
        "texgen.diffusion.lora",
    } <= painter


def test_planning_loads_no_torch():
    code = "import sys, workflow.jobs.plan, workflow.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_content_hash_ignores_the_order_of_keys_only():
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    assert content_hash({"b": [2, 1], "a": 1}) != content_hash({"b": [1, 2], "a": 1})


def test_folder_hash_sees_names_and_bytes(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"1")
    first = folder_hash(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"x")
    assert folder_hash(tmp_path) == first
    (tmp_path / "sub" / "a").write_bytes(b"2")
    second = folder_hash(tmp_path)
    (tmp_path / "sub" / "a").rename(tmp_path / "sub" / "b")
    assert len({first, second, folder_hash(tmp_path)}) == 3
    assert file_hash(tmp_path / "sub" / "b") == file_hash(tmp_path / "sub" / "b")


def test_an_interrupted_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert provenance.read_json(path) == {"a": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["run.json"]


def test_versions_and_revision_are_facts_of_this_environment():
    assert provenance.package_versions()["torch"].startswith("2.")
    revision = provenance.git_revision()
    assert revision is None or len(revision.rstrip("+")) == 40
