"""Everything that is new, through all stages: what spark-submit, a Databricks task or a scheduler runs."""

import sys

from personalake.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
