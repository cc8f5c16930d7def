"""One module per step of the DAG, each run as `python -m workflow.steps.<name>`: parse, load, call, write."""

import os

# Progress bars of libraries would fill log files with carriage returns; read when tqdm is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
