"""Text-to-persona: the requests that a page asks for, and the personas that are accepted from the replies.

Source: arXiv 2406.20094, section 2.1 (who is likely to write, read, like or dislike the text).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.accept import Reading, Refusal, content_id, outcomes
from personalake.llm.models import Question
from personalake.llm.requests import REQUESTS, REQUESTS_DDL, request
from personalake.llm.structured import read_json
from personalake.prompts import Prompt, shipped
from personalake.prompts.render import render
from personalake.schemas import PERSONAS
from personalake.settings import InferSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RELATIONS = ("write", "read", "like", "dislike")
EXPERTISE = ("novice", "practitioner", "expert")
AGE_BANDS = ("child", "teenager", "young_adult", "adult", "senior")
OTHER = "other"

_DETAIL = {
    "fine": "Be as specific as the text allows: the field within the field, the situation, the aim.",
    "coarse": "Keep it general: the occupation or role, without the particulars of this text.",
}


def prompt(domains: tuple[str, ...]) -> Prompt:
    """The infer prompt with the schema of its reply, closed over the taxonomy's *domains*."""
    text, maybe = {"type": "string"}, {"type": ["string", "null"]}
    properties: dict[str, Any] = {
        "evidence": text,
        "relation": {"type": "string", "enum": list(RELATIONS)},
        "persona": text,
        "occupation": maybe,
        "domain": {"type": "string", "enum": [*domains, OTHER]},
        "expertise": {"type": ["string", "null"], "enum": [*EXPERTISE, None]},
        "interests": {"type": "array", "items": text},
        "age_band": {"type": ["string", "null"], "enum": [*AGE_BANDS, None]},
        "region": maybe,
    }
    one = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    whole = {"personas": {"type": "array", "items": one}}
    schema = {"type": "object", "properties": whole, "required": ["personas"], "additionalProperties": False}
    return shipped("infer", schema)


def infer_requests(
    documents: DataFrame, question: Question, prompt: Prompt, settings: InferSettings, seed: int
) -> DataFrame:
    """One request a page: (doc_id, text) in, the engine's request columns out."""

    def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pages = zip(*(batch.column(name).to_pylist() for name in ("doc_id", "text")), strict=True)
            rows = [_request(doc_id, text, question, prompt, settings, seed) for doc_id, text in pages]
            yield pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

    return documents.select("doc_id", "text").mapInArrow(body, REQUESTS_DDL)


def _request(
    doc_id: str, text: str, question: Question, prompt: Prompt, settings: InferSettings, seed: int
) -> dict[str, Any]:
    values = {
        # A mark that the page can't know: it is drawn from the page's own hash and the run's seed.
        "page": {"mark": mark_of(doc_id, seed), "text": shown(text, settings.max_page_chars)},
        "limits": {"personas": str(settings.personas_per_page), "detail": _DETAIL[settings.granularity]},
    }
    messages = [
        {"role": "system", "content": render(prompt.system, values).strip()},
        {"role": "user", "content": render(prompt.user, values).strip()},
    ]
    return request(question, messages, doc_id, prompt.prompt_id)


def mark_of(doc_id: str, seed: int) -> str:
    """The mark of the fence around a page: 24 hex digits."""
    return hashlib.sha256(f"fence\x1f{seed}\x1f{doc_id}".encode()).hexdigest()[:24]


_SENTENCE_END = re.compile(r"[.!?…。！？।۔](?=\s|$|[^\w\s])|\n")


