"""`python -m workflow`: the command `texreward`, where its script is not installed."""

import sys

from workflow.cli.main import main

sys.exit(main())
