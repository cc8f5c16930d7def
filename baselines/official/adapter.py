"""The contract between us and an authors' program: prepare, commands, collect, health.

    adapter = ProgramAdapter("texture", Setup(checkout, python))
    adapter.health()                                       what is missing, a sentence each
    adapter.prepare(mesh, prompt, seed, workdir)           input files, in a folder of its own
    adapter.commands(workdir)                              argv, environment and folder of each process
    adapter.collect(workdir, mesh)                         the textured mesh, back in the input's frame

A program's own module says what differs: which files and packages it needs, its command line, where its
result is. What is common is here: a mesh file with a name that no cache knows, a private working folder that
links to the checkout, and `launch`, which seeds and renames moved models inside the foreign process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from baselines.official import launch, mesh_out, templates
from baselines.official.health import missing, revision
from baselines.official.mesh_out import write_input_mesh
from baselines.official.outputs import back_in_frame, read_result
from baselines.precomputed import TexturedPart
from texgen.diffusion import hub_aliases
from texgen.diffusion.hub_aliases import HUB_ALIASES
from texgen.errors import PlainError
from texgen.mesh.mesh import Mesh

PROGRAMS = ("texture", "text2tex", "intex", "paint3d", "syncmvd", "mv_adapter")


class OfficialError(PlainError):
    """An authors' program that cannot be run, or that did not do what it should; one sentence."""


@dataclass(frozen=True)
class Setup:
    """What a user gives. checkout: folder of the program's repository. python: interpreter of its
    environment. arguments: appended to the program's command line (its last process), for its own options."""

    checkout: Path
    python: Path
    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, checkout: str, python: str, arguments: Sequence[str] = ()) -> Setup:
        """The setup as a configuration has it."""
        return cls(Path(checkout), Path(python), tuple(arguments))


@dataclass(frozen=True)
class ProgramTask:
    """One asset for one program. mesh: the file it gets. output: an empty folder for what it writes. inputs:
    folder of the files that we write. checkout: of the program, for templates that it carries."""

    mesh: Path
    prompt: str
    seed: int
    inputs: Path
    output: Path
    checkout: Path


@dataclass(frozen=True)
class Program:
    """What differs between programs.

    name, repository, commit: whose it is, and the commit that this adapter was written against. files: what a
    checkout must hold; downloads: what must be downloaded into it, with the address. modules: top-level
    packages that its environment must have. stubs: modules that it imports without need; empty ones take
    their place where they are absent. caches: entries of the checkout that are never linked into the working
    folder. mesh, material: ending of the file that it gets, and whether an OBJ has one. write(job): writes
    further inputs; returns the arguments of each process after `python`. result(job): the textured mesh, and
    its picture where the mesh file does not say which it is.
    """

    name: str
    repository: str
    commit: str
    files: tuple[str, ...]
    modules: tuple[str, ...]
    write: Callable[[ProgramTask], list[list[str]]]
    result: Callable[[ProgramTask], tuple[Path, Path | None]]
    downloads: dict[str, str] = field(default_factory=dict)
    stubs: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    mesh: str = ".obj"
    material: bool = False


