"""Text-to-persona: the requests that a page asks for, and the personas that are accepted from the replies.

Source: arXiv 2406.20094, section 2.1 (who is likely to write, read, like or dislike the text).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.accept import outcomes
from personalake.llm.models import Question
from personalake.llm.requests import REQUESTS, REQUESTS_DDL, request
from personalake.personas.acceptance import Acceptance, Shown, folded
from personalake.personas.asked import describe, language_of, mark_of, texts_of
from personalake.personas.orders import overriding
from personalake.personas.reader import Draft, Reader
from personalake.personas.shape import Shape
from personalake.prompts import Prompt, shipped
from personalake.prompts.render import inert, messages
from personalake.schemas import PERSONAS
from personalake.settings import AcceptSettings, InferSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DETAIL = {
    "fine": "Be as specific as the text allows: the field within the field, the situation, the aim.",
    "coarse": "Keep it general: the occupation or role, without the particulars of this text.",
}
_KNOWN = {
    "page": ("text", "mark"),
    "limits": ("personas", "relations", "detail", "attributes", "keys"),
    "language": ("said",),
}
"""What a prompt may name."""
_NEEDED = (("page", "text"), ("page", "mark"))


def shape(settings: InferSettings, domains: tuple[str, ...]) -> Shape:
    """What a persona of a page looks like in a reply."""
    return Shape(domains, tuple(settings.relations), settings.attributes)


def prompt(settings: InferSettings, domains: tuple[str, ...]) -> Prompt:
    """The infer prompt with the schema of its reply; raises :class:`InputError` for a file that can't be used."""
    return shipped("infer", shape(settings, domains).schema, settings.prompt, _KNOWN, _NEEDED)


def infer_requests(
    documents: DataFrame, question: Question, prompt: Prompt, settings: InferSettings, shape: Shape, seed: int
) -> DataFrame:
    """One request a page, or a part of one: (doc_id, text) in, the engine's request columns out.

    Where the pages have a column `parts`, only these numbers are asked about; null: all.
    """
    columns = ["doc_id", "text", *(["parts"] if "parts" in documents.columns else [])]

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pages = batch.to_pylist()
            rows = [row for page in pages for row in page_requests(page, question, prompt, settings, shape, seed)]
            yield pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

    return documents.select(*columns).mapInArrow(body, REQUESTS_DDL)


def page_requests(
    page: Mapping[str, Any], question: Question, prompt: Prompt, settings: InferSettings, shape: Shape, seed: int
) -> Iterator[dict[str, Any]]:
    """The requests of one *page* (doc_id, text, parts): rows of the engine's requests, one a part.

    What the page says stands in the user's message alone, in a fence that it can't close, with nothing in it that a
    chat template would take for a turn's end.
    """
    doc_id, wanted = page["doc_id"], page.get("parts")
    for number, part in enumerate(parts(page["text"], settings)):
        if wanted is not None and number not in wanted:
            continue
        values = {
            "page": {"mark": mark_of(doc_id, seed, part), "text": part},
            "limits": {
                "personas": str(settings.personas_per_page),
                "relations": " or ".join(f"{relation} it" for relation in settings.relations),
                "detail": _DETAIL[settings.granularity],
                "attributes": describe(settings.attributes),
                "keys": shape.keys,
            },
            "language": {"said": language_of(settings.language) if settings.language else "the language of the page"},
        }
        yield request(question, messages(prompt, values), doc_id, prompt.prompt_id, number)


def parts(text: str, settings: InferSettings) -> list[str]:
    """What is shown of a page: its beginning, or one part after the other, each at most `max_page_chars`; inert."""
    return _cut(inert(text), settings)


def _cut(text: str, settings: InferSettings) -> list[str]:
    first, most = shown(text, settings.max_page_chars), settings.max_page_chars
    found = [first]
    rest = text[len(first) :].strip() if settings.long_pages == "parts" else ""
    while rest:
        part = shown(rest, most)
        found.append(part)
        rest = rest[len(part) :].strip()
    return found


_SENTENCE_END = re.compile(r"[.!?…。！？।۔](?=\s|$|[^\w\s])|\n")


def shown(text: str, most: int) -> str:
    """The beginning of a page: at most *most* characters, cut behind a sentence or line.

    Where no sentence ends in the second half of that, it is cut at a space, else at the limit.
    """
    if len(text) <= most:
        return text
    head = text[:most]
    ends = [match.end() for match in _SENTENCE_END.finditer(head, most // 2)]
    if ends:
        return head[: ends[-1]].rstrip()
    space = head.rfind(" ", most // 2)
    return head[:space] if space > 0 else head


def accept_personas(
    answers: DataFrame,
    settings: InferSettings,
    accept: AcceptSettings,
    domains: tuple[str, ...],
    seed: int,
    prompt: Prompt | None = None,
) -> DataFrame:
    """Judge the replies: answers (requests, completions and the document's columns) in, outcome rows out."""
    return outcomes(answers, PageReader(settings, accept, domains, seed, prompt).read, PERSONAS)


class PageReader(Reader):
    """Reads replies about pages. Personas that repeat the rules of *prompt* are refused."""

    def __init__(
        self,
        settings: InferSettings,
        accept: AcceptSettings,
        domains: tuple[str, ...],
        seed: int,
        prompt: Prompt | None = None,
    ) -> None:
        described = [asked.description for asked in settings.attributes.values()]
        acceptance = Acceptance(accept, [*texts_of(prompt), *_DETAIL.values(), *described])
        super().__init__(shape(settings, domains), settings.personas_per_page, acceptance)
        self._settings, self._seed = settings, seed

    def _shown(self, answer: Mapping[str, Any], text: str) -> Shown:
        part, settings = _cut(text, self._settings)[answer["sample"]], self._settings
        return Shown(
            part,
            mark_of(answer["origin_id"], self._seed, part),
            settings.language or answer["language"],
            answer["title"] or "",
            own_language=settings.language is None,
        )

    def _about(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        doc_id = answer["origin_id"]
        said = {name: answer[name] for name in ("request_key", "prompt_id", "model", "url", "licence")}
        return {**said, "source": answer["path"], "doc_id": doc_id, "root_doc_id": doc_id, "hop": 0}

    def _relations(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        return self._shape.relations

    def _unfit(self, draft: Draft, answer: Mapping[str, Any], shown: Shown) -> str | None:
        evidence = draft.evidence or ""
        if not _quoted(evidence, shown):
            return "evidence_not_in_page"
        return "prompt_leak" if draft.steers and overriding(evidence) else None


def _quoted(evidence: str, seen: Shown) -> bool:
    """Whether the *evidence* stands on the page that was shown, whatever its case and white space."""
    if not evidence.strip():
        return False
    # As the page has it, most of the time: then the page needn't be folded.
    return evidence in seen.text or folded(evidence) in seen.folded
