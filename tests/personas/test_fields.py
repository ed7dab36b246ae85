"""What rows of published persona sets become, each set in its own shape, and what a row of any shape may become."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalake.corpus.files import PERSONAS, list_files
from personalake.corpus.records import BadRecord, Ignored, RefusedError
from personalake.corpus.rows import Row, rows_of
from personalake.corpus.splits import Split
from personalake.own_personas import LAYOUT, persona_reader
from personalake.personas.fields import MOST_ATTRIBUTES, PersonaFields
from personalake.personas.shape import AGE_BANDS
from personalake.personas.values import MOST_CHARS, age_band, attribute, listed, region
from personalake.settings import PersonasSettings
from tests.conftest import SHARED

SETS = Path(__file__).parents[1] / "data" / "persona_sets"
NURSE = "A night-shift nurse who plans the ward's rota and counts every pill twice"


def read(path: Path, **given: Any) -> list[Row]:
    """The personas of a file; it fails where a row is refused."""
    (file,) = list_files([str(path)], PERSONAS)
    rows = list(persona_reader(PersonasSettings.model_validate(given), "")(Split.of(file)))
    assert not [row for row in rows if isinstance(row, BadRecord | Ignored)]
    return [row for row in rows if isinstance(row, dict)]


def row_of(value: dict[str, Any], **given: Any) -> Row:
    return PersonaFields(PersonasSettings.model_validate(given)).row(value, "a.jsonl")


def as_parquet(path: Path, folder: Path) -> Path:
    """A set's JSONL file as Parquet, labels as strings."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    names = dict.fromkeys(name for row in rows for name in row)
    labels = [json.dumps(row["labels"]) if isinstance(row.get("labels"), list) else row.get("labels") for row in rows]
    columns = {name: labels if name == "labels" else [row.get(name) for row in rows] for name in names}
    pq.write_table(pa.table(columns), folder / f"{path.stem}.parquet")
    return folder / f"{path.stem}.parquet"


def test_the_release_of_persona_hub_has_its_text_and_nothing_else() -> None:
    first, _ = read(SETS / "persona_hub.jsonl")
    assert first["text"].startswith("A ferry captain who paints")
    assert (first["attributes"], first["domain"], first["quality"]) == (None, None, 0)


def test_of_persona_hubs_samples_the_persona_counts_and_not_what_it_wrote() -> None:
    first, second = read(SETS / "persona_hub_samples.jsonl")
    assert first["text"] == "A cheese maker who keeps her ripening cellar's log in verse"
    assert (first["attributes"], second["attributes"]) == (None, None)


