"""The ingest stage: corpus files to documents, sightings, refusals and the record of the files that were read.

    files ──reading──▶ rows (page | reject | file) ──kept, sightings, rejects, files_seen──▶ tables

Per file `records = pages + refused + ignored`; per batch `pages = documents + sightings + forgotten ones`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from personalake.corpus import filters, quality
from personalake.corpus.address import canonical
from personalake.corpus.extract import extract
from personalake.corpus.files import CorpusFile
from personalake.corpus.language import declared_language, detect_language
from personalake.corpus.lists import Lists
from personalake.corpus.readers import read
from personalake.corpus.records import BadRecord, Ignored, Record, RefusedError, shortened
from personalake.corpus.rows import VANISHED, Layout, Reading, ReadSplit, Row, reject_row
from personalake.corpus.scrub import scrub
from personalake.corpus.signals import licence_of, opted_out
from personalake.corpus.splits import Split
from personalake.schemas import DOCUMENTS, FILES_SEEN, REJECTS, Table
from personalake.settings import CorpusSettings
from personalake.work import Folder

STAGE = "ingest"
LAYOUT = Layout(DOCUMENTS)
"""The columns of the rows that are read; what a row's `kind` has no value for is null."""


def files_frame(spark: SparkSession, files: Sequence[CorpusFile]) -> DataFrame:
    """Return *files* as rows of path, format, size and stamp."""
    rows = [(file.path, file.format, file.size, file.stamp) for file in files]
    return spark.createDataFrame(rows, "path string, format string, size long, stamp string")


def reading(folder: Folder, settings: CorpusSettings) -> Reading:
    """Files on their way to pages under *settings*."""
    shaped_by = [settings.model_dump(mode="json"), Lists.of(settings).digest]
    return Reading(folder, LAYOUT, functools.partial(page_reader, settings), shaped_by)


def page_reader(settings: CorpusSettings, base: str) -> ReadSplit:
    """How a task reads the pages of a split under *settings*; relative paths are below *base*."""
    lists = Lists.of(settings, base)

    def pages(split: Split) -> Iterator[Row | BadRecord | Ignored]:
        for item in read(split, settings, base):
            yield page_row(item, settings, lists) if isinstance(item, Record) else item

    return pages


def page_row(record: Record, settings: CorpusSettings, lists: Lists) -> Row:
    """Return the row of a page, or of its refusal."""
    text = record.text or ""
    try:
        lists.check_url(record.url)
        title, language, licence = record.title, record.language, record.licence
        if record.html is not None:
            if settings.respect_opt_outs and (said := opted_out(record.headers, record.html)):
                raise RefusedError("opted_out", said)
            found = extract(record.html, record.charset)
            text, title, language = found.text, title or found.title, language or found.language
            licence = licence or licence_of(record.html)
        licence = licence or lists.licence_of.at(record.path)
        lists.check_licence(licence)
        text = filters.cut(filters.clean(text), settings.max_chars)
        filters.check(text, settings.min_chars)
        language = declared_language(language) or detect_language(text)
        if settings.languages is not None and language not in settings.languages:
            raise RefusedError("language", f"it is in {language or 'a language that is not known'}")
        quality.check(text, settings.quality)
        lists.check_words(text)
    except RefusedError as refused:
        detail = f"{refused.detail}; {record.url}" if record.url else refused.detail
        return reject_row(BadRecord(record.path, record.offset, refused.reason, detail, shortened(text)))
    text, scrubbed = scrub(text, settings.scrub)
    return {
        "kind": "page",
        "doc_id": content_hash(text),
        "text": text,
        "title": scrub(title, settings.scrub)[0] if title else None,
        "url": record.url,
        "canonical_url": canonical(record.url),
        "path": record.path,
        "offset": record.offset,
        "language": language,
        "licence": licence,
        "attribution": record.attribution,
        "subject": record.subject,
        "n_chars": len(text),
        "scrubbed": scrubbed,
        "fetched_at": record.fetched_at,
    }


def content_hash(text: str) -> str:
    """Return a page's `doc_id`: the sha256, as hex, of *text* in NFC with white space folded."""
    return hashlib.sha256(filters.fold(text).encode()).hexdigest()


def repeats(rows: DataFrame, known: DataFrame, key: str) -> DataFrame:
    """The pages that aren't kept: their text is *known*, or comes earlier in *rows*.

    Of pages with the same text the one with the smallest (path, offset) is kept. *known* has, by its *key*, the
    `origin` of every id of the table: the file that it was read from. Columns: *key*, `url`, `path`, `offset`, `origin`
    and `in_file`, its place among the pages of this text in its file.
    """
    pages = rows.where("kind = 'page'").select(key, "url", "path", "offset")
    suspects = _may_share(pages, pages, known, key)
    order = Window.partitionBy(key).orderBy("path", "offset")
    in_file = Window.partitionBy(key, "path").orderBy("offset")
    ranked = suspects.select(
        key,
        "url",
        "path",
        "offset",
        F.row_number().over(order).alias("place"),
        F.row_number().over(in_file).alias("in_file"),
    )
    return ranked.join(known, key, "left").where("place > 1 or origin is not null").drop("place")


