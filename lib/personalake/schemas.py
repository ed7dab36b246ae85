"""Every table of the store: its columns with their meaning, its key, its layout. The one definition of each.

Kept free of Spark, so that the command line, the Spark-free inner loop and readers can import it in milliseconds;
``store.py`` turns a :class:`Table` into a ``StructType``. Types are Spark SQL's (``string``, ``array<string>``).

Rules that hold for all tables:

* ids are 64-hex content hashes; ``seq`` is the counter of the run that wrote the row, so that a stage reads
  ``seq > what it last finished`` and file statistics prune the rest;
* deletion vectors are off and checkpoints classic, so that ``deltalake``, DuckDB and pandas read every table;
* rows are written once. ``delta.appendOnly`` is never set all the same: ``forget`` and rebuilds delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUT = 1
"""Version of the store's layout; a store of another one is refused (``store.py``)."""

PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.checkpointPolicy": "classic",
    "personalake.layout": str(LAYOUT),
}
"""Properties of every table; ``hub`` and ``examples`` add a change data feed for downstream readers."""

CHANGE_FEED = {"delta.enableChangeDataFeed": "true"}


@dataclass(frozen=True)
class Column:
    """One column: its name, Spark SQL type, and what stands in it; ``required`` columns are never null."""

    name: str
    type: str
    comment: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that no two rows share."""

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    change_feed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in order: what a transform selects before it hands rows to the store."""
        return tuple(column.name for column in self.columns)

    @property
    def ddl(self) -> str:
        """The columns as Spark SQL DDL, without comments: what ``mapInArrow`` takes as a schema."""
        return ", ".join(f"{column.name} {column.type}" for column in self.columns)

    @property
    def properties(self) -> dict[str, str]:
        """The table properties that the store sets when it creates the table."""
        return {**PROPERTIES, **(CHANGE_FEED if self.change_feed else {})}


def arrow_fields(columns: Iterable[Column]) -> list[tuple[str, pa.DataType]]:
    """The Arrow name and type of each of *columns*, for kernels that make rows."""
    import pyarrow as pa  # noqa: PLC0415 (see the module's first lines)

    types = {
        "string": pa.string(), "long": pa.int64(), "int": pa.int32(), "double": pa.float64(), "boolean": pa.bool_(),
        "binary": pa.binary(), "timestamp": pa.timestamp("us", tz="UTC"), "array<string>": pa.list_(pa.string()),
        "map<string,string>": pa.map_(pa.string(), pa.string()),
    }  # fmt: skip
    return [(column.name, types[column.type]) for column in columns]


def _required(name: str, type_: str, comment: str) -> Column:
    return Column(name, type_, comment, required=True)


_SEQ = _required("seq", "long", "counter of the run, or round of a run, that wrote this row")
_USAGE = (
    Column("prompt_tokens", "long", "tokens of the prompt, as billed"),
    Column("completion_tokens", "long", "tokens of the reply, reasoning included, as billed"),
    Column("reasoning_tokens", "long", "the part of the reply's tokens that was reasoning"),
    Column("cached_tokens", "long", "the part of the prompt's tokens that the provider had cached"),
    Column("cost_microusd", "long", "price of all tries of this request, in millionths of a US dollar"),
)
_ORIGIN = (
    Column("url", "string", "address of the page that it goes back to"),
    Column("source", "string", "corpus file or collection that it goes back to"),
    Column("licence", "string", "licence of that page as stated (SPDX where known), null where unknown"),
)

