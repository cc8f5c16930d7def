"""One module per step of the DAG, each run as `python -m workflow.steps.<name>`: parse, load, call, write."""

import os

from workflow.runtime.early_end import end_in_one_line
from workflow.runtime.warm import hand_over, starts_step

if starts_step():
    end_in_one_line()
hand_over()
# Progress bars of libraries would fill log files with carriage returns; read when tqdm is imported.
os.environ.setdefault("TQDM_DISABLE", "1")
