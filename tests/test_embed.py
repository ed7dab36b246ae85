"""Personas that say the same in other words: vectors asked once, kept, compared with; over the embedded endpoint."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from personalake.compare import _rounds
from personalake.dedup.tokens import tokens
from personalake.dedup.vectors import matrix
from personalake.embed import known_dimensions
from personalake.errors import DeferredError, SettingsError, StoreError
from personalake.llm.offline import OfflineSettings, serving
from personalake.llm.offline.embed import vectors
from personalake.rebuild import rebuild
from tests.lake import Lake, cut_after, ledger, same_rows

MODEL = "dedup.embedding.model=offline-embedding"
STAGES = ("ingest", "dedup")
TABLES = ("personas", "hub", "duplicates", "hub_keys", "hub_vectors", "rejects")
WORDS = [
    "luthier", "violas", "cold", "workshop", "apprentices", "harbour", "pilot", "ferries", "storm", "glacier", "maps",
    "retired", "orchard", "bees", "queens", "clockmaker", "towers", "restores", "teaches", "village", "school",
    "physics",
]  # fmt: skip


@pytest.fixture(scope="module")
def quiet() -> Iterator[str]:
    """An endpoint that nobody else asks."""
    with serving(OfflineSettings()) as base_url:
        yield base_url


@pytest.fixture
def own(spark: SparkSession, tmp_path: Path, quiet: str) -> Lake:
    return Lake(spark, tmp_path / "lake", quiet, ["corpus.paths=[]", "dedup.method=exact", MODEL])


def write(lake: Lake, name: str, texts: list[str]) -> None:
    """Personas of one's own, which the next run reads."""
    file = lake.folder.parent / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"persona": text}) + "\n" for text in texts))
    files = [str(each) for each in sorted(lake.folder.parent.glob("*.jsonl"))]
    lake.overrides = [o for o in lake.overrides if not o.startswith("personas.paths=")] + [f"personas.paths={files}"]


def some(seed: int, count: int) -> list[str]:
    """Personas of a dozen words; of many there is another with one word or two changed."""
    drawn, texts = random.Random(seed), list[str]()
    while len(texts) < count:
        words = drawn.sample(WORDS, 12)
        if texts and drawn.random() < 0.6:
            words = drawn.choice(texts).removeprefix("a person of ").split()
            for _ in range(drawn.choice([0, 1, 1, 2])):
                words[drawn.randrange(12)] = drawn.choice(WORDS)
        texts.append("a person of " + " ".join(words))
    return list(dict.fromkeys(texts))


def check(lake: Lake, words: str = "0.9", cosine: float = 0.9, dimensions: int = 384) -> Counter[str]:
    """Hold both promises by brute force, for words and for vectors; returns how many were dropped by each method."""
    threshold = Fraction(words)
    personas = {row["persona_id"]: row["text"] for row in lake.rows("personas")}
    hub, dropped = ({row[key]: row for row in lake.rows(t)} for t, key in (("hub", "persona_id"), ("duplicates", "id")))
    assert sorted([*hub, *dropped]) == sorted(personas)
    made = vectors(list(personas.values()), dimensions)
    alike, place = made @ made.T, {id_: n for n, id_ in enumerate(personas)}

    def jaccard(one: str, other: str) -> Fraction:
        a, b = tokens(personas[one]), tokens(personas[other])
        return Fraction(len(a & b), len(a | b))

    refused = {row["input_key"] for row in lake.rows("rejects") if row["stage"] == "embed"}
    for one, other in itertools.combinations(sorted(hub), 2):
        assert jaccard(one, other) < threshold
        assert alike[place[one], place[other]] < cosine + 1e-3 or {one, other} & refused
    for id_, row in dropped.items():
        assert row["kept_id"] in hub
        near = float(alike[place[id_], place[row["kept_id"]]])
        measured = near if row["method"] == "embedding" else float(jaccard(id_, row["kept_id"]))
        assert row["similarity"] == pytest.approx(measured, abs=1e-3)
        assert row["similarity"] >= (cosine if row["method"] == "embedding" else threshold)
    kept = {row["persona_id"]: row["vector"] for row in lake.rows("hub_vectors")}
    assert kept.keys() == hub.keys() - refused
    for id_, vector in kept.items():
        assert np.allclose(matrix(pa.array([vector])), made[place[id_]], atol=1e-3)
    indexed = [row["id"] for row in lake.rows("hub_keys") if row.get("id") in personas]
    assert sorted(indexed) == sorted(hub)
    assert lake.sums("items", "accepted", "duplicates")["dedup"] == [len(personas), len(hub), len(dropped)]
    return Counter(row["method"] for row in dropped.values())