DOCUMENTS = Table(
    "documents",
    "a kept page of the corpus",
    ("doc_id",),
    (
        _required("doc_id", "string", "sha256 of the page's text with white space folded: its content hash"),
        _required("text", "string", "the page's text"),
        Column("title", "string", "title of the page"),
        Column("url", "string", "address of the page"),
        Column("canonical_url", "string", "the address in one spelling, by which other versions of the page are found"),
        Column("replaces", "string", "doc_id of the page before at this address, which this is a new version of"),
        _required("path", "string", "corpus file it was read from"),
        _required(
            "offset", "long", "where it stands there: byte (of a packed WARC, of its member), or number of the row"
        ),
        Column("language", "string", "ISO 639-1 code: declared by the source, else detected; null where neither tells"),
        Column("licence", "string", "licence as stated by the source (SPDX where known), null where unknown"),
        Column("attribution", "string", "attribution that the source asks for"),
        Column("subject", "string", "subject as stated by the source"),
        _required("n_chars", "long", "characters of the text"),
        _required("scrubbed", "long", "addresses, numbers and keys that were taken out of the text"),
        Column("fetched_at", "timestamp", "when the crawler fetched it, where the record says so"),
        _SEQ,
    ),
)

SIGHTINGS = Table(
    "sightings",
    "a page, or persona of the user's own, whose text the store already has, seen again elsewhere",
    ("path", "offset"),
    (
        _required("doc_id", "string", "the document, or persona, that has this text"),
        Column("url", "string", "address where it was seen again"),
        _required("path", "string", "corpus file it was seen in"),
        _required("offset", "long", "byte offset in that file"),
        _SEQ,
    ),
)

FILES_SEEN = Table(
    "files_seen",
    "a corpus file that was read to its end",
    ("path", "size", "stamp"),
    (
        _required("path", "string", "the file"),
        _required("size", "long", "bytes"),
        _required("stamp", "string", "modification time in ns, or ETag: with path and size it says 'unchanged'"),
        _required("format", "string", "warc, wet, jsonl, ..."),
        _required("records", "long", "records found in it"),
        _required("pages", "long", "records that gave a page or persona (kept or seen before)"),
        _required("refused", "long", "records that became a row in rejects"),
        _required("ignored", "long", "records that are no pages by their kind (warcinfo, request, metadata, ...)"),
        _SEQ,
    ),
)

PROMPTS = Table(
    "prompts",
    "a version of a prompt: everything that shapes the messages but the row itself",
    ("prompt_id",),
    (
        _required("prompt_id", "string", "sha256 of template, schema and shots"),
        _required("name", "string", "infer, expand, or task/step"),
        _required("template", "string", "the messages before substitution, as JSON"),
        Column("response_schema", "string", "JSON schema of the reply, null for free text"),
        Column("shots", "string", "the shots as JSON, null for zero-shot"),
        _SEQ,
    ),
)

COMPLETIONS = Table(
    "completions",
    "what one request brought: a reply, or the error that ended it",
    ("request_key",),
    (
        _required(
            "request_key",
            "string",
            "sha256 of model label, messages, parameters, schema, sample number; of that and the time of the reply, "
            "where it was asked again since",
        ),
        _required("stage", "string", "stage that asked first"),
        Column("reply", "string", "text of the reply, a leading think block removed"),
        Column("reasoning", "string", "reasoning text, from its own field or a leading think block"),
        Column("finish_reason", "string", "stop, length, content_filter, ..."),
        *_USAGE,
        _required("model", "string", "model asked, by the user's label"),
        Column("model_answered", "string", "model that the endpoint says answered"),
        Column("system_fingerprint", "string", "backend configuration as the endpoint names it"),
        _required("endpoint", "string", "base URL that answered"),
        Column("request_id", "string", "the endpoint's id of the request, for support"),
        _required("attempts", "int", "sends that it took"),
        Column("latency_ms", "long", "milliseconds of the last send"),
        Column("error", "string", "typed reason where there is no usable reply (`replayed`: asked again), else null"),
        Column("error_detail", "string", "what the endpoint said, shortened; never the prompt"),
        _required("answered_at", "timestamp", "when the reply was journaled"),
        _SEQ,
    ),
)