def test_an_elite_persona_has_the_field_that_it_is_best_in() -> None:
    first, second = read(SETS / "persona_hub_elite.jsonl")
    assert (first["domain"], second["domain"]) == ("Environmental Science", "Theatre")
    assert first["attributes"] == {"specific domain (top 1 percent)": "Hydrology"}
    assert second["attributes"] == {"specific domain (top 0.1 percent)": "Stage Management"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_labels_of_finepersonas_are_interests_as_a_list_or_as_a_string(kind: str, tmp_path: Path) -> None:
    path = SETS / "finepersonas.jsonl"
    first, second = read(path if kind == "jsonl" else as_parquet(path, tmp_path))
    assert first["interests"] == ["Maritime History", "Archives", "Museums"]
    assert second["interests"] == ["Education", "Mathematics", "Teaching"]
    assert (first["attributes"], second["attributes"]) == (None, None)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_of_the_clustered_finepersonas_neither_vectors_nor_numbers_of_clusters_are_kept(
    kind: str, tmp_path: Path
) -> None:
    path = SETS / "finepersonas_clustered.jsonl"
    (row,) = read(path if kind == "jsonl" else as_parquet(path, tmp_path))
    assert (row["interests"], row["attributes"]) == (["Soil Science", "Agriculture"], None)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_nemotron_persona_is_its_sentence_with_what_describes_it_and_no_other_narrative(
    kind: str, tmp_path: Path
) -> None:
    path = SETS / "nemotron.jsonl"
    first, second = read(path if kind == "jsonl" else as_parquet(path, tmp_path))
    assert first["text"] == "Odalys is a patient, exact woman who knows every curve of the old tram line"
    assert first["interests"] == ["rowing", "whittler's fairs", "railway tickets"]
    assert (first["occupation"], first["age_band"], first["region"]) == ("not_in_workforce", "senior", "US")
    assert first["attributes"] == {
        "skills_and_expertise_list": "tram operation, children's tours, wiring diagrams", "sex": "Female", "age": "71",
        "marital_status": "widowed", "education_level": "high_school", "city": "Millbrook", "state": "OH",
        "zipcode": "00000",
    }  # fmt: skip
    assert (second["age_band"], second["region"], second["language"]) == ("teenager", "AT", "de")
    assert second["interests"] is None
    assert second["attributes"] == {
        "hobbies_and_interests_list": "not a list", "sex": "Male", "age": "17", "country": "Atlantis",
    }  # fmt: skip


def test_the_settings_choose_another_narrative_of_a_known_set() -> None:
    first, _ = read(SETS / "nemotron.jsonl", columns={"text": "professional_persona"})
    assert first["text"].startswith("Odalys, a retired tram driver")
    assert "persona" not in (first["attributes"] or {})
    assert first["age_band"] == "senior"


def test_of_synthetic_persona_chat_the_first_speakers_lines_are_the_persona() -> None:
    (row,) = read(SETS / "synthetic_persona_chat.csv")
    assert (row["text"], row["attributes"]) == ("I repair accordions. I have two goats.", None)


def test_any_table_is_mapped_by_the_settings_also_nested(tmp_path: Path) -> None:
    value = {
        "who": {"bio": NURSE, "tags": ["rotas", "pills"]}, "job": "nurse", "years": 24, "field": "Medicine",
        "level": "Expert", "rel": "write", "place": "DE-BY", "lang": "eng", "terms": "MIT", "link": "https://a.example/1",
        "set": "ward-7", "persona": "not this",
    }  # fmt: skip
    columns = {
        "text": "who.bio", "occupation": "job", "age_band": "years", "domain": "field", "expertise": "level",
        "relation": "rel", "region": "place", "language": "lang", "licence": "terms", "url": "link", "source": "set",
        "interests": "who.tags",
    }  # fmt: skip
    wanted = {
        "text": NURSE, "occupation": "nurse", "age_band": "young_adult", "domain": "Medicine", "expertise": "expert",
        "relation": "write", "region": "DE-BY", "language": "en", "licence": "MIT", "url": "https://a.example/1",
        "source": "ward-7", "interests": ["rotas", "pills"], "attributes": {"years": "24", "persona": "not this"},
    }  # fmt: skip
    row = row_of(value, columns=columns)
    assert {field: row[field] for field in wanted} == wanted
    pq.write_table(pa.Table.from_pylist([value]), tmp_path / "a.parquet")
    (row,) = read(tmp_path / "a.parquet", columns=columns)
    assert {field: row[field] for field in wanted} == wanted


def test_what_fits_no_closed_vocabulary_is_an_attribute() -> None:
    row = row_of(
        {"persona": NURSE, "expertise": "guru", "age_band": "ancient", "region": "Bavaria", "language": "Klingon"}
    )
    assert [row[field] for field in ("expertise", "age_band", "region", "language")] == [None, None, None, "en"]
    assert row["attributes"] == {
        "expertise": "guru", "age_band": "ancient", "region": "Bavaria", "language": "Klingon",
    }  # fmt: skip


def test_attributes_are_short_and_few_and_name_nobody() -> None:
    value = {
        "persona": NURSE, "first_name": "Ada", "email_address": "ada@a.example", "uuid": "1",
        "bio": "x" * (MOST_CHARS + 1),
        "deep": {"a": 1}, "none": "None", "not": float("nan"), "yes": True, "half": 0.5, "day": dt.date(2024, 5, 1),
        "words": ["a", "b", None], "vector": [0.1] * 500, **{f"c{n}": n for n in range(40)},
    }  # fmt: skip
    kept = row_of(value)["attributes"]
    assert len(kept) == MOST_ATTRIBUTES
    assert list(kept.items())[:6] == [
        ("yes", "true"), ("half", "0.5"), ("day", "2024-05-01"), ("words", "a, b"), ("c0", "0"), ("c1", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "child"), (12, "child"), (13, "teenager"), (20, "young_adult"), (34.5, "young_adult"), (35, "adult"),
        (64, "adult"), (65, "senior"), (130, "senior"), ("74", "senior"), ("25-34", "young_adult"), ("70代", "senior"),
        ("80歳以上", "senior"), ("40s", "adult"), ("Young adult", "young_adult"), ("senior", "senior"),
        (131, None), (-1, None), (True, None), (None, None), ("old", None), ("1990-05-12", None), ("9" * 20, None),
        (float("nan"), None), ([30], None),
    ],
)  # fmt: skip
def test_an_age_is_the_band_that_holds_it(age: object, band: str | None) -> None:
    assert age_band(age) == band


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("DE", "DE"), ("US-CA", "US-CA"), ("USA", "US"), ("日本", "JP"), ("en_IN", "IN"), ("hi_Deva_IN", "IN"),
        ("九州地方", None), ("us", None), ("", None), (None, None), (3, None),
    ],
)  # fmt: skip
def test_a_region_is_its_iso_code_or_none(given: object, code: str | None) -> None:
    assert region(given) == code


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ('["a", "b"]', ["a", "b"]), ("['a', \"b's\"]", ["a", "b's"]), (["a", 2, None, ""], ["a", "2"]), ("[]", []),
        ("a, b", None), ("[a, b]", None), ("[" * 9_000, None), ({"a": 1}, None), (None, None),
    ],
)  # fmt: skip
def test_a_list_is_read_out_of_json_or_pythons_repr(value: object, items: list[str] | None) -> None:
    assert listed(value) == items


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.just("[1, 'a"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["persona", "text", "age", "region", "labels", "professional_persona", "a.b"]) | st.text(
    max_size=9
)


