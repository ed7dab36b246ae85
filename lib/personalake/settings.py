"""Typed settings, each with the words that `conf/README.md` says of it; long, for it is the list of them all.

Unknown keys are refused with the nearest known one (`settings_file.py` reads and explains).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

OFFLINE = "offline"
"""The `llm.base_url` that starts the embedded endpoint."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StoreSettings(_Group):
    """Where the tables lie."""

    path: str | None = Field(None, description="Folder or object-store prefix of the Delta tables.")
    catalog: str | None = Field(None, description="Catalog of the tables, with `schema`, instead of `path`.")
    schema_: str | None = Field(None, alias="schema", description="Schema of the tables in `catalog`.")
    work: str | None = Field(
        None,
        description="Folder of journals, frozen requests and the lease; default `<path>/_work`; needed with `catalog`.",
    )

    @model_validator(mode="after")
    def _one_address(self) -> StoreSettings:
        if bool(self.path) == bool(self.catalog and self.schema_):
            raise ValueError("give either `path`, or `catalog` and `schema`")
        if not self.path and not self.work:
            raise ValueError("`work` (a folder or volume) is required with `catalog`")
        return self

    @property
    def work_path(self) -> str:
        """The work folder, given or by default."""
        return self.work or f"{str(self.path).rstrip('/')}/_work"


Personal = Literal["email", "phone", "ip", "iban", "key"]
"""What `corpus.scrub` can take out of texts."""


class QualitySettings(_Group):
    """Which pages say too little, or always the same; null: not checked. After Gopher (arXiv 2112.11446) and C4."""

    symbols: float | None = Field(0.1, gt=0, description="Most `#` and ellipses per word, else `symbols`. Gopher's.")
    letters: float | None = Field(
        0.6,
        ge=0,
        le=1,
        description="Of what isn't white space, at least so much isn't ASCII's digits and signs, else `few_letters`.",
    )
    # Gopher's 0.2 takes 2 good pages of 589 (27 languages): a story with a refrain, and a list of duties.
    repeated_lines: float | None = Field(
        0.3, gt=0, le=1, description="Most of the text in lines that repeat another, else `repetition`. Gopher: 0.2."
    )
    repeated_words: float | None = Field(
        0.2, gt=0, le=1, description="Most of the text in its most frequent pair of words, else `repetition`. Gopher's."
    )
    # Gopher's 0.9 takes 4 good pages of the 589.
    lists: float | None = Field(None, gt=0, le=1, description="Most lines with a bullet, else `list`. Gopher: 0.9.")
    cut_lines: float | None = Field(
        0.3, gt=0, le=1, description="Most lines that end in an ellipsis, else `cut_lines`. Gopher's."
    )
    boilerplate: bool = Field(
        True, description="Refuse placeholder and error pages (`boilerplate`): lorem ipsum, `enable JavaScript`, ..."
    )


def _only(fields: str, row: str, given: dict[str, str]) -> dict[str, str]:
    wrong = [field for field in given if field not in fields.split(", ")]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no field of a {row}; fields are {fields}")
    return given


