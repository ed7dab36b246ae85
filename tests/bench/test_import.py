"""Importing persona sets: rows a second of the kernel that reads them, beside the least that any reader does."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from personalake.corpus.files import PERSONAS, list_files
from personalake.corpus.language import detect_language
from personalake.corpus.rows import rows_of
from personalake.corpus.splits import Split
from personalake.own_personas import LAYOUT, persona_reader
from personalake.settings import PersonasSettings
from tests.bench.results import Result
from tests.conftest import SHARED

pytestmark = pytest.mark.bench

_SET = SHARED / "personas" / "spc_personas.jsonl.gz"
_TRIES = 3


def kernel(path: Path) -> tuple[int, float]:
    """Rows of a file, and the processor's seconds that their batches took."""
    (file,) = list_files([str(path)], PERSONAS)
    began = time.process_time()
    reader = persona_reader(PersonasSettings.model_validate({}), "")
    rows = sum(batch.num_rows for batch in rows_of([Split.of(file)], reader, LAYOUT.arrow)) - 1
    return rows, time.process_time() - began


def least(path: Path) -> float:
    """Seconds to unpack and parse a file, and to tell the language of each text."""
    began = time.process_time()
    with gzip.open(path) as file:
        for line in file:
            detect_language(json.loads(line)["persona"])
    return time.process_time() - began


@pytest.mark.skipif(not _SET.is_file(), reason="../shared/data/personas is not there")
def test_import_of_personas_beside_a_bare_loop() -> None:
    tries = [(*kernel(_SET), least(_SET)) for _ in range(_TRIES)]
    rows = tries[0][0]
    own, bare = (min(each[n] for each in tries) for n in (1, 2))
    Result(
        name="import_personas",
        value=rows / own,
        unit="rows a second and core, from JSON lines to Arrow",
        compared_with="a loop that parses each line and tells its language",
        compared_value=rows / bare,
        goal="at least 0.6 of the bare loop's",
        command="make bench ARGS='-k import_of_personas'",
        detail={"rows": rows, "seconds": own},
    ).keep()