PENDING = Table(
    "pending",
    "a request of an ended run that has no answer yet",
    ("request_key", "origin_id", "step"),
    (
        _required("request_key", "string", "the request"),
        _required("stage", "string", "stage that asks"),
        _required("step", "string", "step of the task that asks, empty for infer and expand"),
        _required("origin_id", "string", "document, persona or example that it is about"),
        _required("sample", "int", "sample number"),
        _required("prompt_id", "string", "prompt version"),
        _required("body", "string", "the request as JSON"),
        _required("reason", "string", "why it was deferred"),
        _SEQ,
    ),
)

BATCHES = Table(
    "batches",
    "a batch job at a provider",
    ("batch_id",),
    (
        _required("batch_id", "string", "the provider's id"),
        _required("endpoint", "string", "base URL"),
        _required("stage", "string", "stage that asks"),
        _required("status", "string", "as the provider says"),
        _required("requests", "long", "requests in it"),
        Column("input_file_id", "string", "the provider's id of the uploaded requests"),
        Column("output_file_id", "string", "the provider's id of the answers"),
        Column("error_file_id", "string", "the provider's id of the failures"),
        _required("submitted_at", "timestamp", "when it was handed in"),
        _SEQ,
    ),
)

PERSONAS = Table(
    "personas",
    "an accepted persona and where it came from",
    ("persona_id",),
    (
        _required(
            "persona_id",
            "string",
            "sha256 of document or parent, request key and place in the reply; of the text, where imported",
        ),
        _required("text", "string", "the persona: one or two sentences, third person"),
        _required("text_hash", "string", "sha256 of the text, apart from the id"),
        Column("relation", "string", "infer: write, read, like or dislike the page; expand: relation to the parent"),
        Column("evidence", "string", "words copied from the page; never exported"),
        Column("occupation", "string", "occupation, where the text supports one"),
        Column("domain", "string", "field of work or life, of the taxonomy"),
        Column("expertise", "string", "novice, practitioner or expert"),
        Column("interests", "array<string>", "interests"),
        Column("age_band", "string", "age band, only where the text supports it"),
        Column("region", "string", "ISO 3166 code, only where the text supports it"),
        Column("attributes", "map<string,string>", "further attributes by their names: the settings', or an import's"),
        Column("language", "string", "ISO 639-1 code of the text that it came from"),
        Column("doc_id", "string", "document it was inferred from, null where expanded or imported"),
        Column("parent_id", "string", "persona it was expanded from"),
        Column("root_doc_id", "string", "document at the root of its lineage"),
        _required("hop", "int", "0 for text-to-persona, n for the n-th persona-to-persona hop"),
        _required("ordinal", "int", "its place in the reply, from 0; 0 where imported"),
        Column("quality", "double", "0..1, decides who survives among duplicates before the id does"),
        Column("request_key", "string", "the request that brought it"),
        Column("prompt_id", "string", "prompt version that brought it"),
        Column("model", "string", "model that wrote it"),
        Column("path", "string", "file or table that it was imported from; null where a model wrote it"),
        *_ORIGIN,
        _SEQ,
    ),
)

HUB = Table(
    "hub",
    "a persona that was kept",
    ("persona_id",),
    PERSONAS.columns,
    change_feed=True,
)

DUPLICATES = Table(
    "duplicates",
    "a row that was not kept, and the kept one that it repeats",
    ("kind", "id"),
    (
        _required("kind", "string", "page, persona or example"),
        _required("id", "string", "the row that was not kept"),
        _required("kept_id", "string", "the kept row that it repeats"),
        _required("method", "string", "identical, minhash, exact or embedding"),
        _required("similarity", "double", "exact similarity of the two (Jaccard of token sets, or cosine)"),
        _SEQ,
    ),
)

HUB_KEYS = Table(
    "hub_keys",
    "blocks of kept personas and pages, which let a new batch be compared with them without reading their texts",
    ("kind", "block"),
    (
        _required("kind", "string", "persona or page"),
        _required("family", "string", "method, threshold and hashes that made the keys; one in a store"),
        _required("block", "long", "number of the block"),
        _required("count", "int", "rows in the block"),
        _required("keys", "binary", "Arrow stream: hash of each one's tokens, and its candidate keys"),
        _required("rows", "binary", "Arrow stream: each one's id, rank and sorted 64-bit hashes of its tokens"),
        _SEQ,
    ),
)