@given(value=st.dictionaries(KEYS, VALUES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_row_of_any_shape_is_a_persona_that_a_table_can_hold_or_is_refused(value: dict[str, Any]) -> None:
    try:
        row = row_of(value)
    except RefusedError as refused:
        pa.RecordBatch.from_pylist([{"reason": refused.reason, "detail": refused.detail}], schema=LAYOUT.arrow)
        return
    pa.RecordBatch.from_pylist([{"kind": "page", **row}], schema=LAYOUT.arrow)
    assert row["text"].strip()
    assert row["age_band"] in (*AGE_BANDS, None)
    kept = row["attributes"] or {}
    assert len(kept) <= MOST_ATTRIBUTES
    assert all(0 < len(each) <= MOST_CHARS for each in kept.values())


@given(VALUES)
def test_an_attribute_is_short_or_none(value: object) -> None:
    shown = attribute(value)
    assert shown is None or 0 < len(shown) <= MOST_CHARS


needs_sets = pytest.mark.skipif(not (SHARED / "personas").is_dir(), reason="../shared/data/personas is not there")


@needs_sets
def test_every_row_of_the_real_sets_is_a_persona() -> None:
    files = list_files([str(SHARED / "personas" / f"*{end}") for end in (".jsonl.gz", "/*.csv")], PERSONAS)
    found = {}
    for file in files:
        batches = rows_of([Split.of(file)], persona_reader(PersonasSettings.model_validate({}), ""), LAYOUT.arrow)
        rows = [row for batch in batches for row in batch.to_pylist()]
        found[Path(file.path).name] = rows[:-1]
        assert (rows[-1]["pages"], rows[-1]["refused"]) == (len(rows) - 1, 0)
    counts = {name: len(rows) for name, rows in found.items()}
    assert counts == {"sample_50.csv": 50, "spc_personas.jsonl.gz": 25_039, "spc_reordered_personas.jsonl.gz": 25_039}
    japan = found["sample_50.csv"]
    assert {row["region"] for row in japan} == {"JP"}
    assert {row["language"] for row in japan} == {"ja"}
    assert all(row["age_band"] and row["interests"] and row["occupation"] for row in japan)
    assert all(dict(row["attributes"])["prefecture"] for row in japan)
