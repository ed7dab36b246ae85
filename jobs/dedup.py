"""The stage `dedup` alone, for a scheduler that runs the stages as tasks of its own."""

import sys

from personalake.cli import main

if __name__ == "__main__":
    sys.exit(main(["dedup", *sys.argv[1:]]))