def shown(text: str, most: int) -> str:
    """The part of a page that the model sees: at most *most* characters, cut behind a sentence or line.

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


def accept_personas(answers: DataFrame, settings: InferSettings, domains: tuple[str, ...], seed: int) -> DataFrame:
    """Judge the replies: answers (requests, completions and the document's columns) in, outcome rows out."""
    rules = _Rules(settings, frozenset(domains) | {OTHER}, seed)
    return outcomes(answers, rules.read, PERSONAS)


_DAMAGE = re.compile(r"[\x08\x0c]|\t(?=[a-z])")
_PLACEHOLDER = re.compile(
    r"\[[A-Z][A-Za-z _-]{1,30}\]|</?[a-z_ ]{2,20}>|\{\{?[^{}]{1,40}\}?\}|\bX{3,}\b|lorem ipsum", re.IGNORECASE
)
_CONTACT = re.compile(
    r"[\w.+-]+@[\w-]+\.\w{2,}|https?://|www\.|(?:\+|\b00)\d[\d ()/.-]{6,}\d|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b"
)
_LEAK = re.compile(
    r"=== ?[0-9a-f]{24}|\bas an ai\b|language model|system prompt|ignore (?:all|your|previous)", re.IGNORECASE
)
_FIRST_PERSON = {
    "en": re.compile(r"\bI\b|\bI['’]m\b|\b(?:[Mm]y|[Mm]yself|[Ww]e|[Oo]ur)\b"),
    "de": re.compile(r"\b(?:ich|mich|mir|wir|mein(?:e[mnrs]?)?|unser(?:e[mnrs]?)?)\b", re.IGNORECASE),
    "es": re.compile(r"\b(?:yo|mis?|nosotros|nuestr[oa]s?)\b", re.IGNORECASE),
    "fr": re.compile(r"\b(?:je|j['’]|mon|mes|nous|notre|nos)\b", re.IGNORECASE),
}
# A model that slips into English on a page of another language; a bare "I" may be a Roman numeral there.
_I_AM = re.compile(r"\bI(?:['’]m| am| have| was) ")
_SHORT_RAW = 2_000


class _Rules:
    """What is asked of a persona, one typed reason a rule. It travels to the workers."""

    def __init__(self, settings: InferSettings, domains: frozenset[str], seed: int) -> None:
        self._settings, self._domains, self._seed = settings, domains, seed

    def read(self, answer: Mapping[str, Any]) -> Reading:
        """Read one reply into personas and refusals."""
        reply: str = answer["reply"]
        try:
            parsed = read_json(reply)
        except ValueError as error:
            return Reading(Refusal("invalid_json", str(error), reply[:_SHORT_RAW]))
        found = parsed.get("personas") if isinstance(parsed, dict) else None
        if not isinstance(found, list):
            return Reading(Refusal("schema", "no list `personas`", reply[:_SHORT_RAW]))
        page = _folded(shown(answer["text"], self._settings.max_page_chars))
        return Reading(items=[(i, self._one(i, item, answer, page)) for i, item in enumerate(found)])

    def _one(self, ordinal: int, item: Any, answer: Mapping[str, Any], page: str) -> dict[str, Any] | Refusal:  # noqa: ANN401 (JSON)
        raw = json.dumps(item, ensure_ascii=False)[:_SHORT_RAW]
        if ordinal >= self._settings.personas_per_page:
            return Refusal("surplus", f"more than {self._settings.personas_per_page} personas", raw)
        wrong = self._wrong_shape(item)
        if wrong:
            return Refusal("schema", wrong, raw)
        text = " ".join(item["persona"].split())
        reason = self._refusal(text, item, answer, page)
        if reason:
            return Refusal(*reason, raw)
        return self._row(ordinal, text, item, answer)

    def _wrong_shape(self, item: Any) -> str | None:  # noqa: ANN401 (JSON)
        if not isinstance(item, dict):
            return "a persona isn't an object"
        for name in ("evidence", "relation", "persona", "domain"):
            if not isinstance(item.get(name), str):
                return f"`{name}` isn't a string"
        for name in ("occupation", "expertise", "age_band", "region"):
            if not isinstance(item.get(name), str | None):
                return f"`{name}` isn't a string or null"
        interests = item.get("interests")
        if not isinstance(interests, list) or not all(isinstance(i, str) for i in interests):
            return "`interests` isn't a list of strings"
        closed = {
            "relation": RELATIONS,
            "domain": self._domains,
            "expertise": (*EXPERTISE, None),
            "age_band": (*AGE_BANDS, None),
        }
        return next(
            (f"`{n}` is not one of the values allowed" for n, allowed in closed.items() if item.get(n) not in allowed),
            None,
        )

    def _refusal(
        self, text: str, item: Mapping[str, Any], answer: Mapping[str, Any], page: str
    ) -> tuple[str, str | None] | None:
        evidence = _folded(item["evidence"])
        language = answer["language"] or "en"
        first_person = _FIRST_PERSON.get(language, _FIRST_PERSON["en"])
        title = _folded(answer["title"] or "")
        checks = (
            ("empty", not text),
            ("escape_damage", bool(_DAMAGE.search(item["persona"]))),
            ("too_short", len(text) < self._settings.min_chars * (0.4 if _dense(text) else 1)),
            ("too_long", len(text) > self._settings.max_chars),
            ("first_person", bool(first_person.search(text) or _I_AM.search(text))),
            ("placeholder", bool(_PLACEHOLDER.search(text))),
            ("contact_data", bool(_CONTACT.search(text))),
            ("prompt_leak", bool(_LEAK.search(text)) or mark_of(answer["origin_id"], self._seed) in text),
            ("is_title", bool(title) and _folded(text).rstrip(".") == title),
            ("evidence_not_in_page", not evidence or evidence not in page),
        )
        return next(((reason, None) for reason, refused in checks if refused), None)

    def _row(self, ordinal: int, text: str, item: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
        doc_id = answer["origin_id"]
        attributes = {n: (item.get(n) or "").strip() or None for n in ("occupation", "expertise", "age_band", "region")}
        interests = [i.strip() for i in item["interests"] if i.strip()]
        return {
            "persona_id": content_id(doc_id, answer["request_key"], ordinal),
            "text": text,
            "text_hash": text_hash(text),
            "relation": item["relation"],
            "evidence": item["evidence"],
            **attributes,
            "domain": item["domain"],
            "interests": interests,
            "language": answer["language"],
            "doc_id": doc_id,
            "root_doc_id": doc_id,
            "hop": 0,
            "ordinal": ordinal,
            "quality": quality({**attributes, "interests": interests, "domain": item["domain"]}),
            "request_key": answer["request_key"],
            "prompt_id": answer["prompt_id"],
            "model": answer["model"],
            "url": answer["url"],
            "source": answer["path"],
            "licence": answer["licence"],
        }


def text_hash(text: str) -> str:
    """The sha256 of a persona's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def quality(persona: Mapping[str, Any]) -> float:
    """The share of its attributes that a persona has, 0..1: among repeats the one that says most survives."""
    names = ("occupation", "expertise", "age_band", "region", "interests", "domain")
    known = [name for name in names if persona[name] and persona[name] != OTHER]
    return len(known) / len(names)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _dense(text: str) -> bool:
    """Whether a text is mostly written in ideographs, kana or hangul, which say more in a character."""
    dense = sum("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in text)
    return dense * 2 > len(text)