class CorpusSettings(_Group):
    """What is read, and which pages are kept."""

    paths: list[str] = Field(
        default_factory=list,
        description="Files, folders, patterns (`*`, `**`), Delta tables' folders, and manifests (`*.paths`, also .gz).",
    )
    tables: list[str] = Field(default_factory=list, description="Delta tables of a catalog: `catalog.schema.table`.")
    prefix: str | None = Field(
        None, description="What a manifest's paths lie below, such as `s3://commoncrawl`; null: its own folder."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Of tables, JSONL and CSV: a page's field, and the column that has it (`a.b`: nested). Fields: "
        "text, html, url, title, language, licence, attribution, subject, fetched_at. FineWeb's, RedPajama's, C4's "
        "and Dolma's names are known.",
    )
    licence: str | dict[str, str] | None = Field(
        None,
        description="Licence of the pages that state none themselves: one for all, or by the file, folder or table "
        "that they come from (`{/data/crawl: CC-BY-4.0}`); null: unknown.",
    )
    licences: list[str] | None = Field(
        None, description="Licences whose pages are kept, others are `licence`; a name may end in `*`. Null: all."
    )
    min_chars: int = Field(200, ge=1, description="A page with fewer characters of text is refused (`too_short`).")
    max_chars: int = Field(
        100_000, ge=200, description="A page's text is cut here, at a paragraph or sentence where there is one."
    )
    max_record_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="A record that is or unpacks to more is refused (`too_large`)."
    )
    languages: list[str] | None = Field(
        None, description="Languages whose pages are kept (ISO 639-1), others are `language`. Null: all."
    )
    quality: QualitySettings = Field(
        default_factory=lambda: QualitySettings.model_validate({}), description="Which pages say too little."
    )
    blocked_domains: list[str] = Field(
        default_factory=list,
        description="Files of domains, one a line or as in a hosts file; pages below them are `blocked_domain`.",
    )
    blocked_words: list[str] = Field(
        default_factory=list, description="Files of words or phrases, one a line; a page with one is `blocked_word`."
    )
    respect_opt_outs: bool = Field(
        True, description="Refuse pages that say `noai` or reserve text and data mining (`opted_out`)."
    )
    scrub: list[Personal] = Field(
        default_factory=lambda: list(get_args(Personal)),
        description="What is taken out of texts before they are kept or sent.",
    )

    @field_validator("columns")
    @classmethod
    def _fields(cls, given: dict[str, str]) -> dict[str, str]:
        fields = "text, html, url, title, language, licence, attribution, subject, fetched_at"
        return _only(fields, "page", given)


class PersonasSettings(_Group):
    """Personas that exist already, your own or a published set's, beside or instead of a corpus."""

    paths: list[str] = Field(
        default_factory=list,
        description="Files and folders of JSONL, CSV and Parquet, Delta tables' folders, patterns and manifests.",
    )
    tables: list[str] = Field(default_factory=list, description="Delta tables of a catalog: `catalog.schema.table`.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="A persona's field, and the column or key that has it (`a.b`: nested). Fields: text, relation, "
        "occupation, domain, expertise, interests, age_band, region, language, licence, url, source. Known are the "
        "names of Persona Hub's release, FinePersonas, Nemotron-Personas and Synthetic-Persona-Chat; in other sets the "
        "text is `persona`, else `text` (`{text: professional_persona}`: another narrative of Nemotron-Personas). A "
        "row's other short values become its `attributes`.",
    )
    licence: str | dict[str, str] | None = Field(
        None,
        description="Licence of the personas that state none themselves: one for all, or by the file, folder or table "
        "that they come from (`{/data/nemotron: CC-BY-4.0, /data/finepersonas: llama3}`); null: unknown.",
    )

    @field_validator("columns")
    @classmethod
    def _fields(cls, given: dict[str, str]) -> dict[str, str]:
        fields = "text, relation, occupation, domain, expertise, interests, age_band, region, language, licence, url"
        return _only(f"{fields}, source", "persona", given)


class ApiKeySettings(_Group):
    """Where each worker finds the endpoint's key; the key itself never travels."""

    env: str | None = Field(None, description="Environment variable that holds the key, on every worker.")
    file: str | None = Field(None, description="File that holds the key, on every worker; read again when it changes.")

    @model_validator(mode="after")
    def _at_most_one(self) -> ApiKeySettings:
        if self.env and self.file:
            raise ValueError("give `env` or `file`, not both")
        return self


class RoleSettings(_Group):
    """The model that plays a role, and its parameters; what is left out comes from `llm`."""

    model: str | None = Field(None, description="Model; default `llm.model`.")
    temperature: float | None = Field(None, ge=0, le=2, description="Sampling temperature; left out where null.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling; left out where null.")
    max_tokens: int = Field(
        1024, ge=16, description="Most tokens of a reply: what is reserved, and the worst case of a plan."
    )
    reasoning: str | None = Field(
        None, description="How hard a reasoning model shall think: a key of `reasoning` in the models file."
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="More request parameters, as the endpoint names them."
    )


