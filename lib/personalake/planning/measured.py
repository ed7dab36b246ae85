"""What a plan reads off a store's tables and journals: what is asked already, what waits, and what replies were like.

It aggregates and looks; nothing is written or staged, so that it may work beside a run.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from personalake import own_personas
from personalake.asking import infer_ask
from personalake.corpus.files import CorpusFile
from personalake.inputs import Inputs
from personalake.llm.batch_notes import keys_files
from personalake.llm.journal import replies, segments
from personalake.llm.landing import with_completion
from personalake.llm.models import Question
from personalake.llm.purse import Purse
from personalake.planning.arithmetic import Measures, Replies
from personalake.schemas import COMPLETIONS, PAID_BESIDE
from personalake.settings import Settings, StoreSettings
from personalake.store import Store
from personalake.work import Folder, absolute

_PACKED = (".gz", ".zst", ".lz4")
OWN = f"{own_personas.STAGE} "
"""What the kind of a file of the user's own personas begins with."""
JOURNALED = tuple(name for name in COMPLETIONS.names if name != "seq")
_JOURNALED_DDL = ", ".join(f"{c.name} {c.type}" for c in COMPLETIONS.columns if c.name != "seq")
_COUNTS = ("requests", "answered", "rejected", "items", "accepted", "duplicates", "item_rejects")
HANDED_OVER = "handed-over"
"""A file in a pilot's work folder: all that it paid for is with the store that it was made for."""
_RATIO_ROWS = 2_000
"""Documents whose requests are built again to compare estimated tokens with billed ones."""


class Money(NamedTuple):
    """What a store has cost, what replies in its journals cost beside, and what running or cut-off waves may yet."""

    paid: int
    journaled: int
    reserved: int

    @property
    def spent(self) -> int:
        """What counts against the budget."""
        return self.paid + self.journaled + self.reserved


def pilot_settings(settings: Settings) -> StoreSettings:
    """Where the pilot of the settings' store has tables of its own."""
    return StoreSettings.model_validate({"path": f"{absolute(settings.store.work_path)}/pilot"})


def kind_of(file: CorpusFile, own: bool) -> str:
    """A file's kind, for its bytes a page: its format, packed or not, and whether it holds personas."""
    name = file.path.lower().partition("?")[0]
    packed = next((ending for ending in _PACKED if name.endswith(ending)), "")
    return f"{OWN if own else ''}{file.format}{packed}"


def journaled(store: Store) -> DataFrame | None:
    """The replies in the store's journals, of `try`, of a pilot or of a run, landed or not; null where there are none.

    The journals are to be read before `completions`: what a run lands and deletes meanwhile is in the table then.
    """
    folder = store.work / "journal"
    found = segments(folder)
    if not found:
        return None
    paths = store.spark.createDataFrame([(segment.path,) for segment in found], "path string")
    return paths.mapInArrow(_reader(folder.address), _JOURNALED_DDL)


