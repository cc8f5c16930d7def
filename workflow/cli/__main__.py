"""`python -m workflow.cli`: the command `texreward`, where its script is not installed."""

import sys

from workflow.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
