"""`texreward` and `python -m texreward`: the command line."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    from workflow.runtime.early_end import end_in_one_line

    end_in_one_line()  # the next line takes seconds
    from workflow.cli.main import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