HUB_VECTORS = Table(
    "hub_vectors",
    "vector of a kept persona, which lets a new one be compared with it by what they mean",
    ("persona_id", "model"),
    (
        _required("persona_id", "string", "the kept persona"),
        _required("model", "string", "embedding model"),
        _required("dimensions", "int", "numbers in the vector"),
        _required("vector", "binary", "unit vector in half precision, little-endian"),
        _SEQ,
    ),
)

SKETCHES = Table(
    "sketches",
    "a mergeable sketch of what one run has landed: it counts, and compares, without the rows",
    ("seq", "kind", "subject"),
    (
        _required("stage", "string", "stage that landed the rows"),
        _required("kind", "string", "hyperloglog or minhash"),
        _required("subject", "string", "what it counts: pages, hosts, personas, n-grams of either, ...; or a source"),
        _required("family", "string", "its parameters, and how its elements are hashed: equal ones can be merged"),
        _required("sketch", "binary", "datasketch's own serialisation, little-endian"),
        _required("rows", "long", "rows that went in"),
        _SEQ,
    ),
)

EXAMPLES = Table(
    "examples",
    "a synthetic example that a persona wrote",
    ("example_id",),
    (
        _required("example_id", "string", "sha256 of task, sources and ordinal"),
        _required("task", "string", "task that asked for it"),
        _required("persona_id", "string", "persona that wrote it"),
        Column("doc_id", "string", "page that grounds it, where the task has one"),
        Column("parent_example_id", "string", "example that it evolves, translates or judges"),
        Column("root_doc_id", "string", "document at the root of the persona's lineage: its family"),
        _required("ordinal", "int", "number of this example among the persona's for the task, from 0"),
        _required("rank", "string", "hash that orders candidates: a target keeps the lowest"),
        _required("mode", "string", "zero_shot, few_shot or persona_few_shot"),
        _required("variation", "map<string,string>", "values drawn on the task's axes"),
        _required("fields", "map<string,string>", "what the first step brought, by field"),
        Column("language", "string", "ISO 639-1 code it was asked in"),
        Column("request_key", "string", "the request that brought it"),
        Column("prompt_id", "string", "prompt version"),
        Column("model", "string", "model that wrote it"),
        *_ORIGIN,
        _SEQ,
    ),
    change_feed=True,
)

SOLUTIONS = Table(
    "solutions",
    "one sampled answer to an example: a solution, or an assistant's turn",
    ("example_id", "step", "solver", "sample"),
    (
        _required("example_id", "string", "the example"),
        _required("step", "string", "later step of the task"),
        _required("solver", "string", "role that answered: the kind of solver"),
        _required("sample", "int", "sample number, from 0"),
        _required("text", "string", "the reply"),
        Column("fields", "map<string,string>", "its fields, null where the text is the one of the step's name"),
        Column("answer", "string", "final answer extracted from it, null where the task has none"),
        Column("finish_reason", "string", "stop, length, ..."),
        Column("request_key", "string", "the request that brought it"),
        Column("prompt_id", "string", "prompt version"),
        Column("model", "string", "model that wrote it"),
        _SEQ,
    ),
)

VERDICTS = Table(
    "verdicts",
    "what a vote, check, judge or rater said of a row, later than the row",
    ("subject_id", "check", "version", "sample"),
    (
        _required("subject_id", "string", "the example, solution or persona"),
        _required("check", "string", "name of the vote, check, judge, test or rater"),
        _required("version", "string", "its version"),
        _required("sample", "int", "sample number"),
        Column("score", "double", "score"),
        Column("passed", "boolean", "whether it passed"),
        Column("evidence", "string", "what it rests on"),
        _SEQ,
    ),
)

