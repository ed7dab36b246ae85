"""The stage `expand` alone, for a scheduler that runs the stages as tasks of its own."""

import sys

from personalake.cli import main

if __name__ == "__main__":
    sys.exit(main(["expand", *sys.argv[1:]]))
