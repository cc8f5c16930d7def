"""How steps end: by a signal in one line, by the machine in one sentence; locks and code of others."""

from __future__ import annotations

import ast
import builtins
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference.outcomes import check_sentence

from texgen.errors import DamagedFileError, package_trouble
from workflow.runtime.devices import own_folder
from workflow.runtime.locking import BusyError, lock_folder, require_folder, work_alone
from workflow.runtime.step_errors import plain_sentence

ROOT = Path(__file__).resolve().parents[2]
STEP = """
import sys, time
from workflow.runtime.step_errors import run_step

def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except Exception:  # as a method's failure is taken
        print("taken for a failure", flush=True)
    finally:
        print("closed", flush=True)
    return 0

sys.exit(run_step(main))
"""


def started(words: list[str], number: int, **more: str) -> subprocess.Popen:
    """Python, where a signal does what it does in a terminal."""
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background, or under nohup, ignores some of them, and its children would, too.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )


def ended_by(number: int, step: str) -> tuple[int, str, str]:
    """Status, output and errors of a step that gets a signal once it is ready."""
    process = started(["-c", step], number)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_step_with_one_line(number):
    status, out, err = ended_by(number, STEP)
    assert status == 128 + number and out == "closed\n"
    assert err == f"stopped by {number.name}; run the same command again to continue.\n"


SWALLOWED = """
import sys, time
from workflow.runtime.step_errors import run_step

def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except BaseException as error:  # as a native library does while it is being loaded
        raise ImportError("std::bad_cast") from error

sys.exit(run_step(main))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_library_turns_into_its_own_error_ends_a_step_with_one_line(number):
    status, _, err = ended_by(number, SWALLOWED)
    assert status == 128 + number
    assert err == f"stopped by {number.name}; run the same command again to continue.\n"


LOADING = """
import sys, time
from workflow.runtime.early_end import end_as_usual, end_in_one_line
end_in_one_line()
print("ready", flush=True)
time.sleep(60)  # as an import
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_libraries_load_ends_a_program_with_one_line(number):
    loading = started(["-c", LOADING], number)
    assert loading.stdout.readline() == "ready\n"
    loading.send_signal(number)
    out, err = loading.communicate(timeout=120)
    assert (loading.returncode, out) == (128 + number, "")
    assert err == f"stopped by {number.name}; run the same command again to continue.\n"


@pytest.mark.parametrize("module", ["workflow.steps.finetune", "texreward"])
def test_steps_and_the_command_end_so_while_they_load(module):
    """The module is loaded word by word: the last that it imports waits."""
    code = f"""
import builtins, runpy, sys, time
real = builtins.__import__
def slow(name, *rest, **named):
    if name in ("texgen.storage.records", "workflow.cli.main"):
        print("ready", flush=True)
        time.sleep(60)
    return real(name, *rest, **named)
builtins.__import__ = slow
sys.argv[:1], sys.orig_argv = ["-m"], [sys.executable, "-m", {module!r}]
runpy.run_module({module!r}, run_name="__main__")
"""
    loading = started(["-c", code, "--help"], signal.SIGINT, TEXREWARD_WARM="0")
    assert loading.stdout.readline() == "ready\n"
    loading.send_signal(signal.SIGINT)
    out, err = loading.communicate(timeout=120)
    assert (loading.returncode, out) == (130, "")
    assert err == "stopped by SIGINT; run the same command again to continue.\n"


