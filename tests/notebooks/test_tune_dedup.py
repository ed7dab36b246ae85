"""The notebook as it is shipped, and run in a kernel of its own with a Spark session of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from personalake.schemas import HUB, PERSONAS, arrow_fields

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "tune_dedup.ipynb"

WORDS = "aba ebe idi ofo ugu aha ejo iki olo umu ana epe iqi oro usu ata eve iwi oxo uzu".split()
"""A persona of twenty words; one of them exchanged leaves a similarity of 19 in 21, three 17 in 23."""
TEXTS = [
    " ".join(WORDS),
    " ".join([*WORDS[1:], "one"]),
    " ".join([*WORDS[3:], "one", "two", "three"]),
    " ".join(WORDS).upper(),
    *(" ".join(f"{word}{n}" for word in WORDS) for n in range(30)),
]


def table(folder: Path, name: str, texts: list[str]) -> None:
    fields = arrow_fields({"personas": PERSONAS, "hub": HUB}[name].columns)
    row = dict.fromkeys(name for name, _ in fields)
    rows = [
        {**row, "persona_id": f"{n:064}", "text": text, "text_hash": text, "hop": 0, "ordinal": n, "seq": 1}
        for n, text in enumerate(texts)
    ]
    write_deltalake(str(folder / name), pa.Table.from_pylist(rows, pa.schema(fields)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a copy came to, with other settings behind its own: on a store, and then again on a file."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("notebook")
    table(folder, "personas", TEXTS)
    table(folder, "hub", [TEXTS[0], *TEXTS[4:]])
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps({"persona": text}) + "\n" for text in TEXTS))
    on_store = f"STORE, LIKE, PLANTED = {str(folder)!r}, {' '.join(WORDS[:15])!r}, 500"
    on_file = f"TEXTS, COLUMN, STORE = {str(file)!r}, 'persona', {str(folder / 'none')!r}"
    tell = "display({'application/json': {'dropped': sweep['dropped'].tolist(), 'hub': len(hub.texts)}}, raw=True)"

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings, *others = [cell for cell in notebook.cells if cell.cell_type == "code"]
    again = [cell.source for cell in others]
    sources = [settings.source, on_store, *again, tell, on_file, *again, tell]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    cells = notebook.cells[2:]
    return [told(cells[: len(again) + 1]), told(cells[len(again) + 2 :])]


def told(cells: list[Any]) -> dict[str, Any]:
    """What the last of *cells* tells, and as `shown` all that the others show as text."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    shown = "".join(one.get("text", "") + one.get("data", {}).get("text/html", "") for one in outputs)
    return {**outputs[-1]["data"]["application/json"], "shown": shown}


def test_on_a_store_it_counts_what_dedup_would_drop_and_shows_the_differences(ran: list[dict[str, Any]]) -> None:
    found = ran[0]
    # 0.5 to 1.0 by 0.05: three of the four alike up to 17 in 23, the exchanged word up to 19 in 21, and the capitals.
    assert found["dropped"] == [3] * 5 + [2] * 4 + [1] * 2
    assert found["hub"] == len(TEXTS) - 3
    assert "personalake (12, 10) finds 99.42% of the pairs at 0.9" in found["shown"]
    assert re.search(r"<mark[^>]*>one</mark>", found["shown"])
    assert "at or above 0.5: 1, of which the index found 1" in found["shown"]


def test_on_a_file_it_needs_no_store_and_counts_the_same(ran: list[dict[str, Any]]) -> None:
    assert (ran[1]["dropped"], ran[1]["hub"]) == (ran[0]["dropped"], len(TEXTS) - 1)
