# Optional packages and published weights are looked for, and weights downloaded, before any job of a run.
from rewards.checkpoints.store import WeightsMissing
from texgen.storage.plain_text import terminal
from workflow.config.backends import require as require_packages
from workflow.config.sheets import ConfigError
from workflow.weights.published import require


def require_weights():
    """End the run with the list of what is missing and cannot be downloaded."""
    try:
        require_packages(PLAN.config)
        require(PLAN.config, print)
    except (ConfigError, WeightsMissing) as error:
        # Not WorkflowError: snakemake fails to locate one that is raised in onstart.
        sys.exit(terminal(error))
