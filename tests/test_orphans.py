"""Rows that leave the store: who was dropped for them is settled again, and both promises of dedup hold."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from personalake import amend
from personalake.accept import content_id
from personalake.amend import Change, Prepared
from personalake.errors import InputError, StoreError
from personalake.orphans import removal
from personalake.pipeline import execute
from personalake.rebuild import rebuild
from personalake.runs import Run
from tests.lake import Lake, cut_after, same_rows
from tests.test_rebuild import check

LOOSE = Fraction(6, 10)
DEDUP = ("hub", "duplicates", "hub_keys")


def words(letter: str, numbers: Iterable[int] = range(1, 11), *more: str) -> str:
    return " ".join([*(f"{letter}{number}" for number in numbers), *more])


FOREMOST = {
    "alone": words("z"),
    "chained": words("a"),
    "twice repeated": words("d"),
    "once repeated": words("f"),
    "stays": words("k"),
    "head of a chain": words("n"),
}
"""All of them are kept, since they come first."""

LATER = {
    "between": words("a", range(1, 9), "c1", "c2"),
    "end": words("a", range(3, 8), "c1", "c2", "c3"),
    "twin": words("d", range(1, 10)),
    "other twin": words("d", range(2, 11)),
    "nobody's": words("f", range(1, 9)),
    "untouched": words("k", range(1, 9)),
    "goes as well": words("k", range(2, 11)),
    "first": words("n", range(3, 11), "x1"),
    "second": words("n", [2, 3, 4, 5, 6, 7, 8, 10]),
    "third": words("n", range(1, 9), "y1"),
}
TEXTS = {**FOREMOST, **LATER}
GOES = ("alone", "chained", "twice repeated", "once repeated", "head of a chain", "goes as well")


def id_of(name: str) -> str:
    return content_id("own persona", TEXTS.get(name, name))


def imported(lake: Lake, texts: Iterable[str], file: Path, stages: tuple[str, ...] = ("ingest", "dedup")) -> None:
    """Let *texts*, written into *file*, be personas of the store, and run *stages* for them."""
    file.write_text("".join(json.dumps({"persona": text}) + "\n" for text in texts))
    lake.run(f"personas.paths=['{file}']", stages=stages)


@pytest.fixture(scope="module")
def settled(spark: SparkSession, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two runs' personas, compared exactly. Nobody may run it again."""
    folder = tmp_path_factory.mktemp("orphans")
    own = ["corpus.paths=[]", "synthesize.tasks=[]", "dedup.method=exact", "dedup.threshold=0.6"]
    lake = Lake(spark, folder / "lake", endpoint, own)
    imported(lake, FOREMOST.values(), folder / "foremost.jsonl")
    imported(lake, LATER.values(), folder / "later.jsonl")
    return lake


@pytest.fixture
def own(settled: Lake, tmp_path: Path, endpoint: str) -> Lake:
    return settled.copy(tmp_path, endpoint)


def removed(lake: Lake, personas: Sequence[str] = (), pages: Sequence[str] = (), settings: Sequence[str] = ()) -> None:
    """Remove these ids as a command does that empties `personas` and `documents` of them as well."""
    inputs = lake.inputs(*settings, stages=())

    def prepare(run: Run) -> Prepared:
        spark = run.store.spark
        rows = [("persona", id_) for id_ in personas] + [("page", id_) for id_ in pages]
        gone = spark.createDataFrame(rows, "kind string, id string")
        found = removal(run, inputs, gone)
        left = [
            Change("personas", "delete", gone.where("kind = 'persona'").selectExpr("id AS persona_id")),
            Change("documents", "delete", gone.where("kind = 'page'").selectExpr("id AS doc_id")),
        ]
        amend.plan(run, "removal", [*found.changes, *left], found.records, found.through)
        amend.carry_out(run, own=True)
        return Prepared(())

    execute(inputs, (), say=lake.said.append, spark=lake.spark, prepare=prepare, command="removal")


def dropped(lake: Lake) -> dict[str, str]:
    """The id of each dropped persona, and of the one that it names."""
    return {row["id"]: row["kept_id"] for row in lake.rows("duplicates") if row["kind"] == "persona"}


def indexed(lake: Lake) -> list[str]:
    return [row["id"] for row in lake.rows("hub_keys") if "id" in row]


