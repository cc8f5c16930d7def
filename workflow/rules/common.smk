# The plan of this run, and the input and parameter functions of the rules.
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from texgen.errors import PlainError
from texgen.miniature.trained_parts import PARTS as MINIATURE_PARTS
from texgen.storage.plain_text import terminal
from workflow.code_identity import code_version as current_code_version
from workflow.config.configuration import parse_config
from workflow.jobs.figure_settings import figure_settings, staged_method
from workflow.jobs.figure_names import figure_caption, figure_labels, figure_names, figure_part
from workflow.config.kinds import METHODS
from workflow.runtime.locking import BusyError, lock_folder, require_folder
from workflow.jobs.link_loops import refuse_link_loops
from workflow.jobs.plan import Plan
from workflow.jobs.products import outputs
from workflow.runtime.progress import cost_of_run
from workflow.jobs.recheck import Damages, damaged_jobs
from workflow.jobs.references import reference_pictures
from workflow.runtime.step_errors import plain_sentence
from workflow.jobs.unfinished import unfinished_jobs
from workflow.runtime.warm import LibraryServer
from workflow.config.sheets import ConfigError


def make_plan():
    """The checked configuration of this run; a mistake in it ends the run with plain sentences."""
    files = [os.path.relpath(path) for path in workflow.configfiles]
    where = " + ".join(dict.fromkeys(files)) or "--config"
    try:
        asked = parse_config(dict(config), where)
        plan = Plan(asked.model_copy(update={"results": placed(asked.results, where)}))
        require_folder(plan.config.results)
        return plan, asked.results, reference_pictures(plan.config)
    except (BusyError, ConfigError) as error:
        raise WorkflowError(str(error)) from None


def placed(results, where):
    """Where snakemake puts the results folder: below the prefix of a module."""
    if not MOVED:
        return results
    if os.path.isabs(results) or results.startswith(".."):
        raise ConfigError(
            f"{where}: results is {results!r}, which a module's prefix cannot move; give a folder below it."
        )
    return workflow.modifier.path_modifier.replace_prefix(results)


# Whether these rules are part of another workflow, which moves their files.
MOVED = workflow.modifier.path_modifier.replace_prefix("results") != "results"
# The results folder lies where the plan says; to rules and input functions, whose paths snakemake itself moves, it
# has the name in the configuration.
PLAN, RESULTS, REFERENCES = make_plan()
# Asked once per job, and there may be thousands of a kind.
code_version = cache(current_code_version)


def code_of(job):
    return code_version(*job.modules(), files=tuple(job.sources()))


def lock_results():
    """One run at a time works in a results folder; the lock ends with this process, even when it is killed."""
    try:
        lock_folder(PLAN.config.results)
    except BusyError as error:
        raise WorkflowError(str(error)) from None
    except (OSError, PlainError) as error:
        sys.exit(plain_sentence(error) or str(error))


def path_of_python():
    """PATH of the jobs, as their shell takes it."""
    settings = workflow.deployment_settings
    if settings and DeploymentMethod.APPTAINER in settings.deployment_method:
        return "$PATH"
    made = [f"{each.env.path}/bin" for each in workflow.injected_conda_envs]
    return ":".join([*made, os.path.dirname(sys.executable), "$PATH"])


# Jobs run in the environment that snakemake itself runs in, activated or not; or in the one that it has made
# (`--sdm conda`); or in an image, whose python is found before any of this machine.
#
# The MALLOC settings keep freed memory in the process. Without them glibc gives every large tensor back to the
# system and gets it anew, page by page: 40 % of a CPU-bound training was spent in the kernel.
#
# A step that is killed cannot say so itself; 137 = 128 + signal 9. The words are not here, because Snakemake prints
# this text with every command that fails.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
shell.prefix(
    f"set -euo pipefail; export PATH={path_of_python()}"
    f" {' '.join(f'{name}={value}' for name, value in MALLOC.items())}; "
    "trap 'if [ $? = 137 ]; then python -P -m workflow.runtime.killed >&2; fi' EXIT; "
)


# Jobs on this machine are forks of one process that has loaded the libraries (workflow/runtime/warm.py).
WARM = LibraryServer()


