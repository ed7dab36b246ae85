"""Acceptance of personas: personas a second of the kernel that a stage runs, from replies to rows of outcomes."""

from __future__ import annotations

import json
import time

import pyarrow as pa
import pytest

from personalake.accept import Read, arrow_schema, judge
from personalake.personas.expand import Asker
from personalake.personas.expand import prompt as expand_prompt
from personalake.personas.infer import PageReader
from personalake.personas.infer import prompt as infer_prompt
from personalake.schemas import PERSONAS
from personalake.settings import AcceptSettings
from tests.bench.answers import DOMAINS, EXPAND, INFER, of_pages, of_personas
from tests.bench.results import Result

pytestmark = pytest.mark.bench

_ANSWERS, _TRIES = 3_000, 5
_ACCEPT = AcceptSettings.model_validate({})


def _seconds(answers: pa.RecordBatch, read: Read) -> tuple[int, float]:
    """Rows of outcomes, and the processor's seconds that they took."""
    began = time.process_time()
    rows = sum(batch.num_rows for batch in judge([answers], read, arrow_schema(PERSONAS)))
    return rows, time.process_time() - began


def _parsed(answers: pa.RecordBatch) -> float:
    """Seconds to read the replies' JSON and make rows of what it says, unread: the least that any acceptance does."""
    began = time.process_time()
    for row in answers.to_pylist():
        pa.array(json.loads(row["reply"])["personas"])
    return time.process_time() - began


@pytest.mark.parametrize("kind", ["pages", "personas"])
def test_acceptance_of_personas_beside_parsing_them(kind: str) -> None:
    if kind == "pages":
        answers = of_pages(_ANSWERS)
        read = PageReader(INFER, _ACCEPT, DOMAINS, 0, infer_prompt(INFER, DOMAINS)).read
    else:
        answers = of_personas(_ANSWERS)
        read = Asker(EXPAND, INFER, _ACCEPT, DOMAINS, 0, expand_prompt(EXPAND, INFER, DOMAINS)).read
    _seconds(answers, read)  # The lists are read, and the patterns made.
    tries = [(*_seconds(answers, read), _parsed(answers)) for _ in range(_TRIES)]
    rows = tries[0][0]
    own, bare = (min(each[n] for each in tries) for n in (1, 2))
    Result(
        name=f"acceptance_of_{kind}",
        value=rows / own,
        unit="personas a second and core, from replies to outcomes",
        compared_with="a loop that parses each reply and makes Arrow of it",
        compared_value=rows / bare,
        goal="at least 20,000 personas a second and core",
        command="make bench ARGS='-k acceptance_of_personas'",
        detail={"personas": rows, "seconds": own},
    ).keep()