def test_what_means_the_same_goes_with_its_reason_and_each_text_is_asked_for_once(
    own: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = list[int]()

    def counted(*arguments: Any) -> Any:
        found = list(_rounds(*arguments))
        rounds.append(len(found))
        return iter(found)

    monkeypatch.setattr("personalake.compare._rounds", counted)
    own.overrides += ["dedup.threshold=0.75", "dedup.embedding.threshold=0.8"]
    too_long = "a person of " + "many words " * 9_000
    write(own, "one", [*some(25, 30), too_long])
    own.run(stages=STAGES)
    # Somebody had gone for a persona that then went for its vector, and was compared again.
    assert rounds.pop() == 2
    assert check(own, "0.75", 0.8)["embedding"] >= 2
    write(own, "two", some(2, 14))
    told = own.run(stages=STAGES).data
    assert [stage["stage"] for stage in told["stages"]] == ["import", "embed", "dedup"]
    check(own, "0.75", 0.8)
    assert "nothing new" in own.run(stages=STAGES).text

    refused = [row for row in own.rows("rejects") if row["stage"] == "embed"]
    assert [row["reason"] for row in refused] == ["too_long"]
    requests, answered, rejected, sent = own.sums("requests", "answered", "rejected", "sent")["embed"]
    assert requests == answered + rejected
    # The one that is too long is found by halving what it was sent with.
    assert sent < requests
    keys = [row["request_key"] for row in own.rows("completions")]
    assert len(keys) == len(set(keys)) == requests


def test_vectors_that_are_wanted_later_or_of_another_dimension(own: Lake) -> None:
    write(own, "one", some(4, 30))
    own.run("dedup.embedding=null", stages=STAGES)
    assert not own.store.exists("hub_vectors")
    before = {row["persona_id"] for row in own.rows("hub")}
    write(own, "two", some(4, 30)[:10] + some(5, 20))
    own.run(stages=STAGES)
    hub = {row["persona_id"] for row in own.rows("hub")}
    assert before < hub
    assert {row["persona_id"] for row in own.rows("hub_vectors")} == hub

    write(own, "three", some(7, 10))
    fewer = "dedup.embedding.extra_body={dimensions: 64}"
    with pytest.raises(StoreError, match=r"vectors of 64 dimensions, those that are kept have 384.*--rebuild"):
        own.run(fewer, stages=STAGES)
    rebuild(own.inputs(fewer, stages=()), say=own.said.append, spark=own.spark)
    check(own, dimensions=64)
    with pytest.raises(StoreError, match="by vectors of 'offline-embedding' so far, the settings say 'another'"):
        known_dimensions(own.store.read("hub_vectors"), own.inputs("dedup.embedding.model=another", stages=()).settings)


@pytest.mark.parametrize("commits", [pytest.param(n, marks=pytest.mark.faults) for n in (1, 2, 3, 4, 5)])
def test_a_run_that_has_to_wait_or_is_cut_off_goes_on_and_asks_for_no_vector_again(
    own: Lake, tmp_path: Path, quiet: str, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    write(own, "one", some(8, 40))
    own.run(stages=("ingest",))
    whole = own.copy(tmp_path / "whole", quiet)
    with pytest.raises(DeferredError):
        own.run("dedup.embedding.endpoint.base_url=http://127.0.0.1:9/v1", "llm.patience_s=0.2", stages=STAGES)
    assert own.rows("hub") == []
    before = ledger(quiet)["requests"]
    with monkeypatch.context() as patch:
        cut_after(patch, commits)
        with pytest.raises(KeyboardInterrupt):
            own.run(stages=STAGES)
    own.run(stages=STAGES)
    check(own)
    sent = ledger(quiet)["requests"] - before
    whole.run(stages=STAGES)
    same_rows(own, whole, TABLES)
    assert whole.sums("sent")["embed"] == [sent]


def test_a_model_that_lies_nowhere_is_refused_before_anything_starts(own: Lake) -> None:
    own.overrides.remove(MODEL)
    with pytest.raises(SettingsError, match="no folder /no/such/model"):
        own.run("dedup.embedding.path=/no/such/model", stages=("dedup",))
    assert not own.folder.exists()
