from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from personalake import export
from personalake.errors import InputError
from personalake.export import About, Facts, Grade, card, grade, strictest, write_chat

ABOUT = About(
    task="math",
    description="Problems with solutions.",
    prompts={"math/problem": "a" * 64, "math/solution": "b" * 64},
    cost_microusd=1_234_567,
    version="0.1.0",
)
TURNS = ("problem", "solution")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def row(number: int, **changes: object) -> dict[str, Any]:
    return {
        "task": "math",
        "example_id": f"{number:064x}",
        "sample": 0,
        "persona": f"A beekeeper, number {number}.",
        "fields": {
            "problem": f"How many bees fit into {number} \\frac{{a}}{{b}} hives?",
            "solution": f"Count them.\n\\boxed{{{number}}}",
        },
        "answer": str(number),
        "verified": True,
        "model": "writer-1",
        "answer_model": "solver-1",
        "language": "en",
        "licence": "CC-BY-4.0",
        "source": "pages.jsonl",
        "url": f"https://example.org/{number}",
        **changes,
    }


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().split(b"\n") if line]
    return [json.loads(line) for line in lines]


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(matter)
    return loaded


def test_a_row_becomes_a_chat_with_its_provenance(tmp_path: Path) -> None:
    write_chat([row(7)], tmp_path / "math", ABOUT, turns=TURNS)
    assert read(tmp_path / "math") == [
        {
            "example_id": f"{7:064x}",
            "sample": 0,
            "messages": [
                {"role": "user", "content": "How many bees fit into 7 \\frac{a}{b} hives?"},
                {"role": "assistant", "content": "Count them.\n\\boxed{7}"},
            ],
            "task": "math",
            "persona": "A beekeeper, number 7.",
            "answer": "7",
            "verified": True,
            "language": "en",
            "licence": "CC-BY-4.0",
            "source": "pages.jsonl",
            "source_url": "https://example.org/7",
            "model": "writer-1",
            "answer_model": "solver-1",
        }
    ]


def test_any_order_and_any_batches_of_the_same_rows_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number, language=("en", "de", "fr")[number % 3]) for number in range(200)]
    write_chat(rows, tmp_path / "one", ABOUT, turns=TURNS, shard_rows=60)
    random.Random(5).shuffle(rows)
    monkeypatch.setattr(export, "_RUN_BYTES", 2_000)  # Some twenty sorted runs, merged three at a time.
    monkeypatch.setattr(export, "_FAN_IN", 3)
    schema = pa.schema([("fields", pa.map_(pa.string(), pa.string()))])
    fields = [pa.field(name, pa.infer_type([value])) for name, value in rows[0].items() if name != "fields"]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*schema, *fields]))
    write_chat(table.to_batches(max_chunksize=7), tmp_path / "two", ABOUT, turns=TURNS, shard_rows=60)
    one = written(tmp_path / "one")
    assert list(one) == ["README.md", *(f"train-0000{shard}-of-00004.jsonl" for shard in range(4))]
    assert one == written(tmp_path / "two")
    assert [item["example_id"] for item in read(tmp_path / "one")] == [f"{number:064x}" for number in range(200)]


def test_rows_without_an_assistants_turn_are_left_out_and_counted(tmp_path: Path) -> None:
    asked = {"problem": "How many?"}
    lacking = [asked, {**asked, "solution": " \n"}, {}, {"problem": "", "solution": "2"}]
    rows = [row(1), *(row(number, fields=fields) for number, fields in enumerate(lacking, 2))]
    facts = write_chat(rows, tmp_path / "math", ABOUT, turns=TURNS)
    assert (facts.rows, facts.skipped) == (1, 4)
    assert [item["answer"] for item in read(tmp_path / "math")] == ["1"]
    assert "Left out without an assistant's turn: 4." in (tmp_path / "math/README.md").read_text()


def test_an_export_of_no_rows_has_a_card_and_no_data_files(tmp_path: Path) -> None:
    write_chat([], tmp_path / "math", ABOUT, turns=TURNS)
    assert list(written(tmp_path / "math")) == ["README.md"]
    assert "configs" not in front_matter((tmp_path / "math/README.md").read_text())


