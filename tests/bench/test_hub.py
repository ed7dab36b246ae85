"""A hub of a million personas as the command line shows it: each look in a session of two cores that is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from personalake.dedup import passes
from personalake.dedup.blocks import BLOCK
from personalake.dedup.family import Family
from personalake.dedup.vectors import kept
from personalake.schemas import DOCUMENTS, PERSONAS, Table
from personalake.settings import StoreSettings
from personalake.store import Store
from tests.bench.personas import personas
from tests.bench.results import Result

pytestmark = pytest.mark.bench

ROWS, WIDTH, FAMILY = int(os.environ.get("HUB", "1000000")), 384, 7
"""Personas, numbers of a vector, and how many go back to one page: each the parent of the next."""

_SCRIPT = Path(__file__).with_name("ask_hub.py")
_COMMAND = "make bench ARGS='-k million_hub'"


def drawn(name: str, values: str) -> str:
    """SQL: one of *values* for each row, by the hash of its id."""
    several = ", ".join(f"'{value}'" for value in values.split())
    return f"element_at(array({several}), 1 + cast(pmod(xxhash64('{name}', id), {len(values.split())}) AS int))"


COLUMNS = {
    "persona_id": "id",
    "text_hash": "sha2(text, 256)",
    "relation": "if(hop = 0, 'write', 'work')",
    "occupation": drawn("occupation", "nurse teacher pilot baker luthier farmer engineer chemist driver judge"),
    "domain": drawn("domain", "health crafts science law education"),
    "language": drawn("language", "en es de fr"),
    "region": drawn("region", "ES DE FR US GB IT PL JP BR IN"),
    "interests": "array('sailing', 'chess')",
    "doc_id": "if(hop = 0, page, null)",
    "root_doc_id": "page",
    "ordinal": "0",
    "url": "concat('https://example.org/', page)",
    "source": "'crawl/one.warc.gz'",
    "licence": "'CC0-1.0'",
}

PAGE = {
    "doc_id": "page",
    "text": "'a page'",
    "url": "concat('https://example.org/', page)",
    "path": "'crawl/one.warc.gz'",
    "offset": "0",
    "n_chars": "6",
    "scrubbed": "0",
}


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Personas with their vectors, hops, parents, and the page that each goes back to."""
    random, number, before = np.random.default_rng(0), 0, None
    for batch in personas(rows, block=20_000):
        place = np.arange(number, number + len(batch))
        ids, hops = batch.column("id").to_pylist(), place % FAMILY
        parents = [None if hop == 0 else id_ for hop, id_ in zip(hops, [before, *ids[:-1]], strict=True)]
        vectors = kept(random.standard_normal((len(batch), WIDTH)))
        more = {"hop": hops.astype(np.int32), "parent_id": parents, "page": [f"{n:064x}" for n in place // FAMILY]}
        number, before = number + len(batch), ids[-1]
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, *map(pa.array, more.values()), pa.array(vectors, pa.binary())],
            [*batch.schema.names, *more, "vector"],
        )


@pytest.fixture(scope="module")
def store(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(spark, tmp_path_factory.mktemp("hub"))


def build(spark: SparkSession, folder: Path) -> Path:
    """Write the tables of such a hub, all of whose personas were kept, through the store's own door."""
    made = batches(ROWS)
    first = next(made)
    with pq.ParquetWriter(folder / "rows.parquet", first.schema) as writer:
        for batch in (first, *made):
            writer.write_batch(batch, row_group_size=20_000)
    rows = spark.read.parquet(str(folder / "rows.parquet"))
    named = as_rows(rows, PERSONAS, COLUMNS)
    at = Store(spark, StoreSettings.model_validate({"path": str(folder / "lake")})).open()
    at.append("personas", named, 1)
    at.append("hub", named, 1)
    texts, family = rows.selectExpr("id", "CAST(0 AS double) AS rank", "text"), Family(0.9)
    blocks = texts.mapInArrow(passes.block_maker(family, 1), BLOCK)
    at.append("hub_keys", blocks.selectExpr("'persona' AS kind", f"'{family.name}' AS family", *blocks.columns), 1)
    vectors = rows.selectExpr("id AS persona_id", "'offline-embedding' AS model", f"{WIDTH} AS dimensions", "vector")
    at.append("hub_vectors", vectors, 1)
    at.append("documents", as_rows(rows.where("hop = 0"), DOCUMENTS, PAGE), 1)
    return folder / "lake"


def as_rows(rows: DataFrame, table: Table, columns: dict[str, str]) -> DataFrame:
    """Rows of *table* by the SQL of its *columns*; what these don't name is taken as it is, or null."""
    return rows.selectExpr(
        *(
            f"CAST({columns.get(c.name, c.name if c.name in rows.columns else 'null')} AS {c.type}) AS {c.name}"
            for c in table.columns
            if c.name != "seq"
        )
    )


def test_a_million_hub_answers_within_two_seconds(store: Path) -> None:
    done = subprocess.run([sys.executable, str(_SCRIPT), str(store)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, seconds in json.loads(done.stdout.splitlines()[-1]).items():
        Result(
            name=f"hub_{name}",
            value=seconds["later"],
            unit=f"s for {ROWS:,} personas",
            compared_with="the first of its kind in a session",
            compared_value=seconds["first"],
            goal="under 2 s",
            command=_COMMAND,
        ).keep()