def _url(text: str) -> str:
    parts = urlsplit(text)
    if text != OFFLINE and (parts.scheme not in ("http", "https") or not parts.hostname or " " in text):
        raise ValueError("is no address such as https://host/v1")
    return text


class EndpointSettings(_Group):
    """One of several endpoints; what is left out comes from `llm`."""

    base_url: str = Field(description="Base URL of an OpenAI-compatible endpoint.")
    weight: float = Field(1.0, gt=0, description="Its part of the requests, beside the others' weights.")
    api_key: ApiKeySettings | None = Field(None, description="Where its key is found; default `llm.api_key`.")
    headers: dict[str, str] = Field(default_factory=dict, description="More HTTP headers (never a key).")
    ca_file: str | None = Field(None, description="Its certificate authority; default `llm.ca_file`.")
    in_flight: int | None = Field(None, ge=1, description="Default `llm.in_flight`.")
    requests_per_minute: int | None = Field(None, ge=1, description="Default `llm.requests_per_minute`.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Default `llm.tokens_per_minute`.")

    _is_url = field_validator("base_url")(_url)


class LlmSettings(_Group):
    """The endpoint or endpoints, and how hard they may be used; limits hold for each endpoint."""

    base_url: str = Field(
        OFFLINE, description="Base URL of an OpenAI-compatible endpoint, or `offline` for the embedded one."
    )
    endpoints: list[EndpointSettings] = Field(
        default_factory=list, description="Several endpoints of the same model, instead of `base_url`."
    )
    model: str = Field("offline-rules", min_length=1, description="Model asked where a role names none.")
    label: str | None = Field(
        None, description="Your own name for this deployment, part of every request key; default: the model's name."
    )
    api_key: ApiKeySettings = Field(
        default_factory=lambda: ApiKeySettings.model_validate({}), description="Where the key is found."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="More HTTP headers (never a key).")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="More parameters for every request.")
    ca_file: str | None = Field(None, description="PEM file of the certificate authority of a private endpoint.")
    models: str | None = Field(
        None, description="File of models' abilities and prices; default `models.yaml` beside the settings."
    )
    roles: dict[str, RoleSettings] = Field(
        default_factory=dict, description="Role to model and parameters (`infer`, `writer`, ...)."
    )
    run_on: Literal["tasks", "driver"] = Field(
        "tasks", description="Where calls are made: in Spark's tasks or in the driver."
    )
    transport: Literal["online", "batch"] = Field(
        "online", description="How requests are sent: each for itself, or as files to the Batch API at half the price."
    )
    tasks: int | None = Field(
        None, ge=1, description="Spark tasks that call at once; default: all that the session runs at once, less one."
    )
    in_flight: int = Field(64, ge=1, description="Most requests in flight at once, over all tasks.")
    requests_per_minute: int | None = Field(None, ge=1, description="Most requests a minute, over all tasks.")
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Most tokens a minute (prompt and reply), over all tasks."
    )
    max_attempts: int = Field(
        6, ge=1, description="Sends of one request in one run before it is deferred; those answered 429 don't count."
    )
    timeout_s: float = Field(600.0, gt=0, description="Seconds that one send may take.")
    patience_s: float = Field(
        120.0, gt=0, description="Seconds without any reply, but failures, after which the rest is deferred."
    )
    max_reply_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="A larger reply is refused (`too_large`).")
    wave_rows: int = Field(200_000, ge=1, description="Requests of one wave, which one Spark job asks.")
    commit_rows: int = Field(
        50_000, ge=1, description="Replies that are committed at once while a wave runs; the rest at its end."
    )
    flush_s: float = Field(
        1.0, gt=0, description="A task writes its replies to the journal at least this often, in seconds."
    )
    flush_rows: int = Field(256, ge=1, description="A task writes its replies to the journal after this many.")

    batch_rows: int = Field(50_000, ge=1, le=50_000, description="Most requests of one batch (`transport: batch`).")
    batch_wait_s: float = Field(
        300.0, ge=0, description="Seconds that a run waits for its batches; a later run collects the others."
    )
    batch_poll_s: float = Field(20.0, gt=0, description="Seconds between two looks at a batch.")

    _is_url = field_validator("base_url")(_url)

    @model_validator(mode="after")
    def _one_address(self) -> LlmSettings:
        urls = [each.base_url for each in self.endpoints]
        if urls and "base_url" in self.model_fields_set:
            raise ValueError("give either `base_url` or `endpoints`")
        if OFFLINE in urls:
            raise ValueError(f"{OFFLINE!r} can't be one of several `endpoints`")
        if len(set(urls)) != len(urls):
            raise ValueError("an address stands twice in `endpoints`")
        if len(urls) > 1 and self.transport == "batch":
            raise ValueError("`transport: batch` takes one endpoint")
        return self

    @property
    def offline(self) -> bool:
        """Whether the embedded endpoint answers."""
        return not self.endpoints and self.base_url == OFFLINE

    @property
    def address(self) -> str:
        """The endpoint or endpoints, for people."""
        return ", ".join(each.base_url for each in self.all_endpoints())

    def all_endpoints(self) -> list[EndpointSettings]:
        """The endpoints, at least one."""
        return self.endpoints or [EndpointSettings.model_validate({"base_url": self.base_url})]

    def role(self, name: str) -> RoleSettings:
        """The settings of role *name*, the model filled in."""
        role = self.roles.get(name, RoleSettings.model_validate({}))
        return role.model_copy(update={"model": role.model or self.model})


