# The plan of this run, and the input and parameter functions of the rules.
import os
import re
import sys
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

from workflow.config import parse_config
from workflow.locking import BusyError, lock_folder
from workflow.plan import Plan, weight_files
from workflow.provenance import code_version
from workflow.tables import ConfigError


def make_plan():
    """The checked configuration of this run; a mistake in it ends the run with plain sentences."""
    files = [os.path.relpath(path) for path in workflow.configfiles]
    where = " + ".join(dict.fromkeys(files)) or "--config"
    try:
        return Plan(parse_config(dict(config), where))
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


PLAN = make_plan()


def lock_results():
    """One run at a time works in a results folder; the lock ends with this process, even when it is killed."""
    try:
        lock_folder(PLAN.config.results)
    except BusyError as error:
        raise WorkflowError(str(error)) from None


# Jobs run in the environment that snakemake itself runs in, activated or not.
#
# The MALLOC settings keep freed memory in the process. Without them glibc gives every large tensor back to the
# system and gets it anew, page by page: 40 % of a CPU-bound training was spent in the kernel.
shell.prefix(
    f"set -euo pipefail; export PATH={os.path.dirname(sys.executable)}:$PATH"
    " MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296; "
)


def one_of(names):
    """Pattern that matches exactly the given names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def result(*parts):
    """A path below the results folder, for input functions (pathvars work in rules only)."""
    return "/".join([PLAN.config.results, *map(str, parts)])


def mesh_files(names):
    """Working mesh and prepared fields of some meshes."""
    return [result("meshes", name, file) for name in names for file in ("mesh.npz", "geometry.npz")]


# ---- settings files: one small JSON per job, named after its content ------------------------------------------


def mesh_settings(wildcards):
    return PLAN.write_settings(f"mesh.{wildcards.mesh}", PLAN.mesh_settings(wildcards.mesh))


def model_settings(wildcards):
    return PLAN.write_settings(f"model.{wildcards.model}", PLAN.model_settings(wildcards.model))


def texture_settings(wildcards):
    return PLAN.write_settings(
        f"texture.{wildcards.method}.{wildcards.shard}",
        PLAN.texture_settings(wildcards.method, int(wildcards.shard)),
    )


def score_settings(wildcards):
    return PLAN.write_settings(f"score.{wildcards.metric}", PLAN.score_settings(wildcards.metric))


def table_settings(wildcards):
    return PLAN.write_settings("table", PLAN.table_settings())


def write_all_settings():
    """Write every settings file now.

    Snakemake lists the results folder once, before it calls input functions; a file that one of them writes
    into a folder that was listed already counts as missing.
    """
    for mesh in PLAN.meshes:
        mesh_settings(SimpleNamespace(mesh=mesh))
    for model in PLAN.models:
        model_settings(SimpleNamespace(model=model))
    for method in PLAN.methods:
        for shard in PLAN.shards:
            texture_settings(SimpleNamespace(method=method, shard=shard))
    for metric in PLAN.metrics:
        score_settings(SimpleNamespace(metric=metric))
    table_settings(SimpleNamespace())


write_all_settings()


# ---- inputs ---------------------------------------------------------------------------------------------------


def mesh_source(wildcards):
    """The file of a `file:` mesh, so that an edit of it is seen."""
    scheme, _, path = PLAN.mesh_row(wildcards.mesh).source.partition(":")
    return path if scheme == "file" else []


def backbone_weights(wildcards):
    backbone = PLAN.config.backbone
    return [path for part in (backbone, *backbone.controlnets.values()) for path in weight_files(part)]


def metric_weights(wildcards):
    return PLAN.metric_weights([wildcards.metric])


def reward_weights(wildcards):
    return PLAN.metric_weights([term.metric for term in PLAN.config.models[wildcards.model].rewards])


def model_meshes(wildcards):
    return mesh_files(PLAN.model_meshes(wildcards.model))


def shard_meshes(wildcards):
    return mesh_files(PLAN.meshes_of(PLAN.shard(int(wildcards.shard))))


def adapter(wildcards):
    model = PLAN.config.methods[wildcards.method].model
    return [result("models", model, "pytorch_lora_weights.safetensors")] if model else []


def method_manifests(wildcards):
    return [result("textures", wildcards.method, f"shard-{shard}.json") for shard in PLAN.shards]


def miniature_parts_before(wildcards):
    before = {"vae": [], "backbone": ["vae"], "clip": []}[wildcards.part]
    return [result("miniature", wildcards.scale, f"{part}.done") for part in before]


# ---- code that a job depends on -------------------------------------------------------------------------------


def mesh_code(wildcards):
    return code_version("workflow.steps.prepare_mesh")


def model_code(wildcards):
    return code_version(*PLAN.model_modules(wildcards.model))


def texture_code(wildcards):
    return code_version(*PLAN.method_modules(wildcards.method))


def score_code(wildcards):
    return code_version(*PLAN.metric_modules(wildcards.metric))


def overview_code(wildcards):
    return code_version("workflow.steps.overview")


def table_code(wildcards):
    return code_version("workflow.steps.table")


def miniature_world_code(wildcards):
    return code_version("texgen.miniature.world")


def miniature_code(wildcards):
    return code_version(f"texgen.miniature.pretrain_{wildcards.part}")
