"""Texts in, vectors out: many inputs in one send, one reply and one cost each, over real HTTP and without Spark."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.llm import embeddings
from personalake.llm.models import Question
from personalake.llm.offline import EMBEDDING_MODEL, OfflineSettings, plan_of, serving
from personalake.llm.outcome import Kind, Usage
from personalake.llm.wave_plan import Plan
from tests.llm.asking import PRICE, journaled, ledger, plan, run


def _question(model: str = EMBEDDING_MODEL, **more: Any) -> Question:
    role = {"model": model, "extra_body": more}
    about = {"label": model, "role": role, "abilities": {"price": PRICE}, "path": embeddings.PATH}
    question = Question.model_validate(about)
    return question.model_copy(update={"role": question.role.model_copy(update={"max_tokens": 0})})


def _requests(texts: list[str], question: Question | None = None) -> list[pa.RecordBatch]:
    rows = [embeddings.embedding_request(str(n), text, question or _question()) for n, text in enumerate(texts)]
    names = ("request_key", "body", "est_tokens")
    return [pa.RecordBatch.from_pylist([{"stage": "embed", **{name: row[name] for name in names}} for row in rows])]


def _plan(base_url: str, wave: Path, inputs: int, **more: Any) -> Plan:
    asked = {"label": EMBEDDING_MODEL, "price": PRICE, "max_tokens": 0, "path": embeddings.PATH, "inputs": inputs}
    return plan(base_url, wave, stages={"embed": asked}, **more)


def _vectors(wave: Path) -> dict[str, Any]:
    table = journaled(wave)
    replies = zip(table["request_key"].to_pylist(), table["reply"].to_pylist(), strict=True)
    return {key: np.frombuffer(base64.b64decode(reply), "<f4") for key, reply in replies if reply}


_TEXTS = [f"a {trade} who restores {thing}" for trade in ("mason", "nurse", "pilot") for thing in map(str, range(9))]


def test_each_text_gets_the_vector_that_it_gets_alone_and_its_share_of_the_bill(tmp_path: Path) -> None:
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        alone = run(_plan(base_url, tmp_path / "alone", 1), _requests(_TEXTS))
        together = run(_plan(base_url, tmp_path / "together", 8), _requests(_TEXTS))
        tokens = ledger(base_url)["tokens"]["total_tokens"]
    assert (alone["sent"], alone["done"], together["sent"], together["done"]) == (27, 27, 4, 27)
    one, many = _vectors(tmp_path / "alone"), _vectors(tmp_path / "together")
    assert one.keys() == many.keys()
    assert all(np.array_equal(one[key], many[key]) for key in one)
    billed = [sum(journaled(tmp_path / name)["prompt_tokens"].to_pylist()) for name in ("alone", "together")]
    assert sum(billed) == tokens
    assert billed[0] == billed[1]


def test_what_is_wrong_with_one_text_is_said_of_it_and_costs_the_others_nothing(tmp_path: Path) -> None:
    texts = [*_TEXTS[:11], "", *_TEXTS[11:], "word " * 9_000]
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        tally = run(_plan(base_url, tmp_path, 16, max_attempts=9), _requests(texts))
        tokens = ledger(base_url)["tokens"]["total_tokens"]
    table = journaled(tmp_path)
    assert (tally["done"], tally["deferred"], len(table)) == (29, 0, 29)
    errors = Counter(table["error"].to_pylist())
    assert errors[None] == 27
    assert errors["too_long"] == 1
    assert sum(table["prompt_tokens"].to_pylist()) == tokens


def test_a_send_that_fails_is_tried_again_whole_and_nothing_is_answered_twice(tmp_path: Path) -> None:
    faults = plan_of({"rates": {"500": 0.3, "429": 0.2}, "retry_style": "retry-after-ms", "retry_after_s": 0.001}, "t")
    with serving(OfflineSettings(flaws=0.0, faults=faults)) as base_url:
        tally = run(_plan(base_url, tmp_path, 4, max_attempts=30, patience_s=60.0), _requests(_TEXTS))
        told = ledger(base_url)
    assert (tally["done"], tally["deferred"]) == (27, 0)
    assert tally["failed_sends"] == sum(told["faults"].values()) > 0
    assert told["answered_again"] == 0
    keys = journaled(tmp_path)["request_key"].to_pylist()
    assert len(keys) == len(set(keys)) == 27


def test_a_part_that_is_tried_again_asks_only_for_what_is_not_in_the_journal(tmp_path: Path) -> None:
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        run(_plan(base_url, tmp_path, 8), _requests(_TEXTS[:10]), "a0")
        tally = run(_plan(base_url, tmp_path, 8), _requests(_TEXTS), "a1")
    assert tally["done"] == 17
    assert len(journaled(tmp_path)) == 27


def test_an_unknown_embedding_model_stops_the_run(tmp_path: Path) -> None:
    with serving(OfflineSettings(flaws=0.0)) as base_url:
        tally = run(_plan(base_url, tmp_path, 1), _requests(_TEXTS[:1], _question("no-such-model")))
    assert (tally["outcome"], tally["reason"]) == ("stop", "unknown_embedding_model")


def _body(*vectors: Any, **more: Any) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 8}, **more}).encode()


def test_lists_of_numbers_and_base64_are_the_same_vectors() -> None:
    numbers = [[0.5, -0.25], [1.0, 0.0]]
    written = [base64.b64encode(np.asarray(each, "<f4").tobytes()).decode() for each in numbers]
    outcomes = [embeddings.of_embeddings(200, {}, _body(*each), PRICE) for each in (numbers, written)]
    assert outcomes[0].reply == outcomes[1].reply == "\n".join(written)
    assert outcomes[0].usage == Usage(prompt=8, microusd=8)


def test_vectors_out_of_order_are_put_into_that_of_the_inputs() -> None:
    data = [{"index": 1, "embedding": "b"}, {"index": 0, "embedding": "a"}]
    assert embeddings.of_embeddings(200, {}, json.dumps({"data": data}).encode(), None).reply == "a\nb"


@pytest.mark.parametrize(
    "body",
    [
        _body("a", None),
        _body(["x"]),
        json.dumps({"data": [{"index": 1, "embedding": "b"}]}).encode(),
        json.dumps({"data": ["vector"]}).encode(),
    ],
)
def test_a_reply_without_a_vector_for_each_input_is_tried_again(body: bytes) -> None:
    outcome = embeddings.of_embeddings(200, {}, body, PRICE)
    assert (outcome.kind, outcome.reason) == (Kind.RETRY, "unusable_reply")


def test_fewer_vectors_than_inputs_are_unusable_however_well_formed() -> None:
    outcome = embeddings.whole(embeddings.of_embeddings(200, {}, _body("a", "b"), PRICE), 3)
    assert (outcome.kind, outcome.detail, outcome.usage.prompt) == (Kind.RETRY, "2 vectors of 3", 8)


@pytest.mark.parametrize(("status", "content"), [(404, b"{}"), (200, b'{"object": "list", "data": []}')])
def test_an_address_without_embeddings_stops_the_run_by_a_name_of_its_own(status: int, content: bytes) -> None:
    outcome = embeddings.of_embeddings(status, {}, content, None)
    assert (outcome.kind, outcome.reason) == (Kind.STOP, "not_an_embeddings_endpoint")


@given(st.integers(0, 10**9), st.lists(st.integers(0, 9_000), min_size=1, max_size=64))
def test_shares_of_a_bill_add_up_to_it(cost: int, weights: list[int]) -> None:
    shares = embeddings.shared(Usage(prompt=cost, microusd=cost // 3), weights)
    assert sum(each.prompt for each in shares) == cost
    assert sum(each.microusd for each in shares) == cost // 3
    assert all(each.prompt >= 0 for each in shares)