def start_warm():
    """Where jobs run on this machine, in this environment, one thread each."""
    settings = workflow.deployment_settings
    alone = workflow.is_main_process and workflow.local_exec
    if alone and not (settings and settings.deployment_method):
        names = (
            "OMP",
            "GOTO",
            "OPENBLAS",
            "MKL",
            "NUMEXPR",
        )  # as snakemake sets them for a job of one thread
        threads = {f"{name}_NUM_THREADS": "1" for name in names} | {"VECLIB_MAXIMUM_THREADS": "1"}
        WARM.start(f"{PLAN.config.results}/benchmarks/jobs.jsonl", MALLOC | threads)


def one_of(names):
    """Pattern that matches exactly the given names; any name where there are too many to try one by one."""
    if len(names) > 200:
        return "[A-Za-z0-9_-]+"
    return "|".join(map(re.escape, names)) or "(?!)"


def result(*parts):
    """A path below the results folder, for input functions (pathvars work in rules only)."""
    return "/".join([RESULTS, *map(str, parts)])


def unmoved(paths):
    """Files that no job makes: they lie where the configuration says, whatever prefix a module has."""
    return [local(path) for path in paths] if MOVED else paths


def results_folder(wildcards):
    return PLAN.config.results


def mesh_files(names):
    """Working mesh and prepared fields of some meshes."""
    return [result("meshes", name, file) for name in names for file in ("mesh.npz", "geometry.npz")]


# ---- settings files: one small JSON per job, named after its content and written when the run starts ----------


def settings_path(stem, job):
    """Where the settings file of a job is written: a parameter of its rule, so a change runs the job again."""
    record = job if isinstance(job, dict) else job.record()
    return str(PLAN.settings_path(stem, record))


def mesh_settings(wildcards):
    return settings_path(f"mesh.{wildcards.mesh}", PLAN.mesh_job(wildcards.mesh))


def model_settings(wildcards):
    return settings_path(f"model.{wildcards.model}", PLAN.train_job(wildcards.model))


def texture_settings(wildcards):
    return settings_path(
        f"texture.{wildcards.method}.{wildcards.shard}",
        PLAN.texture_job(wildcards.method, int(wildcards.shard)),
    )


@cache
def score_settings_paths():
    return [settings_path(f"score.{metric}", PLAN.score_job(metric)) for metric in PLAN.metrics]


def score_settings(wildcards):
    return score_settings_paths()


@cache
def table_settings_path():
    return settings_path("table", PLAN.table_settings())


def table_settings(wildcards):
    return table_settings_path()


@cache
def figures_settings_path():
    return settings_path("figures", figure_settings(PLAN))


def figures_settings(wildcards):
    return figures_settings_path()


DAMAGES = Damages(PLAN.config.results)


def write_all_settings():
    """Write every settings file that is not there yet; a dry run does not come here."""
    try:
        for stem, job in PLAN.all_jobs():
            PLAN.write_settings(stem, job)
        DAMAGES.save()
    except (OSError, PlainError) as error:
        # Not WorkflowError: snakemake fails to locate one that is raised in onstart.
        sys.exit(plain_sentence(error) or str(error))


# Job that has to run, whatever Snakemake thinks of it -> an output of it.
FORCED = {}


def find_damage():
    """Let jobs run whose finished work is damaged, and those that Snakemake takes for done and that are not. Once per
    run; the jobs of a cluster parse this, too."""
    try:
        refuse_link_loops(PLAN)
        damaged = damaged_jobs(PLAN)
        FORCED.update(unfinished_jobs(PLAN))
        made = outputs(PLAN) if damaged else {}
        FORCED.update({job: str(made[job][0]) for job in damaged})
        for line in DAMAGES.note(damaged):
            print(f"damaged: {terminal(line)}", file=sys.stderr)
    except (OSError, PlainError) as error:
        raise WorkflowError(plain_sentence(error) or str(error)) from None


if workflow.is_main_process:
    find_damage()


def of_job(kind, files):
    """An input function, which lets its job run as --forcerun does where it has to. The parameter `again` alone does not
    where Snakemake has no notes of earlier parameters, as in a copy of a results folder."""

    def ask(wildcards):
        forced = FORCED.get(".".join([kind, *wildcards]))
        if forced is not None:
            workflow.dag.forcefiles.add(forced)
        return files(wildcards)

    return ask