def test_a_new_export_replaces_the_old_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "math"
    write_chat([row(number) for number in range(9)], folder, ABOUT, turns=TURNS, shard_rows=2)
    write_chat([row(1)], folder, ABOUT, turns=TURNS)
    assert list(written(folder)) == ["README.md", "train-00000-of-00001.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["math"]


def test_an_export_that_fails_leaves_the_old_one_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "math"
    write_chat([row(1)], folder, ABOUT, turns=TURNS)
    before = written(folder)

    def breaking() -> Iterator[dict[str, Any]]:
        yield row(2)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_chat(breaking(), folder, ABOUT, turns=TURNS)
    assert written(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["math"]


def test_an_export_stopped_between_its_two_renames_is_put_back_first(tmp_path: Path) -> None:
    folder = tmp_path / "math"
    write_chat([row(1)], folder, ABOUT, turns=TURNS)
    before = written(folder)
    folder.rename(tmp_path / ".math.old")
    with pytest.raises(InputError):
        write_chat([row(2, licence=None)], folder, ABOUT, turns=TURNS)
    assert written(folder) == before


def test_a_folder_that_holds_anything_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex.*export\.path"):
        write_chat([row(1)], tmp_path, ABOUT, turns=TURNS)
    assert list(written(tmp_path)) == ["thesis.tex"]


@pytest.mark.parametrize("licence", [None, "", "(c) 2020", "CC-BY-NC-4.0", "cc by-nc-sa 4.0", "CC-BY-ND-4.0"])
def test_a_licence_that_forbids_or_is_unknown_stops_the_export_unless_accepted(
    tmp_path: Path, licence: str | None
) -> None:
    rows = [row(1), row(2, licence=licence)]
    with pytest.raises(InputError, match="--accept-licence"):
        write_chat(rows, tmp_path / "math", ABOUT, turns=TURNS)
    assert list(tmp_path.iterdir()) == []
    write_chat(rows, tmp_path / "math", ABOUT, turns=TURNS, accept_licence=True)
    assert len(read(tmp_path / "math")) == 2
    assert "**Exported although" in (tmp_path / "math/README.md").read_text()


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC0-1.0", Grade.PUBLIC_DOMAIN),
        ("LicenseRef-public-domain", Grade.PUBLIC_DOMAIN),
        ("Unlicense", Grade.PUBLIC_DOMAIN),
        ("https://creativecommons.org/publicdomain/zero/1.0/", Grade.PUBLIC_DOMAIN),
        ("MIT", Grade.PERMISSIVE),
        ("Apache-2.0 WITH LLVM-exception", Grade.PERMISSIVE),
        ("MIT OR Apache-2.0", Grade.PERMISSIVE),
        ("GPL-3.0-only OR MIT", Grade.PERMISSIVE),
        ("MIT AND CC-BY-SA-4.0", Grade.SHARE_ALIKE),
        ("CC-BY-4.0", Grade.ATTRIBUTION),
        ("CC BY 3.0 US", Grade.ATTRIBUTION),
        ("OGL-UK-3.0", Grade.ATTRIBUTION),
        ("OGL-Canada-2.0", Grade.ATTRIBUTION),
        ("etalab-2.0", Grade.ATTRIBUTION),
        ("CC-BY-SA-3.0", Grade.SHARE_ALIKE),
        ("http://creativecommons.org/licenses/by-sa/4.0/deed.fr", Grade.SHARE_ALIKE),
        ("GFDL-1.3-or-later", Grade.SHARE_ALIKE),
        ("AGPL-3.0-only", Grade.SHARE_ALIKE),
        ("CC-BY-NC-4.0", Grade.NON_COMMERCIAL),
        ("CC-BY-NC-SA-4.0", Grade.NON_COMMERCIAL),
        ("CC-BY-ND-4.0", Grade.NO_DERIVATIVES),
        ("CC-BY-NC-ND-4.0", Grade.NO_DERIVATIVES),
        ("not public domain", Grade.UNKNOWN),
        ("MIT-ish", Grade.UNKNOWN),
        ("MIT OR (X AND Y)", Grade.PERMISSIVE),
        (None, Grade.UNKNOWN),
    ],
)
def test_licences_are_graded_by_what_they_ask_for(licence: str | None, expected: Grade) -> None:
    assert grade(licence) is expected