class OfflineSettings(_Group):
    """The embedded endpoint (only where `llm.base_url` is `offline`)."""

    host: str = Field("127.0.0.1", description="Address it listens on; the driver's own address for a cluster.")
    port: int = Field(0, ge=0, le=65535, description="Port; 0 takes a free one.")
    latency_ms: float = Field(20.0, ge=0, description="Milliseconds that each reply takes.")
    flaws: float = Field(
        0.04, ge=0, le=1, description="Share of replies with a planted flaw, so that checks have work."
    )


Relation = Literal["write", "read", "like", "dislike"]
"""What the person behind a page does with it."""


class AttributeSettings(_Group):
    """A further attribute that is asked of each persona."""

    description: str = Field(min_length=1, description="What it says, as the model is told.")
    values: list[str] | None = Field(None, min_length=1, description="The values that it may have; null: any text.")


class InferSettings(_Group):
    """Text-to-persona: who stands behind a page."""

    personas_per_page: int = Field(
        3, ge=1, le=10, description="Most personas that a page, or a part of one, may bring."
    )
    relations: list[Relation] = Field(
        default_factory=lambda: list(get_args(Relation)),
        min_length=1,
        description="Who is asked for: those who would `write` the page, `read`, `like` or `dislike` it.",
    )
    granularity: Literal["coarse", "fine"] = Field("fine", description="How specific a persona shall be.")
    language: str | None = Field(
        None, description="ISO 639-1 code of the language that all personas are written in; null: their page's."
    )
    max_page_chars: int = Field(
        6_000, ge=200, description="Characters of a page that the model sees at once, cut at a sentence."
    )
    long_pages: Literal["cut", "parts"] = Field(
        "cut", description="Of a longer page: ask about its beginning alone, or about each part (a request each)."
    )
    attributes: dict[str, AttributeSettings] = Field(
        default_factory=dict,
        description="Further attributes of each persona, by name; kept in the column `attributes`.",
    )
    prompt: str | None = Field(
        None, min_length=1, description="File with a prompt of your own (`system`, `user`); null: the package's."
    )

    @field_validator("relations")
    @classmethod
    def _once(cls, given: list[Relation]) -> list[Relation]:
        if len(set(given)) < len(given):
            raise ValueError("a relation stands twice")
        return given

    @field_validator("language")
    @classmethod
    def _code(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch("[a-z]{2}", given):
            raise ValueError("is no ISO 639-1 code such as `en`")
        return given

    @field_validator("attributes")
    @classmethod
    def _new_names(cls, given: dict[str, AttributeSettings]) -> dict[str, AttributeSettings]:
        taken = "evidence relation persona occupation domain expertise interests age_band region".split()
        for name in given:
            if name in taken or not re.fullmatch("[a-z][a-z0-9_]{0,40}", name):
                raise ValueError(
                    f"{name!r}: give lower-case letters, digits and `_`, and no name that each persona has"
                )
        return given


MOST_HOPS = 6
"""Six degrees of separation join anybody with anybody (arXiv 2406.20094, section 2.2)."""
FAMILIAR = ("family", "work", "service", "rival", "any")
"""The relations between persons that the package describes."""


class ExpandSettings(_Group):
    """Persona-to-persona: who is in close relation to a persona, and to those, hop by hop."""

    hops: int = Field(
        0, ge=0, le=MOST_HOPS, description="How many hops from the personas of pages; 0: none, 6: as the paper."
    )
    fan_out: int = Field(3, ge=1, le=10, description="Personas that are asked of each, in one request.")
    relations: list[str] | dict[str, str] = Field(
        default_factory=lambda: list(FAMILIAR),
        min_length=1,
        description="Relations, of which each persona is asked for `fan_out`, drawn by hash: `family`, `work`, "
        "`service`, `rival`, `any`; or names of your own with the words that describe each.",
    )
    min_new: float = Field(
        0.1,
        ge=0,
        description="Where fewer personas than this stay for each request of a hop, nobody further is asked.",
    )
    prompt: str | None = Field(
        None, min_length=1, description="File with a prompt of your own (`system`, `user`); null: the package's."
    )

    @field_validator("relations")
    @classmethod
    def _known(cls, given: list[str] | dict[str, str]) -> list[str] | dict[str, str]:
        if len(set(given)) < len(given):
            raise ValueError("a relation stands twice")
        unknown = [name for name in given if isinstance(given, list) and name not in FAMILIAR]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(FAMILIAR)}: give its words, as `{unknown[0]}: ...`")
        if isinstance(given, dict) and not all(name.strip() and words.strip() for name, words in given.items()):
            raise ValueError("a relation of your own needs a name and words that describe it")
        return given


