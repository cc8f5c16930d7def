"""`python -m workflow`: the command `texreward`, where its script is not installed."""

import sys

from workflow.runtime.early_end import end_in_one_line

end_in_one_line()
# Only now: this takes seconds.
from workflow.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
