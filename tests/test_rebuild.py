from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import pytest

from personalake.dedup.tokens import tokens
from personalake.errors import StoreError
from personalake.rebuild import rebuild
from personalake.shown import Shown
from tests.lake import PAGE, Lake, cut_after, same_rows

LOOSE = "dedup.threshold=0.6"


@pytest.fixture
def own(lake: Lake, tmp_path: Path, endpoint: str) -> Lake:
    return lake.copy(tmp_path, endpoint)


def rebuilt(lake: Lake, *more: str) -> Shown:
    return rebuild(lake.inputs(*more, stages=()), say=lake.said.append, spark=lake.spark)


def alike(one: str, other: str) -> Fraction:
    a, b = tokens(one), tokens(other)
    return Fraction(len(a & b), len(a | b))


def check(lake: Lake, threshold: Fraction) -> None:
    """All personas are kept or repeat a kept one, no two kept ones each other, and the counts say so."""
    personas = {row["persona_id"]: row["text"] for row in lake.rows("personas")}
    hub = {row["persona_id"] for row in lake.rows("hub")}
    dropped = {row["id"]: row for row in lake.rows("duplicates") if row["kind"] == "persona"}
    assert hub | dropped.keys() == personas.keys()
    assert not hub & dropped.keys()
    assert len(lake.rows("hub")) == len(hub)
    for id_, row in dropped.items():
        assert row["kept_id"] in hub
        similarity = alike(personas[id_], personas[row["kept_id"]])
        assert similarity >= threshold
        assert row["similarity"] == float(similarity)
    for one, other in itertools.combinations(sorted(hub), 2):
        assert alike(personas[one], personas[other]) < threshold
    indexed = [row["id"] for row in lake.rows("hub_keys") if row.get("id") in personas]
    assert sorted(indexed) == sorted(hub)
    assert lake.sums("items", "accepted", "duplicates")["dedup"] == [len(personas), len(hub), len(dropped)]


def test_another_threshold_is_refused_until_the_hub_is_rebuilt_and_back_again_it_is_what_it_was(own: Lake) -> None:
    before = own.everything()
    assert "nothing new" in own.run(LOOSE).text
    page = own.folder.parent / "more.jsonl"
    page.write_text('{"persona": "a luthier who repairs old violas and teaches two apprentices in a cold workshop"}\n')
    with pytest.raises(
        StoreError, match=r"compared by 'minhash at 0\.9, .* the settings say 'minhash at 0\.6, .*--reb"
    ):
        own.run(LOOSE, f"personas.paths=['{page}']", stages=("ingest", "dedup"))
    told = rebuilt(own, LOOSE, "dedup.method=exact").data["rebuilt"]
    assert told["hub"] < told["hub_before"] == len(before["hub"])
    assert told["family"] == "exact at 0.6"
    assert {row["rows"] for row in own.rows("sketches") if row["stage"] == "dedup"} == {told["hub"]}
    check(own, Fraction(6, 10))

    told = rebuilt(own, "dedup.method=minhash").data["rebuilt"]
    assert told["hub"] == len(before["hub"]) + 1
    check(own, Fraction(9, 10))
    after = own.everything()
    assert [row for row in after["hub"] if row in before["hub"]] == before["hub"]
    for table in ("completions", "personas", "duplicates", "examples", "solutions", "rejects"):
        assert [row for row in after[table] if row in before[table]] == before[table]
    assert "nothing new" in own.run().text


def test_another_threshold_of_pages_is_refused_with_a_cure_that_works(own: Lake) -> None:
    page = own.folder.parent / "more.jsonl"
    page.write_text(json.dumps({"text": PAGE}) + "\n")
    more = (f"corpus.paths=['{page}']", "corpus.licence=CC0-1.0")
    with pytest.raises(StoreError, match=r"pages were compared by .* or drop equal pages only with `dedup\.page_thr"):
        own.run(*more, "dedup.page_threshold=0.7", stages=("ingest",))
    before = len(own.rows("documents"))
    own.run(*more, "dedup.page_threshold=null", stages=("ingest",))
    assert len(own.rows("documents")) == before + 1


def test_personas_that_dedup_has_not_come_to_are_compared_as_well(own: Lake) -> None:
    file = own.folder.parent / "more.jsonl"
    text = own.rows("hub")[0]["text"]
    file.write_text(
        f'{{"persona": "{text}"}}\n{{"persona": "a beekeeper who counts her queens every spring morning"}}\n'
    )
    own.run(f"personas.paths=['{file}']", stages=("ingest",))
    before = len(own.rows("hub"))
    assert rebuilt(own).data["rebuilt"]["hub"] == before + 1
    check(own, Fraction(9, 10))
    assert "nothing new" in own.run(stages=("dedup",)).text


@pytest.mark.parametrize(
    "commits", [pytest.param(1, marks=pytest.mark.faults), 3, pytest.param(5, marks=pytest.mark.faults)]
)
def test_a_rebuild_that_is_cut_off_is_carried_out_by_whatever_runs_next(
    own: Lake, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    whole = own.copy(tmp_path / "whole", endpoint)
    rebuilt(whole, LOOSE)
    with monkeypatch.context() as patch:
        cut_after(patch, commits)
        with pytest.raises(KeyboardInterrupt):
            rebuilt(own, LOOSE)
    own.run(LOOSE, stages=("dedup",))
    same_rows(whole, own, ("hub", "duplicates", "hub_keys", "sketches"))
    check(own, Fraction(6, 10))


@pytest.mark.faults
def test_a_rebuild_after_a_stage_that_was_cut_off_is_carried_out_again_without_loss(
    own: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own.folder.parent / "more.jsonl"
    file.write_text('{"persona": "a beekeeper who counts her queens every spring morning"}\n')
    own.run(f"personas.paths=['{file}']", stages=("ingest",))
    # The stage lands its blocks and dies before it is closed; the rebuild has its number.
    with monkeypatch.context() as patch:
        cut_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            own.run(stages=("dedup",))
    for commits in (3, 4, 5):
        with monkeypatch.context() as patch:
            cut_after(patch, commits)
            with pytest.raises(KeyboardInterrupt):
                rebuilt(own)
        own.run(stages=("dedup",))
        check(own, Fraction(9, 10))