@pytest.mark.parametrize(
    ("licences", "expected", "name"),
    [
        ({"CC0-1.0": 9, "CC-BY-4.0": 1}, Grade.ATTRIBUTION, "cc-by-4.0"),
        ({"CC-BY-4.0": 218, "CC-BY-SA-3.0": 10, "CC-BY-SA-4.0": 94}, Grade.SHARE_ALIKE, "cc-by-sa-4.0"),
        ({"CC-BY-SA-4.0": 1, "GFDL-1.3": 1}, Grade.SHARE_ALIKE, None),
        ({"GPL-2.0-only": 1, "GPL-3.0-only": 1}, Grade.SHARE_ALIKE, None),
        ({"CC-BY-NC-4.0": 1, None: 1}, Grade.UNKNOWN, None),
        ({"MIT": 0}, Grade.PERMISSIVE, "mit"),
    ],
)
def test_the_strictest_licence_decides_and_is_named_where_one_covers_all(
    licences: dict[str | None, int], expected: Grade, name: str | None
) -> None:
    verdict = strictest(licences)
    assert (verdict.grade, verdict.licence) == (expected, name)


def test_every_licence_of_the_sample_corpus_is_known() -> None:
    manifest = SHARED / "sample_corpus_LICENCES.md"
    if not manifest.exists():
        pytest.skip(f"no sample corpus at {SHARED}")
    totals = next(line for line in manifest.read_text(encoding="utf-8").splitlines() if line.startswith("Totals: "))
    licences = [item.strip(" .").rpartition(" ")[0] for item in totals.removeprefix("Totals: ").split(",")]
    assert len(licences) == 12
    assert {licence: grade(licence) for licence in licences if grade(licence) is Grade.UNKNOWN} == {}


def test_the_card_says_what_where_from_and_under_which_licence(tmp_path: Path) -> None:
    rows = [row(1), row(2, licence="CC-BY-SA-3.0", language="pt"), row(3, licence="CC-BY-SA-4.0", language=None)]
    write_chat(rows, tmp_path / "math", ABOUT, turns=TURNS)
    text = (tmp_path / "math/README.md").read_text()
    matter = front_matter(text)
    assert matter["license"] == "cc-by-sa-4.0"
    assert matter["language"] == ["en", "pt"]
    assert matter["task_categories"] == ["text-generation"]
    assert matter["size_categories"] == ["n<1K"]
    assert matter["configs"][0]["data_files"] == [{"split": "train", "path": "train-*.jsonl"}]
    for said in (f"| math/problem | {'a' * 64} |", "US$ 1.23", "| solver-1 | 3 |", "| CC-BY-SA-3.0 | share alike |"):
        assert said in text
    assert "Not to be trained on" not in text


@pytest.mark.parametrize("model", ["offline-rules", "offline-canned"])
def test_the_card_of_stand_in_texts_says_so_loudly(model: str, tmp_path: Path) -> None:
    write_chat([row(1, answer_model=model)], tmp_path / "math", ABOUT, turns=TURNS)
    assert "> **Not to be trained on.**" in (tmp_path / "math/README.md").read_text()


def test_nothing_that_a_user_or_a_page_wrote_breaks_out_of_the_card() -> None:
    hostile = "x: [}\n---\n# Free | `money` <script>alert(1)</script>"
    facts = Facts(About(hostile, hostile, {hostile: hostile}, 0, hostile), rows=1, shards=1)
    facts.licences.update({hostile: 1})
    facts.models.update({hostile: 1})
    facts.languages.update({hostile: 1, "no": 1})
    text = card(facts)
    matter = front_matter(text)
    assert matter["pretty_name"] == hostile.replace("\n", " ")
    assert matter["license"] == "unknown"
    assert matter["language"] == ["no"]  # Not the boolean that YAML reads into a bare `no`.
    body = text.split("---\n", 2)[2]
    assert "<script" not in body
    assert "\n# Free" not in body
    assert [line.count(" | ") for line in body.splitlines() if line.startswith("| x")] == [1, 1, 1, 2]


def test_an_export_loads_with_datasets_even_where_a_column_opens_with_nulls(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [row(number, answer=None if number < 5 else "5") for number in range(9)]
    write_chat(rows, tmp_path / "math", ABOUT, turns=TURNS, shard_rows=3)
    loaded = datasets.load_dataset(str(tmp_path / "math"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == list(export.COLUMNS)
    assert loaded[8]["messages"][1] == {"role": "assistant", "content": "Count them.\n\\boxed{8}"}
    assert loaded["answer"][:6] == [None] * 5 + ["5"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/math: cannot be written: .*export\.path"):
        write_chat([row(1)], tmp_path / "file" / "math", ABOUT, turns=TURNS)
