"""What a job's shell says when its step was killed by signal 9: `python -m workflow.runtime.killed`."""

KILLED = (
    "The job was killed, most often because the memory was used up: raise mem_mb of its rule, "
    "or let fewer jobs run at a time; then run the same command again."
)

if __name__ == "__main__":
    print(KILLED)
