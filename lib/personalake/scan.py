"""Many texts looked through at once, by RE2 as Arrow has it: a pattern of any size in one pass, no call a text."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def having(texts: Sequence[str], *patterns: str) -> list[bool]:
    """For each of *texts* whether it has something of *patterns*, in the syntax of RE2: no look-around, ASCII words.

    What has repeats of a number goes into a pattern of its own: together they have more states than RE2 keeps.
    """
    column = pa.array(texts, pa.large_string())
    found: list[bool] = functools.reduce(
        pc.or_, (pc.match_substring_regex(column, pattern) for pattern in patterns)
    ).to_pylist()
    return found