# ---- inputs ---------------------------------------------------------------------------------------------------


def mesh_source(wildcards):
    """The file of a `file:` mesh, so that an edit of it is seen."""
    scheme, _, path = PLAN.mesh_row(wildcards.mesh).source.partition(":")
    return unmoved([path]) if scheme == "file" else []


def texture_weights(wildcards):
    """What a texturing job reads besides meshes and its adapter."""
    return unmoved(PLAN.texture_job(wildcards.method, int(wildcards.shard)).files())


def model_weights(wildcards):
    return unmoved(PLAN.train_job(wildcards.model).files())


@cache
def all_metric_weights():
    return unmoved(
        list(dict.fromkeys(path for name in PLAN.metrics for path in PLAN.score_job(name).files()))
    )


def metric_weights(wildcards):
    return all_metric_weights()


def texture_memory(wildcards):
    """MB of a texturing job; the authors' programs load several models of full size."""
    return 6000 if METHODS[PLAN.config.methods[wildcards.method].kind].needs_backbone else 24000


def model_meshes(wildcards):
    return mesh_files(PLAN.model_meshes(wildcards.model))


def shard_meshes(wildcards):
    return mesh_files(PLAN.meshes_of(PLAN.shard(int(wildcards.shard))))


def adapter(wildcards):
    model = PLAN.config.methods[wildcards.method].model
    return [result("models", model, "pytorch_lora_weights.safetensors")] if model else []


def evaluation_meshes(wildcards):
    return mesh_files(PLAN.meshes_of(PLAN.assets))


def method_manifests(wildcards):
    return [result("textures", wildcards.method, f"shard-{shard}.json") for shard in PLAN.shards]


def all_manifests():
    """What says that every method has textured every shard."""
    return expand("<results>/textures/{method}/shard-{shard}.json", method=PLAN.methods, shard=PLAN.shards)


def all_scores():
    return expand("<results>/scores/{metric}/{method}.tsv", metric=PLAN.metrics, method=PLAN.methods)


def all_histories():
    return expand("<results>/models/{model}/history.jsonl", model=PLAN.models)


FIGURE_SETTINGS = figure_settings(PLAN)
FIGURES = figure_names(FIGURE_SETTINGS)
# The tuned method of which the stages of one texture are shown; None = there is none.
STAGED = staged_method(PLAN)
# Job -> its figures: those of all methods, those of the tuned models, and that of the method, where there are any.
FIGURE_JOBS = {
    job: names
    for job, names in (
        ("comparisons", [name for name in FIGURES if figure_part(name) == "All methods"]),
        (
            "tuning",
            [name for name in FIGURES if figure_part(name) not in ("All methods", "The method")],
        ),
        ("method", [name for name in FIGURES if figure_part(name) == "The method"]),
    )
    if names
}


def figure_sources(job):
    """What only some figures read: stored stages, answers of a study."""
    if job == "method":
        return [result("stages", "stages.npz")]
    folder = PLAN.config.study
    if job != "comparisons" or folder is None:
        return []
    return unmoved(sorted(path.as_posix() for path in Path(folder).glob("*.json")))


def turntable_files(suffix):
    return {
        f"{method}_{suffix}".replace("-", "_"): f"<results>/turntables/{method}.{suffix}"
        for method in PLAN.methods
    }


def turntable_reports():
    """The GIFs of all methods, each with its caption and labels in the report."""
    return {
        key: report(
            path,
            caption="../report/turntables.rst",
            category="2 Figures",
            subcategory="Turntables",
            labels={"figure": "turntable", "method": PLAN.config.methods[method].label or method},
        )
        for (key, path), method in zip(turntable_files("gif").items(), PLAN.methods)
    }


def staged_jobs():
    return PLAN.texture_job(STAGED), PLAN.train_job(PLAN.config.methods[STAGED].model)


def staged_weights(wildcards):
    files = unmoved(list(dict.fromkeys(path for job in staged_jobs() for path in job.files())))
    model = PLAN.config.methods[STAGED].model
    return [*files, result("models", model, "pytorch_lora_weights.safetensors")]


