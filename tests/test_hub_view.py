"""`personalake hub` over a small store: what it prints, what it refuses, and that it pays for one vector at most."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from personalake import hub as hubs
from personalake.cli import main
from personalake.dedup import passes
from personalake.dedup.blocks import BLOCK
from personalake.dedup.family import Family
from personalake.dedup.vectors import kept
from personalake.llm.offline import OfflineSettings, serving
from personalake.llm.offline.embed import vectors
from personalake.personas.shape import text_hash
from personalake.schemas import HUB
from personalake.store import struct
from tests.conftest import ROOT
from tests.lake import Lake, ledger

MODEL = "dedup.embedding.model=offline-embedding"
TEXTS = [
    "A nurse who sails small boats in the harbour at night.",
    "A harbour pilot who sings in the choir of the old town.",
    "Una enfermera que navega de noche por el puerto de Málaga.",
    "A gardener who restores the clocks of village schools.",
    "A teacher of physics who keeps bees behind the glacier hut.",
]
CONFIG = ["--config", str(ROOT / "conf" / "local.yaml")]

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def quiet() -> Iterator[str]:
    """An endpoint that nobody else asks."""
    with serving(OfflineSettings()) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, quiet: str) -> Lake:
    """A hub of five, its index and its vectors. Nobody may change it."""
    lake = Lake(spark, tmp_path_factory.mktemp("hub") / "lake", quiet, [MODEL])
    store, names = lake.store.open(), [name for name in HUB.names if name != "seq"]
    rows = []
    for text in TEXTS:
        row = {"persona_id": text_hash(text), "text": text, "text_hash": text_hash(text), "hop": 0, "ordinal": 0}
        row |= {"occupation": text.split()[1], "region": "ES", "language": "es" if text == TEXTS[2] else "en"}
        rows.append({**row, "path": "mine.jsonl"})
    hub = spark.createDataFrame(
        [tuple(row.get(name) for name in names) for row in rows], StructType([struct(HUB)[name] for name in names])
    )
    store.append("personas", hub, 1)
    store.append("hub", hub, 1)
    texts = hub.selectExpr("persona_id AS id", "CAST(0 AS double) AS rank", "text")
    blocks = texts.mapInArrow(passes.block_maker(Family(0.9), 1), BLOCK)
    store.append("hub_keys", blocks.selectExpr("'persona' AS kind", "'any' AS family", *blocks.columns), 1)
    made = kept(vectors(TEXTS, 384).astype(np.float64))
    embedded = [
        (row["persona_id"], "offline-embedding", 384, bytearray(one)) for row, one in zip(rows, made, strict=True)
    ]
    schema = "persona_id string, model string, dimensions int, vector binary"
    store.append("hub_vectors", spark.createDataFrame(embedded, schema), 1)
    return lake


@pytest.fixture
def ask(small: Lake, quiet: str, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run `hub --json` with these options over *small*, and return what it prints."""

    def run(*options: str, settings: tuple[str, ...] = ()) -> Any:
        own = [f"store.path={small.folder}", f"llm.base_url={quiet}", MODEL, *settings]
        assert main(["hub", "--json", *options, *CONFIG, "--set", *own]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def files(lake: Lake) -> list[Path]:
    return sorted(path for path in lake.folder.rglob("*") if path.is_file())


def texts(told: Any) -> list[str]:
    return [row["text"] for row in told["rows"]]


def test_rows_are_shown_in_one_order_and_counted_also_beyond_the_limit(ask: Ask) -> None:
    told = ask("--limit", "2")
    ids = [row["persona_id"] for row in ask()["rows"]]
    assert told["total"] == len(TEXTS)
    assert [row["persona_id"] for row in told["rows"]] == sorted(ids)[:2]
    told = ask("--where", "occupation = 'nurse' AND region = 'ES'")
    assert (told["total"], texts(told)) == (1, TEXTS[:1])


def test_what_is_like_a_text_by_its_words_comes_first_and_only_where_the_condition_holds(ask: Ask) -> None:
    told = ask("--like", "a nurse who sails in the harbour", "--limit", "2")
    assert texts(told) == TEXTS[:2]
    assert told["rows"][0]["similarity"] == pytest.approx(7 / 11, abs=1e-4)
    told = ask("--like", "a nurse who sails in the harbour", "--where", "language = 'es'")
    assert (told["total"], texts(told)) == (1, TEXTS[2:3])


def test_by_vector_the_endpoint_is_asked_once_the_cost_is_told_and_the_store_is_not_written(
    ask: Ask, small: Lake, quiet: str
) -> None:
    before, asked = files(small), ledger(quiet)["requests"]
    told = ask("--like", TEXTS[3], "--by", "vector", "--limit", "2")
    assert ledger(quiet)["requests"] == asked + 1
    assert files(small) == before
    assert texts(told)[0] == TEXTS[3]
    assert [row["similarity"] for row in told["rows"]] == sorted((r["similarity"] for r in told["rows"]), reverse=True)
    assert told["rows"][0]["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert (told["by"], told["vectors"], told["tokens"] > 0, told["cost_usd"]) == ("vector", len(TEXTS), True, 1e-6)
    told = ask("--like", TEXTS[3], "--by", "vector", "--where", f"text <> '{TEXTS[3]}'")
    assert told["total"] == len(texts(told)) == len(TEXTS) - 1
    assert ledger(quiet)["requests"] == asked + 2
    assert ask("--like", TEXTS[3], "--by", "vector", "--where", "false")["rows"] == []
    assert ledger(quiet)["requests"] == asked + 2


def test_in_words_the_cost_stands_below_the_rows(small: Lake, quiet: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [f"store.path={small.folder}", f"llm.base_url={quiet}", MODEL]
    assert main(["hub", "--like", TEXTS[3], "--by", "vector", "--limit", "1", *CONFIG, "--set", *settings]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:2] == ["similarity", "persona_id"]
    assert told[-2:][0] == "1 of 5"
    assert told[-1].startswith("the text's vector: ")
    assert told[-1].endswith(" tokens, $0.000001 (not in the store's books)")


def test_a_sample_obeys_the_condition_and_its_seed(ask: Ask) -> None:
    told = ask("--sample", "2", "--seed", "3", "--where", "language = 'en'")
    assert (told["total"], told["seed"], len(told["rows"])) == (4, 3, 2)
    assert told == ask("--sample", "2", "--seed", "3", "--where", "language = 'en'")
    assert TEXTS[2] not in texts(told)
    assert {tuple(texts(ask("--sample", "2", "--seed", str(seed)))) for seed in range(4)} != {tuple(texts(told))}


def test_the_way_back_is_shown_by_the_beginning_of_an_id(
    ask: Ask, small: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ask("--limit", "1")["rows"][0]
    told = ask("--lineage", row["persona_id"][:8].upper())
    assert [step["persona_id"] for step in told["steps"]] == [row["persona_id"]]
    assert told["steps"][0]["in_hub"] is True
    assert told["imported_from"] == "mine.jsonl"
    settings = ["--set", f"store.path={small.folder}"]
    assert main(["hub", "--lineage", row["persona_id"], *CONFIG, *settings]) == 0
    assert capsys.readouterr().out.endswith("imported from mine.jsonl\n")
    assert main(["hub", "--lineage", "0123456789", *CONFIG, *settings]) == 2
    assert "no persona's id begins with 0123456789" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "vector"], "--by goes with --like"),
        (["--seed", "3"], "--seed goes with --sample"),
        (["--sample", "3", "--like", "a nurse"], "--sample and --like don't go together"),
        (["--sample", "3", "--limit", "5"], "--sample and --limit don't go together"),
        (["--sample", "0"], "--sample 0 shows nothing"),
        (["--limit", "-1"], "--limit -1 shows nothing"),
        (["--lineage", "0123456789", "--where", "true"], "takes no --where"),
        (["--lineage", "0123456"], "is no persona's id (give it, or its first 8"),
        (["--lineage", "not hexadecimal"], "is no persona's id"),
        (["--like", " "], "--like is empty"),
        (["--like", "a nurse", "--by", "vector"], "dedup.embedding: no model makes the text's vector"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line_before_the_store_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["hub", *options, *CONFIG, "--set", f"store.path={tmp_path / 'none'}"]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert (told.err.count("\n"), told.out) == (1, "")


@pytest.mark.parametrize(
    ("options", "settings", "message", "code"),
    [
        (["--where", "nonsense = 1"], [], "--where 'nonsense = 1': ", 2),
        (["--where", "CAST(text AS int) = 1"], [], "--where 'CAST(text AS int) = 1': ", 2),
        (["--like", "?!"], [], "'?!' has no word to compare by", 2),
        (["--like", "a", "--by", "vector"], ["dedup.embedding.model=another"], "the settings say 'another'", 2),
        (["--like", "a", "--by", "vector"], ["dedup.embedding={path: /no/such/model}"], "no folder /no/such/model", 2),
        (["--like", "a", "--by", "vector"], ["budget_usd=0"], "budget_usd: 0.000000 US dollars of it are left", 2),
        (["--like", "a" * 40_000, "--by", "vector"], [], "the text gets no vector: ", 2),
    ],
)
def test_what_cannot_be_found_by_is_one_line_and_nothing_is_asked_twice(
    small: Lake,
    quiet: str,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    settings: list[str],
    message: str,
    code: int,
) -> None:
    own = [f"store.path={small.folder}", f"llm.base_url={quiet}", MODEL, *settings]
    assert main(["hub", *options, *CONFIG, "--set", *own]) == code
    told = capsys.readouterr()
    assert message in told.err
    assert (told.err.count("\n"), told.out) == (1, "")


def test_an_endpoint_that_does_not_answer_is_told_with_the_exit_code_of_waiting(
    small: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Nobody listens there.
        own = [f"store.path={small.folder}", f"llm.base_url=http://127.0.0.1:{taken.getsockname()[1]}/v1", MODEL]
        assert main(["hub", "--like", "a nurse", "--by", "vector", *CONFIG, "--set", *own]) == 3
    assert "connection" in capsys.readouterr().err


def test_a_hub_without_vectors_says_how_it_gets_them(
    small: Lake, quiet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, before = small.copy(tmp_path, quiet), ledger(quiet)["requests"]
    other.spark.sql(f"DELETE FROM delta.`{other.folder}/hub_vectors`")
    own = [f"store.path={other.folder}", f"llm.base_url={quiet}", MODEL]
    assert main(["hub", "--like", "a nurse", "--by", "vector", *CONFIG, "--set", *own]) == 2
    assert "the hub has no vectors (`personalake dedup --rebuild` makes them" in capsys.readouterr().err
    assert ledger(quiet)["requests"] == before


def test_a_persona_that_is_not_in_the_index_yet_is_found_all_the_same(
    small: Lake, quiet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "FEW", 0)
    monkeypatch.setattr("personalake.hub_view.FEW", 0)
    other = small.copy(tmp_path, quiet)
    late = other.store.read("hub").limit(1).selectExpr(
        *(f"'{'f' * 64}' AS persona_id" if c == "persona_id" else "'nobody else' AS text" if c == "text" else c
          for c in HUB.names)
    )  # fmt: skip
    late.write.format("delta").mode("append").save(str(other.folder / "hub"))
    asked = ["hub", "--json", "--like", "nobody else", "--limit", "1", *CONFIG, "--set", f"store.path={other.folder}"]
    assert main(asked) == 0
    assert texts(json.loads(capsys.readouterr().out)) == ["nobody else"]
    asked[3] = TEXTS[0]
    assert main(asked) == 0
    assert texts(json.loads(capsys.readouterr().out)) == TEXTS[:1]
