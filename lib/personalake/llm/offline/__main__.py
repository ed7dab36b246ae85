"""``python -m personalake.llm.offline``: the endpoint alone."""

import sys

from .process import main

sys.exit(main())
