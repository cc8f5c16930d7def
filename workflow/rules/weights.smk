# Published weights are looked for, and downloaded, before any job of a run.
from rewards.checkpoints.store import WeightsMissing
from workflow.weights import require


def require_weights():
    """End the run with the list of what is missing and cannot be downloaded."""
    try:
        require(PLAN.config, print)
    except WeightsMissing as error:
        # Not WorkflowError: snakemake fails to locate one that is raised in onstart.
        sys.exit(str(error))
