"""One module per step of the DAG, each run as `python -m workflow.steps.<name>`: parse, load, call, write."""