@dataclass(frozen=True)
class Command:
    """One process: its argv, what is added to the environment, its working folder."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path


class ProgramAdapter:
    """One authors' program with one user's setup."""

    def __init__(self, program: str, setup: Setup) -> None:
        """Raises OfficialError for a name that is not in `PROGRAMS`."""
        if program not in PROGRAMS:
            raise OfficialError(f"There is no adapter {program!r}; allowed are {', '.join(PROGRAMS)}.")
        self.key = program
        self.module = import_module(f"baselines.official.{program}")
        self.program: Program = self.module.PROGRAM
        self.setup = Setup(
            Path(setup.checkout).expanduser().absolute(),
            Path(setup.python).expanduser().absolute(),
            tuple(setup.arguments),
        )

    def health(self) -> list[str]:
        """What is missing for a run, one sentence each; empty when nothing is."""
        return missing(self.program, self.setup)

    def revision(self) -> str:
        """Commit of the checkout, with + when files were changed; "unknown" where git cannot tell."""
        return revision(self.setup.checkout)

    def key_of(self, mesh: Mesh, prompt: str, seed: int) -> str:
        """Hash of all that a run's outcome depends on; two runs with one key need not both be made."""
        vertices = mesh.vertices.cpu().numpy().tobytes() + mesh.faces.cpu().numpy().tobytes()
        shared = (launch, mesh_out, templates, hub_aliases)  # what else decides what the program gets
        sources = [Path(module.__file__).read_bytes() for module in (self.module, *shared)]
        facts = [self.key, prompt, seed, self.setup.arguments, self.revision(), str(self.setup.python)]
        digest = sha256(json.dumps(facts).encode())
        for part in (vertices, Path(__file__).read_bytes(), *sources):
            digest.update(sha256(part).digest())
        return digest.hexdigest()

    def prepare(self, mesh: Mesh, prompt: str, seed: int, workdir: Path) -> Path:
        """Make `workdir` anew, with all that the program reads; returns it.

        The mesh is written in its working frame (+y up, facing +z, box centred), welded, without uvs, so that
        every program unwraps it itself. Raises OfficialError when a file of the checkout cannot be used.
        """
        workdir = Path(workdir).absolute()
        shutil.rmtree(workdir, ignore_errors=True)
        job = self._job(mesh.name, prompt, seed, workdir)
        for folder in (job.inputs, job.output, workdir / "run"):
            folder.mkdir(parents=True)
        write_input_mesh(job.mesh, mesh, self.program.material)
        link_checkout(self.setup.checkout, workdir / "run", self.program.caches)
        own = {"seed": seed, "aliases": HUB_ALIASES, "stubs": self.program.stubs}
        (job.inputs / "launch.json").write_text(json.dumps(own, indent=1))
        try:
            targets = self.program.write(job)
        except (OSError, ValueError) as error:
            raise OfficialError(f"{self.program.name}: {error}") from error
        targets[-1] = [*targets[-1], *self.setup.arguments]
        record = {"mesh": mesh.name, "prompt": prompt, "seed": seed, "targets": targets}
        (workdir / "job.json").write_text(json.dumps(record, indent=1, ensure_ascii=False))
        return workdir

    def commands(self, workdir: Path) -> list[Command]:
        """The processes of a prepared run, one after the other."""
        workdir = Path(workdir).absolute()
        targets = json.loads((workdir / "job.json").read_text())["targets"]
        python, launcher = str(self.setup.python), str(Path(launch.__file__).absolute())
        start = [python, launcher, str(workdir / "inputs" / "launch.json")]
        env = {
            # Of the foreign environment come its programs (ffmpeg, ninja) first; of ours no package at all.
            "PATH": os.pathsep.join([str(self.setup.python.parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": "",
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "MPLBACKEND": "Agg",
            "PYOPENGL_PLATFORM": "egl",
        }
        return [Command([*start, *target], env, workdir / "run") for target in targets]

    def collect(self, workdir: Path, mesh: Mesh, started: float = 0.0) -> list[TexturedPart]:
        """What the program made, as textured parts in the mesh's working frame.

        started: files older than this time (seconds since 1970) are not this run's. Raises OfficialError when
        there is no result, or an older one, or one without usable uvs, or one of another mesh.
        """
        workdir = Path(workdir).absolute()
        record = json.loads((workdir / "job.json").read_text())
        job = self._job(record["mesh"], record["prompt"], record["seed"], workdir)
        try:
            path, picture = self.program.result(job)
            return back_in_frame(read_result(path, picture, started), mesh)
        except (OSError, ValueError) as error:
            raise OfficialError(f"{self.program.name}: {error}") from error

    def _job(self, name: str, prompt: str, seed: int, workdir: Path) -> ProgramTask:
        # Programs cache by the file's stem: one that says what is in the asset is never anybody else's.
        digest = sha256(json.dumps([str(workdir), prompt, seed]).encode()).hexdigest()[:12]
        inputs = workdir / "inputs"
        mesh = inputs / f"{name}_{digest}{self.program.mesh}"
        return ProgramTask(mesh, prompt, seed, inputs, workdir / "output", self.setup.checkout)


def link_checkout(checkout: Path, folder: Path, caches: tuple[str, ...]) -> None:
    """Fill a working folder with links to everything in a checkout but its hidden files and its caches.

    A program that reads and writes relative to its root then reads the checkout, and writes elsewhere.
    """
    for entry in sorted(Path(checkout).iterdir()):
        if not entry.name.startswith(".") and entry.name not in caches:
            (folder / entry.name).symlink_to(entry)