def test_who_was_dropped_for_a_gone_persona_is_settled_again(own: Lake, tmp_path: Path) -> None:
    before = dropped(own)
    assert {before[id_of(name)] for name in ("first", "second", "third")} == {id_of("head of a chain")}
    assert before[id_of("between")] == id_of("chained")
    assert id_of("end") not in before
    removed(own, [id_of(name) for name in GOES])
    check(own, LOOSE)
    after, hub = dropped(own), {row["persona_id"] for row in own.rows("hub")}
    assert {id_of("nobody's"), id_of("stays"), id_of("end")} <= hub
    assert after[id_of("between")] == id_of("end")
    assert after[id_of("untouched")] == before[id_of("untouched")] == id_of("stays")
    assert len({id_of("twin"), id_of("other twin")} & hub) == 1
    assert not {id_of(name) for name in GOES} & {*hub, *after, *after.values(), *indexed(own)}
    assert sorted(indexed(own)) == sorted(hub)
    assert "nothing new" in own.run(stages=("dedup",)).text
    # What comes next is compared with what is left.
    more = [words("a", range(1, 10)), words("z", range(1, 10)), words("k", range(1, 10)), words("f", range(1, 10))]
    imported(own, more, tmp_path / "more.jsonl")
    check(own, LOOSE)
    found = dropped(own)
    assert [found.get(id_of(text)) for text in more[1:]] == [None, id_of("stays"), id_of("nobody's")]


def test_where_everybody_goes_nothing_is_left(own: Lake, tmp_path: Path) -> None:
    removed(own, [row["persona_id"] for row in own.rows("personas")])
    check(own, LOOSE)
    assert not any(own.rows(table) for table in ("personas", *DEDUP))
    imported(own, [TEXTS["chained"], TEXTS["between"]], tmp_path / "again.jsonl")
    check(own, LOOSE)
    assert len(own.rows("hub")) == 1


def test_without_an_orphan_nothing_is_compared_and_the_settings_do_not_matter(own: Lake) -> None:
    duplicates, stays = own.rows("duplicates"), [row for row in own.rows("hub") if row["text"] != TEXTS["alone"]]
    removed(own, [id_of("alone")], settings=["dedup.threshold=0.8"])
    check(own, LOOSE)
    assert own.rows("hub") == stays
    assert own.rows("duplicates") == duplicates
    assert id_of("alone") not in indexed(own)
    with pytest.raises(StoreError, match=r"compared by 'exact at 0\.6' so far, the settings say 'exact at 0\.8'"):
        removed(own, [id_of("chained")], settings=["dedup.threshold=0.8"])


def test_personas_that_dedup_has_not_come_to_are_compared_as_well(own: Lake, tmp_path: Path) -> None:
    new = [words("f", range(1, 10)), words("q"), words("r")]
    imported(own, new, tmp_path / "more.jsonl", stages=("ingest",))
    removed(own, [id_of(name) for name in ("once repeated", words("r"))])
    check(own, LOOSE)
    assert words("q") in {row["text"] for row in own.rows("hub")}
    assert words("r") not in {row["text"] for row in own.rows("personas")}
    assert "nothing new" in own.run(stages=("dedup",)).text


def test_who_was_never_compared_takes_nothing_along(own: Lake) -> None:
    before = own.versions()
    removed(own, ["0" * 64])
    after = own.versions()
    assert {table for table in after if after[table] != before[table]} == {"runs"}


def test_rows_of_a_store_with_a_run_that_was_cut_off_are_not_removed(own: Lake, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            imported(own, [words("q")], tmp_path / "more.jsonl")
    with pytest.raises(InputError, match="a run was cut off, and dedup, ingest may be half done"):
        removed(own, [id_of("alone")])


_COMMITS = 8
"""Three deletions and three appends of dedup's tables, that of `personas`, and the counts."""


@pytest.mark.parametrize(
    "commits",
    [n if n == 4 else pytest.param(n, marks=pytest.mark.faults) for n in range(_COMMITS + 1)],
)
def test_a_removal_that_is_cut_off_is_carried_out_by_whatever_runs_next(
    own: Lake, settled: Lake, tmp_path: Path, endpoint: str, commits: int
) -> None:
    goes = [id_of(name) for name in GOES]
    whole = settled.copy(tmp_path / "whole", endpoint)
    removed(whole, goes)
    assert sum(whole.versions().values()) - sum(settled.versions().values()) == _COMMITS + 1
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, commits)
        with pytest.raises(KeyboardInterrupt):
            removed(own, goes)
    for lake in (whole, own):
        imported(lake, [words("q")], tmp_path / "next.jsonl")
    same_rows(whole, own, ("personas", *DEDUP))
    check(own, LOOSE)


