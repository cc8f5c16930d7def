"""`python -m workflow.config`: check configurations, list their fields, write their schema."""

import sys

from workflow.config.configuration import main

if __name__ == "__main__":
    sys.exit(main())