def staged_settings(wildcards):
    texture, train = staged_jobs()
    model = PLAN.config.methods[STAGED].model
    return [settings_path(f"texture.{STAGED}.0", texture), settings_path(f"model.{model}", train)]


def figure_files(names, suffix):
    """Output name -> file of some figures in one format."""
    return {f"{name}_{suffix}": f"<results>/figures/{name}.{suffix}" for name in names}


def figure_reports(names):
    """The PNG files of some figures, each with its caption and labels in the report."""
    return {
        key: report(
            path,
            caption=f"../report/{figure_caption(name)}.rst",
            category="2 Figures",
            subcategory=figure_part(name),
            labels=figure_labels(name, FIGURE_SETTINGS),
        )
        for (key, path), name in zip(figure_files(names, "png").items(), names)
    }


def render_lists():
    """Lists of the saved renders, where the configuration asks for them."""
    evaluation = PLAN.config.evaluation
    if not evaluation.save_renders and evaluation.references is None:
        return []
    return expand("<results>/renders/{method}/renders.tsv", method=PLAN.methods)


def model_cards():
    return expand("<results>/models/{model}/README.md", model=PLAN.models)


def distance_files():
    return ["<results>/distances.tsv"] if PLAN.config.evaluation.references is not None else []


def reference_metric_settings(wildcards):
    metric = PLAN.config.evaluation.references.metric
    return settings_path(f"score.{metric}", PLAN.score_job(metric))


def references(wildcards):
    return unmoved(list(map(str, REFERENCES)))


def reference_metric_weights(wildcards):
    return unmoved(PLAN.score_job(PLAN.config.evaluation.references.metric).files())


def miniature_parts_before(wildcards):
    before = MINIATURE_PARTS[wildcards.part].after
    return [result("miniature", wildcards.scale, f"{part}.done") for part in before]


# ---- damage that lets a job run again, see workflow/jobs/recheck.py -------------------------------------------------


def mesh_again(wildcards):
    return DAMAGES.again("mesh", wildcards.mesh)


def model_again(wildcards):
    return DAMAGES.again("model", wildcards.model)


def texture_again(wildcards):
    return DAMAGES.again("texture", wildcards.method, wildcards.shard)


def score_again(wildcards):
    return DAMAGES.again("score", wildcards.method)


def quality_again(wildcards):
    return DAMAGES.again("quality")


# ---- code that a job depends on -------------------------------------------------------------------------------


def mesh_code(wildcards):
    return code_version("workflow.steps.prepare_mesh")


def model_code(wildcards):
    return code_of(PLAN.train_job(wildcards.model))


def model_card_code(wildcards):
    return code_version("workflow.steps.model_card")


def texture_code(wildcards):
    return code_of(PLAN.texture_job(wildcards.method))


def score_code(wildcards):
    return " ".join(f"{metric}={code_of(PLAN.score_job(metric))}" for metric in PLAN.metrics)


def overview_code(wildcards):
    return code_version("workflow.steps.overview")


def quality_code(wildcards):
    return code_version("workflow.steps.quality")


def figures_code(wildcards):
    return code_version("workflow.steps.figures")


def stages_code(wildcards):
    modules = [module for job in staged_jobs() for module in job.modules()]
    files = tuple(path for job in staged_jobs() for path in job.sources())
    return code_version("workflow.steps.stages", *dict.fromkeys(modules), files=files)


def save_renders_code(wildcards):
    return code_version("workflow.steps.save_renders")


def distances_code(wildcards):
    job = PLAN.score_job(PLAN.config.evaluation.references.metric)
    return code_version("workflow.steps.distances", *job.modules())


def turntables_code(wildcards):
    return code_version("workflow.steps.turntables")


def gallery_code(wildcards):
    return code_version("workflow.steps.gallery")


def table_code(wildcards):
    return code_version("workflow.steps.table")


def miniature_world_code(wildcards):
    return code_version("texgen.miniature.world")


def miniature_code(wildcards):
    return code_version(f"texgen.miniature.{MINIATURE_PARTS[wildcards.part].program}")