REJECTS = Table(
    "rejects",
    "anything that was refused, and why",
    ("reject_id",),
    (
        _required("reject_id", "string", "sha256 of stage, request key if any, input key and reason"),
        _required("stage", "string", "stage that refused it"),
        _required("reason", "string", "typed reason"),
        Column("detail", "string", "what exactly, for a person"),
        _required("input_key", "string", "what it was made from: file and offset, document, persona or example"),
        Column("path", "string", "corpus file, for ingest"),
        Column("offset", "long", "byte offset in that file, for ingest"),
        Column("raw", "string", "the refused text, shortened for pages"),
        Column("request_key", "string", "the request that brought it, for replay"),
        Column("request_id", "string", "the endpoint's id of the request"),
        *_USAGE,
        _SEQ,
    ),
)

TOMBSTONES = Table(
    "tombstones",
    "the hash of something forgotten, which ingest obeys",
    ("id",),
    (
        _required("id", "string", "doc_id or sha256 of the URL"),
        _required("kind", "string", "document, url or domain"),
        _required("forgotten_at", "timestamp", "when"),
        _SEQ,
    ),
)

RUNS = Table(
    "runs",
    "one stage of one run, or one round of it; stage 'run' is the run as a whole",
    ("run_id", "stage", "seq"),
    (
        _required("run_id", "string", "the run"),
        _required("stage", "string", "stage, or 'run' for the whole"),
        _required("status", "string", "done, deferred or failed"),
        _required("through_seq", "long", "the stage has finished with all input rows up to this seq"),
        Column(
            "through_rank",
            "string",
            "of those rows only with the ones of at most this hash rank, where a target ended it; null: with all",
        ),
        _required("requests", "long", "requests that the stage's input asks for"),
        _required("answered", "long", "of these: with a usable reply"),
        _required("rejected", "long", "of these: refused by the endpoint or its checks"),
        _required("deferred", "long", "of these: waiting for the next run"),
        _required("items", "long", "items parsed from the answers, or rows read where nothing is asked"),
        _required("accepted", "long", "of these: accepted"),
        _required("duplicates", "long", "of these: repeats"),
        _required("item_rejects", "long", "of these: refused, each a row in rejects"),
        _required("none_found", "long", "answers that fairly brought no item"),
        _required("sent", "long", "requests sent to the endpoint in this run, retries included"),
        _required("prompt_tokens", "long", "tokens billed in this run"),
        _required("completion_tokens", "long", "tokens billed in this run"),
        _required("cost_microusd", "long", "paid in this run, in millionths of a US dollar"),
        _required("wasted_microusd", "long", "of that: paid, but in no final table"),
        Column("waste", "map<string,long>", "wasted spend by cause, in millionths of a US dollar"),
        Column("engine", "map<string,double>", "limiter and latency figures of the paid work"),
        _required(
            "unknown_microusd",
            "long",
            "worst cost of sends of which nobody knows whether they were billed (a crash, a timeout): counts against "
            "the budget, not as cost",
        ),
        _required("started_at", "timestamp", "start"),
        _required("seconds", "double", "wall-clock seconds; those of a round that several stages share are shared out"),
        _required("settings_hash", "string", "sha256 of the settings that shape rows"),
        Column("settings", "string", "those settings as JSON, keys left out (on the row of the whole run)"),
        Column("message", "string", "what a person should know"),
        _required("version", "string", "version of personalake"),
        _SEQ,
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        DOCUMENTS, SIGHTINGS, FILES_SEEN, PROMPTS, COMPLETIONS, PENDING, BATCHES, PERSONAS, HUB, DUPLICATES, HUB_KEYS,
        HUB_VECTORS, SKETCHES, EXAMPLES, SOLUTIONS, VERDICTS, REJECTS, TOMBSTONES, RUNS,
    )
}  # fmt: skip
"""Every table by its name."""

PAID_BESIDE = ("repeated", "unusable")
"""Causes in `runs.waste` whose cost is in no row of `completions`: replies that came twice, or that nobody can use.

A reply that is asked for again (`rejects --replay`) stays in `completions` as what it cost, under another key.
"""