class JudgeSettings(_Group):
    """A model that scores each new persona from 1 to 5 (role `judge`); the scores are in `verdicts`."""

    min_score: int = Field(3, ge=1, le=5, description="A persona with a lower score stays out (`judged_low`).")
    prompt: str | None = Field(
        None, min_length=1, description="File with a prompt of your own (`system`, `user`); null: the package's."
    )


SHIPPED = "shipped"
"""What stands for the package's own list among the files of a setting."""


class AcceptSettings(_Group):
    """Which personas are taken, of pages and of other personas."""

    min_chars: int = Field(30, ge=1, description="A shorter persona is refused (`too_short`).")
    max_chars: int = Field(600, ge=30, description="A longer persona is refused (`too_long`).")
    public_figures: bool = Field(
        False, description="Take personas that name public figures; else these are `public_figure`."
    )
    figures: list[str] = Field(
        default_factory=lambda: [SHIPPED],
        description="Files of public figures, a name a line, in place of the package's list; `shipped` among them "
        "stands for that.",
    )
    toxic: list[str] = Field(
        default_factory=lambda: [SHIPPED],
        description="Files of words and phrases, one a line; a persona with one is `toxic`. `shipped` as above, "
        "`[]`: none.",
    )
    stereotypes: list[str] = Field(
        default_factory=lambda: [SHIPPED],
        description="The same for `stereotype`: phrases in which a group says what a person is.",
    )
    judge: JudgeSettings | None = Field(
        None, description="Have a model score each new persona that a model wrote (pays); null: nobody does."
    )


