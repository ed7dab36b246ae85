"""Persona-to-persona: the requests that a persona asks for, and the personas that are accepted from the replies.

Source: arXiv 2406.20094, section 2.2 (who is in close relation to the persona; up to six hops, as six degrees of
separation join anybody with anybody).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from personalake.accept import outcomes
from personalake.llm.models import Question
from personalake.llm.requests import REQUESTS, REQUESTS_DDL, request
from personalake.personas.acceptance import Acceptance, Shown, folded
from personalake.personas.asked import describe, language_of, mark_of, texts_of
from personalake.personas.reader import Draft, Reader
from personalake.personas.shape import Shape
from personalake.prompts import Prompt, shipped
from personalake.prompts.render import inert, messages
from personalake.schemas import PERSONAS
from personalake.settings import FAMILIAR, AcceptSettings, ExpandSettings, InferSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_WORDS = dict(
    zip(
        FAMILIAR,
        (
            "a member of the person's family, of another generation or household",
            "somebody who works with the person, above, below or beside them, in another role",
            "somebody whom the person serves, or who serves the person, by their work",
            "a rival, critic or opponent of the person",
            "anybody else in close relation to the person",
        ),
        strict=True,
    )
)
_KNOWN = {
    "persona": ("text", "mark"),
    "limits": ("personas", "relations", "attributes", "keys"),
    "language": ("said",),
}
"""What a prompt may name."""
HOPS = "expand."
"""What the names of the hops' stages begin with."""
_NEEDED = (("persona", "text"), ("persona", "mark"), ("limits", "relations"))
PARENT = ("persona_id", "text", "language", "occupation", "age_band", "root_doc_id", "hop", "url", "source", "licence")
"""The columns of a persona that its descendants are asked and judged by."""


def stage_of(hop: int) -> str:
    """The name of a hop in `runs`, `rejects` and `completions`."""
    return f"{HOPS}{hop}"


def hop_of(stage: str) -> int:
    """The hop that bears this name; 0 for the personas of pages."""
    return int(stage.removeprefix(HOPS)) if stage.startswith(HOPS) else 0


def shape(settings: ExpandSettings, infer: InferSettings, domains: tuple[str, ...]) -> Shape:
    """What a persona of a persona looks like in a reply."""
    return Shape(domains, tuple(settings.relations), infer.attributes, quotes=False)


def prompt(settings: ExpandSettings, infer: InferSettings, domains: tuple[str, ...]) -> Prompt:
    """The expand prompt with the schema of its reply; raises :class:`InputError` for a file that can't be used."""
    return shipped("expand", shape(settings, infer, domains).schema, settings.prompt, _KNOWN, _NEEDED)


def drawn(parent_id: str, settings: ExpandSettings, seed: int) -> list[str]:
    """The relations that a persona is asked for: `fan_out` of them in the order of a hash, again from the first."""

    def ticket(relation: str) -> bytes:
        return hashlib.sha256(f"relation\x1f{seed}\x1f{parent_id}\x1f{relation}".encode()).digest()

    order = sorted(settings.relations, key=ticket)
    return [order[number % len(order)] for number in range(settings.fan_out)]


class Asker(Reader):
    """Makes the requests of a hop and reads their replies. It travels to the workers.

    Personas that repeat the rules of *prompt* are refused.
    """

    def __init__(
        self,
        settings: ExpandSettings,
        infer: InferSettings,
        accept: AcceptSettings,
        domains: tuple[str, ...],
        seed: int,
        prompt: Prompt | None = None,
    ) -> None:
        words = settings.relations if isinstance(settings.relations, dict) else _WORDS
        described = [asked.description for asked in infer.attributes.values()]
        acceptance = Acceptance(accept, [*texts_of(prompt), *words.values(), *described])
        super().__init__(shape(settings, infer, domains), settings.fan_out, acceptance)
        self._settings, self._infer, self._seed, self._words = settings, infer, seed, words

    def requests(self, parents: DataFrame, question: Question, prompt: Prompt) -> DataFrame:
        """One request a persona: the columns of :data:`PARENT` in, the engine's request columns out."""

        def body(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                rows = [self.request(parent, question, prompt) for parent in batch.to_pylist()]
                yield pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

        return parents.select(*PARENT).mapInArrow(body, REQUESTS_DDL)

    def request(self, parent: Mapping[str, Any], question: Question, prompt: Prompt) -> dict[str, Any]:
        """The request that *parent* asks for: a row of the engine's requests."""
        parent_id, text = parent["persona_id"], inert(parent["text"])
        relations = drawn(parent_id, self._settings, self._seed)
        listed = [f"{n}. {relation}: {self._words[relation]}" for n, relation in enumerate(relations, 1)]
        values = {
            "persona": {"mark": mark_of(parent_id, self._seed, text), "text": text},
            "limits": {
                "personas": str(self._settings.fan_out),
                "relations": "\n".join(listed),
                "attributes": describe(self._infer.attributes),
                "keys": self._shape.keys,
            },
            "language": {"said": language_of(self._language(parent))},
        }
        return request(question, messages(prompt, values), parent_id, prompt.prompt_id)

    def _language(self, parent: Mapping[str, Any]) -> str | None:
        return self._infer.language or parent["language"]

    def accept(self, answers: DataFrame) -> DataFrame:
        """Judge the replies: answers (requests, completions and the parent's columns) in, outcome rows out."""
        return outcomes(answers, self.read, PERSONAS)

    def _shown(self, answer: Mapping[str, Any], text: str) -> Shown:
        return Shown(text, mark_of(answer["origin_id"], self._seed, text), self._language(answer))

    def _about(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        names = ("root_doc_id", "request_key", "prompt_id", "model", "url", "source", "licence")
        said = {name: answer[name] for name in names}
        return {**said, "parent_id": answer["origin_id"], "hop": answer["hop"] + 1}

    def _relations(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(drawn(answer["origin_id"], self._settings, self._seed))

    def _unfit(self, draft: Draft, answer: Mapping[str, Any], shown: Shown) -> str | None:
        return "same_as_parent" if _same(draft.item, answer) else None


def _same(item: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    """Whether a persona has its parent's occupation, and no other age: the prompt asks for one that differs."""
    mine, own = folded(item.get("occupation") or ""), folded(parent["occupation"] or "")
    ages = {item.get("age_band"), parent["age_band"]} - {None}
    return bool(mine) and mine == own and len(ages) < 2  # noqa: PLR2004 (two ages differ)