def _random_texts(number: int, seed: int) -> list[str]:
    """Texts around few sets of words, so that most repeat some other and chains are common."""
    drawn = random.Random(seed)
    cores = [[f"w{core}x{word}" for word in range(9)] for core in range(number // 8)]
    texts: set[str] = set()
    while len(texts) < number:
        core = drawn.choice(cores)
        texts.add(" ".join([*drawn.sample(core, drawn.randint(6, 9)), *(f"m{drawn.randint(0, 3)}" for _ in range(2))]))
    return sorted(texts, key=lambda text: content_id(text, seed))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.faults)])
def test_promises_hold_whoever_goes_as_after_a_rebuild_of_what_is_left(
    spark: SparkSession, settled: Lake, tmp_path: Path, endpoint: str, seed: int
) -> None:
    lake = Lake(spark, tmp_path / "lake", endpoint, settled.overrides)
    texts = _random_texts(160, seed)
    for number in range(2):
        imported(lake, texts[number::2], tmp_path / f"batch-{number}.jsonl")
    check(lake, LOOSE)
    drawn = random.Random(seed)
    for share in (0.2, 0.5):
        ids = [row["persona_id"] for row in lake.rows("personas")]
        kept = [row["persona_id"] for row in lake.rows("hub")]
        goes = {*drawn.sample(ids, int(share * len(ids) / 2)), *drawn.sample(kept, int(share * len(kept)))}
        untouched = {id_: kept for id_, kept in dropped(lake).items() if not {id_, kept} & goes}
        assert len(untouched) < len(dropped(lake)) - len(goes & dropped(lake).keys())
        removed(lake, sorted(goes))
        check(lake, LOOSE)
        assert untouched.items() <= dropped(lake).items()
        assert set(kept) - goes <= {row["persona_id"] for row in lake.rows("hub")}
        assert not goes & {*indexed(lake)}
    rebuild(lake.inputs(stages=()), say=lake.said.append, spark=spark)
    check(lake, LOOSE)


def _page(seed: int, *end: str) -> str:
    drawn = random.Random(seed)
    return " ".join(
        [*(drawn.choice(("river", "lamp", "copper", "ferry", "orchard", "bell")) for _ in range(120)), *end]
    )


def test_a_page_that_was_dropped_for_a_gone_one_is_read_again_and_nothing_else_lands_twice(
    spark: SparkSession, endpoint: str, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    near, other = _page(1, "at dusk"), _page(3)
    files = {
        "1": [_page(1), _page(2)],
        "2": [near, other, near, _page(2, "at dawn")],
        "3": [near, "too short"],
        "4": [_page(4)],
    }
    for name, texts in files.items():
        (corpus / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    lake = Lake(spark, tmp_path / "lake", endpoint, [f"corpus.paths=['{corpus}']", "corpus.licence=CC0-1.0"])
    lake.run(stages=("ingest",))
    ids = {row["text"]: row["doc_id"] for row in lake.rows("documents")}
    assert ids.keys() == {_page(number) for number in (1, 2, 3, 4)}
    assert lake.sums("items", "duplicates", "accepted", "item_rejects")["ingest"] == [9, 4, 4, 1]
    sightings, rejects = lake.rows("sightings"), lake.rows("rejects")
    (kept,) = [row for row in lake.rows("duplicates") if row["kept_id"] == ids[_page(2)]]

    removed(lake, pages=[ids[_page(1)]])
    assert lake.rows("duplicates") == [kept]
    assert lake.rows("sightings") == [row for row in sightings if row["doc_id"] == kept["id"]]
    assert sorted(indexed(lake)) == sorted(row["doc_id"] for row in lake.rows("documents"))
    assert lake.sums("items", "duplicates")["ingest"] == [6, 1]
    assert {Path(row["path"]).name for row in lake.rows("files_seen")} == {"1.jsonl", "4.jsonl"}

    lake.run(stages=("ingest",))
    documents = {row["text"]: row for row in lake.rows("documents")}
    assert len(lake.rows("documents")) == len(documents) == 4
    # The file of the gone page was not read again.
    assert _page(1) not in documents
    assert Path(documents[near]["path"]).name == "2.jsonl"
    assert len(lake.rows("sightings")) == 3
    assert lake.rows("rejects") == rejects
    assert lake.rows("duplicates") == [kept]
    assert sorted(indexed(lake)) == sorted(row["doc_id"] for row in documents.values())
    assert "nothing new" in lake.run(stages=("ingest",)).text