def _reader(address: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder = Folder(address)
        for batch in batches:
            for path in batch.column("path").to_pylist():
                yield from replies(path, folder).to_batches()

    return body


def at_desk(store: Store) -> DataFrame | None:
    """The keys of requests that lie in batches at a provider; null where there are none."""
    files = list(keys_files(store.work / "batches"))
    return store.spark.read.parquet(*files).select("request_key") if files else None


def money(store: Store) -> Money:
    """What the store has cost so far, in millionths of a dollar."""
    waves, lying = store.work / "journal", journaled(store)
    paid, waiting, reserved = Purse(store, None).paid, 0, 0
    if lying is not None:
        landed = with_completion(store, lying.select("request_key").distinct(), 0)
        once = lying.join(landed, "request_key", "left_anti").groupBy("request_key").agg(F.max("cost_microusd"))
        waiting = int(once.selectExpr("coalesce(sum(`max(cost_microusd)`), 0) AS paid").collect()[0]["paid"])
    for name in waves.folders():
        content = (waves / name).read("reserved.json")
        if content is not None:
            reserved += max(0, json.loads(content)["whole"] - sum(s.microusd for s in segments(waves / name)))
    return Money(paid, waiting, reserved)


def beside(store: Store) -> int:
    """What a store has cost that is in no row of its `completions`: replies in vain, and what may have been billed."""
    waste = " + ".join(f"coalesce(waste['{cause}'], 0)" for cause in PAID_BESIDE)
    runs = store.read("runs").where(F.col("stage") != "run")
    told = runs.selectExpr(f"coalesce(sum({waste} + unknown_microusd), 0) AS lost").collect()[0]["lost"]
    return int(told) + sum(Purse(store, None).lost().values())


def measure(store: Store, inputs: Inputs, models: Mapping[str, Question], pilot: int | None = None) -> Measures:
    """What the store's tables tell of each stage of *models*; *pilot* is the number of pages where it is a pilot's."""
    runs = store.read("runs").groupBy("stage").agg(*(F.sum(name).alias(name) for name in _COUNTS)).collect()
    counts = {row["stage"]: {name: int(row[name]) for name in _COUNTS} for row in runs}
    return Measures(_replies(store, models), counts, _sizes(store, inputs), _prompt_ratio(store, inputs), pilot)


def _replies(store: Store, models: Mapping[str, Question]) -> dict[str, Replies]:
    """What each stage's replies were like, of the model that it asks now: another one's are longer or shorter."""
    asked = store.spark.createDataFrame([(s, q.label) for s, q in models.items()], "stage string, model string")
    found = (
        store.read("completions")
        .join(F.broadcast(asked), ["stage", "model"])
        .groupBy("stage")
        .agg(
            F.count("*").alias("rows"),
            F.avg("prompt_tokens").alias("prompt"),
            F.avg("completion_tokens").alias("output"),
            F.percentile_approx("completion_tokens", 0.5).alias("p50"),
            F.percentile_approx("completion_tokens", 0.95).alias("p95"),
            F.expr("try_divide(sum(cached_tokens), sum(prompt_tokens))").alias("cached_share"),
            (F.percentile_approx("latency_ms", 0.5) / 1000).alias("latency_s"),
            F.avg("cost_microusd").alias("microusd"),
        )
        .collect()
    )
    told = {}
    for row in found:
        told[row["stage"]] = Replies(int(row["rows"]), *(float(row[name] or 0) for name in Replies._fields[1:]))
    return told


def kind_column(own: Column) -> Column:
    """:func:`kind_of` for rows with `path` and `format`."""
    packed = F.regexp_extract(F.lower(F.substring_index("path", "?", 1)), f"({'|'.join(map(re.escape, _PACKED))})$", 1)
    return F.concat(F.when(own, OWN).otherwise(""), "format", packed)


def _sizes(store: Store, inputs: Inputs) -> dict[str, tuple[int, int]]:
    own = F.col("path").isin([file.path for file in inputs.persona_files])
    seen = store.read("files_seen").groupBy(kind_column(own).alias("kind"))
    found = seen.agg(F.sum("pages").alias("pages"), F.sum("size").alias("size")).collect()
    return {row["kind"]: (int(row["pages"]), int(row["size"])) for row in found}


def _prompt_ratio(store: Store, inputs: Inputs) -> tuple[float, int] | None:
    documents = store.read("documents")
    count = documents.count()
    if count > _RATIO_ROWS:
        # Ids are hashes: those below a bound are a sample, the same each time.
        documents = documents.where(F.col("doc_id") < f"{int(_RATIO_ROWS / count * 16**8):08x}")
    most = inputs.settings.llm.role("infer").max_tokens
    billed = store.read("completions").where("prompt_tokens > 0").select("request_key", "prompt_tokens")
    both = infer_ask(documents, inputs).requests.select("request_key", "est_tokens").join(billed, "request_key")
    row = both.agg(F.count("*").alias("rows"), F.sum("prompt_tokens"), F.sum(F.col("est_tokens") - most)).collect()[0]
    return (row[1] / row[2], row["rows"]) if row["rows"] and row[2] else None


def known_keys(store: Store, asked: DataFrame, count: int) -> DataFrame:
    """Those of *count* distinct keys *asked* that have an answer, or will get one without being asked again."""
    elsewhere = [rows.select("request_key") for rows in (journaled(store), at_desk(store)) if rows is not None]
    own = with_completion(store, asked, count)
    others = [rows.join(asked, "request_key", "left_semi") for rows in elsewhere]
    return functools.reduce(DataFrame.unionByName, others, own).distinct()


def rejects(store: Store, most: int) -> list[dict[str, object]]:
    """The reasons for which most was refused, by stage."""
    found = store.read("rejects").groupBy("stage", "reason").agg(F.count("*").alias("rows"))
    return [row.asDict() for row in found.orderBy(F.desc("rows"), "stage", "reason").limit(most).collect()]