def _may_share(rows: DataFrame, new: DataFrame, old: DataFrame, key: str) -> DataFrame:
    """Those of *rows* whose *key* is one of *new* that occurs more than once in *new* and *old*, and a few more.

    Keys that occur once, nearly all, don't travel: their 64-bit hashes do.
    """
    digest = F.xxhash64(key).alias("digest")
    every = new.select(digest, F.lit(1).alias("new")).unionByName(old.select(digest, F.lit(0).alias("new")))
    again = every.groupBy("digest").agg(F.count("*").alias("times"), F.max("new").alias("new"))
    again = again.where("times > 1 and new = 1").select("digest")
    return rows.join(again, F.xxhash64(rows[key]) == again["digest"], "left_semi")


def kept(rows: DataFrame, repeated: DataFrame, table: Table) -> DataFrame:
    """The pages but those *repeated*: *table* without `seq`."""
    pages = rows.where("kind = 'page'").join(repeated.select("path", "offset"), ["path", "offset"], "left_anti")
    return pages.select(*_without_seq(table.names))


def sightings(repeated: DataFrame, key: str = "doc_id") -> DataFrame:
    """What :func:`repeats` found as SIGHTINGS without `seq`; the id in the column *key* becomes its `doc_id`.

    A file that has changed is read whole again, and what it was the origin of is no sighting.
    """
    itself = (F.col("origin") == F.col("path")) & (F.col("in_file") == 1)
    seen = repeated.where(~F.coalesce(itself, F.lit(False)))
    return seen.select(F.col(key).alias("doc_id"), "url", "path", "offset")


def forgotten(rows: DataFrame, tombstones: DataFrame) -> DataFrame:
    """Those of the pages that somebody had forgotten: `path`, `offset` and the row of `rejects` that each becomes."""
    pages = rows.where("kind = 'page'").select("doc_id", "url", "path", "offset")
    ids = tombstones.select(F.col("id").alias("gone")).distinct()
    by_text = pages.join(ids, pages["doc_id"] == ids["gone"], "left_semi")
    by_address = pages.join(ids, F.sha2(pages["url"], 256) == ids["gone"], "left_semi")
    met = by_text.unionByName(by_address).distinct()
    return met.select(
        F.lit("reject").alias("kind"),
        "path",
        "offset",
        F.lit("forgotten").alias("reason"),
        F.lit("somebody had it forgotten").alias("detail"),
        F.lit(None).cast("string").alias("raw"),
    )


def versions(documents: DataFrame, known: DataFrame) -> DataFrame:
    """Those of *documents* that are a new version of a page: `doc_id`, and as `replaces` the one before at its address.

    Before is what the store has (*known*: `doc_id`, `canonical_url`, `seq`, `fetched_at`), the latest of it by run and
    time of fetching; and of *documents* those that were fetched earlier, or stand earlier in the files.
    """
    at = "canonical_url"
    new = documents.where(F.col(at).isNotNull()).select(
        "doc_id", at, F.lit(None).cast("long").alias("seq"), "fetched_at", "path", "offset"
    )
    old = known.where(F.col(at).isNotNull()).select("doc_id", at, "seq", "fetched_at", "path", "offset")
    suspects = _may_share(new.unionByName(old), new, old, at)
    order = Window.partitionBy(at).orderBy(
        F.col("seq").asc_nulls_last(), F.col("fetched_at").asc_nulls_first(), "path", "offset", "doc_id"
    )
    before = suspects.select("doc_id", "seq", F.lag("doc_id").over(order).alias("before"))
    return before.where("seq is null and before is not null").select("doc_id", F.col("before").alias("replaces"))


def with_versions(documents: DataFrame, newer: DataFrame) -> DataFrame:
    """*documents* with the `replaces` of :func:`versions`.

    *newer* is best staged: Spark then sees that it is small, and sends it to the pages instead of the pages around.
    """
    return documents.drop("replaces").join(newer, "doc_id", "left").select(*documents.columns)


def rejects(rows: DataFrame, stage: str = STAGE) -> DataFrame:
    """Return what was refused: REJECTS without `seq`; the columns of paid requests are null."""
    refused = rows.where("kind = 'reject'").select("path", "offset", "reason", "detail", "raw")
    keyed = refused.withColumn("input_key", F.concat_ws("#", "path", F.col("offset").cast("string")))
    values = {
        "reject_id": F.sha2(F.concat_ws("|", F.lit(stage), "input_key", "reason"), 256),
        "stage": F.lit(stage),
        **{name: F.col(name) for name in ("reason", "detail", "input_key", "path", "offset", "raw")},
    }
    return keyed.select(
        *(
            values.get(column.name, F.lit(None)).cast(column.type).alias(column.name)
            for column in REJECTS.columns
            if column.name != "seq"
        )
    )


def files_seen(rows: DataFrame) -> DataFrame:
    """Return the files that were read to their end, with the sums of their parts: FILES_SEEN without `seq`.

    One that has vanished between two of its parts isn't among them.
    """
    counts = ("records", "pages", "refused", "ignored")
    gone = rows.where((F.col("kind") == "reject") & (F.col("reason") == VANISHED)).select("path")
    read = rows.where("kind = 'file'").join(gone, "path", "left_anti")
    files = read.groupBy("path", "size", "stamp", "format")
    return files.agg(*(F.sum(name).alias(name) for name in counts)).select(*_without_seq(FILES_SEEN.names))


def _without_seq(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "seq"]