class HubSettings(_Group):
    """How large the hub shall be."""

    target: int | None = Field(
        None, ge=1, description="Personas wanted in the hub; nobody is asked once it has them. Null: all there are."
    )


class EmbeddingSettings(_Group):
    """Personas that say the same in other words, by the cosine of their vectors."""

    model: str | None = Field(
        None, min_length=1, description="Embedding model of the endpoint, which is asked for the vectors."
    )
    path: str | None = Field(
        None,
        min_length=1,
        description="Folder of a sentence-transformers model on every worker, which makes the vectors instead.",
    )
    threshold: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Cosine from which a persona is a repeat; 0.5 makes a strict hub, in which all are compared with "
        "those that are kept.",
    )
    recall: float = Field(
        0.99, gt=0, lt=1, description="Share of pairs at the threshold that must be found; decides the cells."
    )
    inputs: int = Field(32, ge=1, le=2048, description="Texts of one request; some servers take 32 at most.")
    endpoint: EndpointSettings | None = Field(
        None, description="Who is asked for vectors, where not the endpoint that writes."
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="More request parameters, such as `dimensions`."
    )

    @model_validator(mode="after")
    def _one_source(self) -> EmbeddingSettings:
        if bool(self.model) == bool(self.path):
            raise ValueError("give either `model` or `path`")
        return self

    @property
    def name(self) -> str:
        """What `hub_vectors` calls the model."""
        return self.model or str(self.path).rstrip("/").rsplit("/", 1)[-1]


class DedupSettings(_Group):
    """Which personas, and which pages, count as repeats."""

    method: Literal["minhash", "exact"] = Field(
        "minhash",
        description="How candidate pairs are found: by hashes that miss a few, or by keys that miss none; every pair "
        "is verified exactly.",
    )
    threshold: float = Field(
        0.9, gt=0, le=1, description="Jaccard similarity of token sets from which a persona is a repeat."
    )
    recall: float = Field(
        0.99, gt=0, lt=1, description="Share of pairs at the threshold that minhash must find; decides its bands."
    )
    tables: int = Field(128, ge=1, le=1024, description="Hash tables of Spark's MinHashLSH.")
    page_threshold: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of runs of tokens from which a page is a near-copy of another; null: equal "
        "pages only.",
    )
    page_shingle: int = Field(5, ge=1, le=20, description="Tokens in such a run.")
    embedding: EmbeddingSettings | None = Field(
        None, description="Compare personas by vectors as well, behind their tokens; null: by tokens alone."
    )

    @property
    def asks(self) -> bool:
        """Whether an endpoint is asked for vectors."""
        return self.embedding is not None and self.embedding.model is not None


class TaskTarget(_Group):
    """A synthesis task and how much of it is wanted."""

    task: str = Field(min_length=1, description="Name of a file in `tasks/` beside the settings, or a path to one.")
    target: int = Field(ge=0, description="Accepted examples wanted, in all.")


class SynthesizeSettings(_Group):
    """What the personas write."""

    tasks: list[TaskTarget] = Field(default_factory=list, description="Tasks with their targets.")

    @model_validator(mode="after")
    def _each_once(self) -> SynthesizeSettings:
        names = [item.task for item in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"task {twice[0]!r} is named twice")
        return self


class SandboxSettings(_Group):
    """Where programs that a model wrote are run, and how much each may take."""

    command: list[str] | None = Field(
        None,
        min_length=1,
        description="What starts Python in a sandbox of your own, up to and with the interpreter, such as `[docker, "
        "run, -i, --rm, --network=none, --pids-limit=8, --user=65534, python:3.12-slim, python]`; arguments follow. "
        "Null: bubblewrap (`bwrap` on the PATH). What lets a program out is refused.",
    )
    seconds: int = Field(
        5, ge=1, description="Most CPU time of a program; by the clock it is ended after three times as long."
    )
    memory_mb: int = Field(
        512, ge=64, description="Most address space of each of its processes, the interpreter's own part too."
    )
    processes: int = Field(
        1,
        ge=1,
        description="Most processes and threads. 1: it starts none. In bubblewrap, more needs Linux 5.14 or later and "
        "another user than root; a sandbox of your own may allow a few more.",
    )
    output_kb: int = Field(64, ge=1, description="Most that it may print, standard output and errors together.")
    files_mb: int = Field(
        16,
        ge=0,
        description="Most that it may write, all below its `/tmp`; 0: nothing (with bubblewrap before 0.7, the only "
        "choice). The kernel's own 1 KB for each file isn't counted.",
    )


