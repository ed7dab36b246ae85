"""The notebook run in a kernel of its own with a Spark session of its own, over a store written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from personalake.dedup.vectors import kept
from personalake.schemas import TABLES, arrow_fields

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "explore_hub.ipynb"
TEXTS = [
    *(f"a keeper of light number {n} who counts the ships of the night" for n in range(30)),
    "a baker who counts loaves",
    "the sister of a baker who counts loaves",
]
PAGE, BAKER, SISTER = f"{7:064}", f"{30:064}", f"{31:064}"


def table(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    fields = arrow_fields(TABLES[name].columns)
    blank = dict.fromkeys(name for name, _ in fields) | {"seq": 1}
    write_deltalake(str(folder / name), pa.Table.from_pylist([blank | row for row in rows], pa.schema(fields)))


def store(folder: Path, *, with_vectors: bool) -> Path:
    """Keepers of a light from one page, and a baker from it with her sister, who isn't in the hub."""
    rows = [
        {"persona_id": f"{n:064}", "text": text, "text_hash": text, "hop": 0, "ordinal": n, "relation": "write"}
        | {"doc_id": PAGE, "root_doc_id": PAGE, "url": "https://example.org/light", "language": "en"}
        | {"occupation": text.split()[1], "interests": ["ships", "nights"], "domain": "transport"}
        for n, text in enumerate(TEXTS)
    ]
    rows[-1] |= {"hop": 1, "doc_id": None, "parent_id": BAKER, "relation": "family"}
    table(folder, "personas", rows)
    table(folder, "hub", rows)
    table(folder, "documents", [{"doc_id": PAGE, "text": "t", "title": "The light", "path": "one.txt", "offset": 0}
                                | {"url": "https://example.org/light", "n_chars": 1, "scrubbed": 0}])  # fmt: skip
    if with_vectors:
        made = kept(np.random.default_rng(1).standard_normal((len(TEXTS), 8)))
        named = [{"persona_id": row["persona_id"], "model": "m", "dimensions": 8} for row in rows]
        table(folder, "hub_vectors", [row | {"vector": one} for row, one in zip(named, made, strict=True)])
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a copy showed, with other settings behind its own: over a store with vectors, and one without."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    shown = []
    for with_vectors in (True, False):
        folder = store(tmp_path_factory.mktemp("notebook"), with_vectors=with_vectors)
        own = f"STORE, LIKE, WHERE, SAMPLE = {str(folder)!r}, 'a baker who counts', 'hop = 1', 3"
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        settings, *others = [cell for cell in notebook.cells if cell.cell_type == "code"]
        notebook.cells = [nbformat.v4.new_code_cell(each) for each in (settings.source, own)] + others
        place = {"metadata": {"path": str(NOTEBOOK.parent)}}
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        shown.append("".join(one.get("text", "") + one.get("data", {}).get("text/html", "") for one in outputs))
    return shown


def test_it_shows_who_is_found_and_the_way_back_to_the_page(ran: list[str]) -> None:
    for shown in ran:
        assert "pages: 1, personas: 32, in the hub: 32" in shown
        assert "1 of 32 where hop = 1" in shown
        assert "'title': 'The light'" in shown
        assert shown.count(BAKER) >= 2
    assert "with a vector: 32" in ran[0]


def test_a_hub_without_vectors_says_so(ran: list[str]) -> None:
    assert ["The hub has no vectors" in shown for shown in ran] == [False, True]


def test_it_measures_how_different_they_are(ran: list[str]) -> None:
    assert all("distinct-2" in shown for shown in ran)