def test_a_fork_whose_server_left_signals_to_the_system_ends_with_one_line():
    code = STEP.replace("sys.exit(", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nsys.exit(")
    step = started(["-c", code], signal.SIGINT)
    assert step.stdout.readline() == "ready\n"
    time.sleep(0.1)
    step.send_signal(signal.SIGINT)
    out, err = step.communicate(timeout=120)
    assert step.returncode == 130 and out == "closed\n" and err.startswith("stopped by SIGINT;")


def test_errors_of_the_machine_are_one_sentence(tmp_path):
    numbers = [getattr(errno, name) for name in dir(errno) if name.startswith("E")]
    for number in set(numbers) - {errno.ENOMEM}:
        check_sentence(plain_sentence(OSError(number, os.strerror(number), "results/x")), "results/x")
    moved = OSError(errno.EISDIR, "is a directory", "results/.temporary", None, "results/table.md")
    check_sentence(plain_sentence(moved), "results/table.md", "a folder is in the place of a file")
    for text in ("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "std::bad_alloc"):
        assert "memory is used up" in plain_sentence(RuntimeError(text))
    assert "memory is used up" in plain_sentence(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert plain_sentence(RuntimeError("a mistake of the code")) is None


def test_a_results_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    for name, fault in (
        ("file", "is a file"),
        ("nowhere", "leads to no folder"),
        ("loop", "leads to no folder"),
    ):
        for place in (tmp_path / name, tmp_path / name / "results"):
            with pytest.raises(BusyError) as caught:
                require_folder(place)
            check_sentence(str(caught.value), str(tmp_path / name), fault)
    require_folder(tmp_path / "elsewhere" / "results")


def test_locks_follow_no_link_and_empty_no_file(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / ".lock").symlink_to(precious)
    (tmp_path / ".job.lock").symlink_to(precious)
    with pytest.raises(DamagedFileError, match="must be a plain file"):
        lock_folder(tmp_path)
    with pytest.raises(DamagedFileError, match="must be a plain file"), work_alone(tmp_path / "job"):
        pass
    assert precious.read_text() == "precious"


def test_locks_of_gpus_lie_in_a_folder_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = own_folder()
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert own_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(DamagedFileError, match="not a folder of your own"):
        own_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(DamagedFileError, match="not a folder of your own"):
        own_folder()


def opened(path: Path) -> list[tuple[str, bool]]:
    """(what opens it, whether it refuses code) of every `X.from_pretrained(...)` in a source file."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained":
            refused = any(
                each.arg == "trust_remote_code" and getattr(each.value, "value", None) is False
                for each in call.keywords
            )
            found.append((ast.unparse(call.func.value), refused))
    return found


def test_nothing_that_could_run_code_of_a_weights_folder_is_opened_without_refusing_it():
    packages = ("texgen", "rewards", "baselines", "workflow")
    places = [path for name in packages for path in (ROOT / name).rglob("*.py")]
    calls = [(path, *each) for path in places for each in opened(path)]
    choosing = [each for each in calls if each[1].startswith("Auto") and "Autoencoder" not in each[1]]
    assert len(choosing) >= 3
    assert all(refused for _, _, refused in choosing), choosing
    assert not [each for each in calls if "Pipeline" in each[1]]


def test_a_tokenizer_with_code_of_its_own_is_refused_without_a_question(tmp_path, monkeypatch):
    from rewards.preference.tokenizers import open_tokenizer

    (tmp_path / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoTokenizer": ["evil.X", null]}}'
    )
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.X", null]}}')
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('executed').touch()\nclass X: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail("asked"))
    with pytest.raises(DamagedFileError) as caught:
        open_tokenizer(tmp_path)
    check_sentence(str(caught.value), str(tmp_path))
    assert not Path("executed").exists()


# Exceptions of ours that are no `PlainError`, and why a step never ends by one.
OTHERS = {
    "PlainError": "the root of what a user is told in a sentence",
    "NotFiniteError": "the trainer counts it and goes on, or ends with a TrainingError",
    "NotDrawn": "a figure that has nothing to show is named in its place",
    "Stopped": "a signal, told in one line",
    "StoppedByUser": "the studio's button",
    "WeightsMissing": "a FileNotFoundError in words of its own, shown alone",
}


def own_exceptions():
    """Names of the packages' classes that derive from a built-in exception, warnings aside."""
    for package in ("texreward", "workflow", "report", "baselines", "rewards", "texgen"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                bases = node.bases if isinstance(node, ast.ClassDef) else ()
                kinds = [getattr(builtins, ast.unparse(base), None) for base in bases]
                if any(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
                    if not any(issubclass(kind, Warning) for kind in kinds):
                        yield node.name


def test_what_a_user_can_act_on_is_shown_as_a_sentence():
    assert set(own_exceptions()) == set(OTHERS)


def trouble(module: str) -> str:
    """What is said of a module whose import fails."""
    with pytest.raises(ImportError) as caught:
        __import__(module)
    return package_trouble("optional", caught.value)


def test_a_package_that_cannot_be_imported_is_not_called_missing(tmp_path, monkeypatch):
    assert trouble("optional") == "optional is not installed"
    (tmp_path / "optional").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "optional/__init__.py").write_text("import needed_by_it\n")
    (tmp_path / "optional/other.py").write_text("")
    assert trouble("optional") == (
        "optional is installed but cannot be imported (No module named 'needed_by_it')"
    )
    (tmp_path / "optional/__init__.py").write_text("raise ImportError('undefined symbol: torch')\n")
    assert trouble("optional") == "optional is installed but cannot be imported (undefined symbol: torch)"
    (tmp_path / "optional/__init__.py").write_text("")
    assert "cannot be imported" in trouble("optional.torch")