class ExportSettings(_Group):
    """Files to train on."""

    path: str | None = Field(None, description="Folder of the exports; default `<store.path>/export`.")
    accept_licence: bool = Field(False, description="Export also where a licence is unknown or non-commercial.")


class ReportSettings(_Group):
    """The HTML report."""

    path: str | None = Field(None, description="The report's file; default `<store.path>/report.html`.")
    samples: int = Field(20, ge=1, le=200, description="Sample rows shown.")


class Settings(_Group):
    """All settings of a run."""

    store: StoreSettings = Field(description="Where the tables lie.")
    seed: int = Field(0, description="Seed of every hash-drawn choice.")
    budget_usd: float | None = Field(None, ge=0, description="Most that this store may ever cost, in US dollars.")
    corpus: CorpusSettings = Field(default_factory=lambda: CorpusSettings.model_validate({}), description="The corpus.")
    personas: PersonasSettings = Field(
        default_factory=lambda: PersonasSettings.model_validate({}), description="Personas of your own."
    )
    llm: LlmSettings = Field(default_factory=lambda: LlmSettings.model_validate({}), description="The endpoint.")
    offline: OfflineSettings = Field(
        default_factory=lambda: OfflineSettings.model_validate({}), description="The embedded endpoint."
    )
    infer: InferSettings = Field(
        default_factory=lambda: InferSettings.model_validate({}), description="Text-to-persona."
    )
    expand: ExpandSettings = Field(
        default_factory=lambda: ExpandSettings.model_validate({}), description="Persona-to-persona."
    )
    accept: AcceptSettings = Field(
        default_factory=lambda: AcceptSettings.model_validate({}), description="Which personas are taken."
    )
    hub: HubSettings = Field(
        default_factory=lambda: HubSettings.model_validate({}), description="How large the hub shall be."
    )
    dedup: DedupSettings = Field(default_factory=lambda: DedupSettings.model_validate({}), description="Deduplication.")
    synthesize: SynthesizeSettings = Field(
        default_factory=lambda: SynthesizeSettings.model_validate({}), description="Synthetic data."
    )
    export: ExportSettings = Field(default_factory=lambda: ExportSettings.model_validate({}), description="Exports.")
    report: ReportSettings = Field(default_factory=lambda: ReportSettings.model_validate({}), description="The report.")
    spark: dict[str, str] = Field(
        default_factory=dict,
        description="Spark settings for a session that we start; `spark.remote` names a Spark Connect server.",
    )

    def shaping_rows(self) -> dict[str, Any]:
        """The settings that decide what rows come out: what `runs.settings` keeps and `settings_hash` covers.

        Left out: where things lie, how fast they go, and headers (people put keys there).
        """
        how_fast = {
            "api_key", "headers", "ca_file", "endpoints", "transport", "run_on", "tasks", "in_flight",
            "requests_per_minute", "tokens_per_minute", "max_attempts", "timeout_s", "patience_s", "max_reply_bytes",
            "wave_rows", "commit_rows", "flush_s", "flush_rows", "batch_rows", "batch_wait_s", "batch_poll_s",
        }  # fmt: skip
        left_out: dict[str, Any] = {
            "store": True, "spark": True, "report": True, "llm": how_fast,
            "dedup": {"embedding": {"endpoint", "inputs"}},
        }  # fmt: skip
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    @property
    def hash(self) -> str:
        """sha256 of :meth:`shaping_rows`."""
        return hashlib.sha256(json.dumps(self.shaping_rows(), sort_keys=True).encode()).hexdigest()
