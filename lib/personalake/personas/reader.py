"""Replies read into personas and refusals, whichever kind of request they answer, a batch at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personalake.accept import Reading, Refusal, content_id
from personalake.personas.acceptance import Acceptance, Shown
from personalake.personas.asked import found_personas, raw_of, said_beside, spaced_once
from personalake.personas.orders import suspects
from personalake.personas.shape import Shape
from personalake.prompts.render import inert, inert_all, unhidden_all


@dataclass(slots=True)
class Draft:
    """A persona whose form is right, before it is known whether what it says is."""

    item: Mapping[str, Any]
    text: str
    beside: Mapping[str, str]
    evidence: str | None
    steers: bool = True
    """Whether anything of it may steer whoever reads it; most of the time it is known that nothing does."""

    @property
    def said(self) -> str:
        """All that it says."""
        return ". ".join((self.text, self.evidence or "", *self.beside.values()))


class Reader(ABC):
    """Reads replies of one kind: at most *most* personas of a *shape* in each. It travels to the workers."""

    def __init__(self, shape: Shape, most: int, acceptance: Acceptance) -> None:
        self._shape, self._most, self._acceptance = shape, most, acceptance

    @abstractmethod
    def _shown(self, answer: Mapping[str, Any], text: str) -> Shown:
        """What the request showed, of the origin's inert *text*."""

    @abstractmethod
    def _about(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a persona that the answer has beside the reply."""

    @abstractmethod
    def _relations(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        """The relations that were asked for."""

    @abstractmethod
    def _unfit(self, draft: Draft, answer: Mapping[str, Any], shown: Shown) -> str | None:
        """Why a persona whose text is fine isn't taken, by what only this kind asks."""

    def read(self, answers: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """Read the replies of *answers*, one after the other.

        What takes longest is asked of all at once first: next to none has anything that steers, or that nobody sees.
        """
        replies = map(found_personas, unhidden_all([answer["reply"] for answer in answers]))
        drafts = [self._drafts(answer, found) for answer, found in zip(answers, replies, strict=True)]
        all_of_them = [each for found in drafts if isinstance(found, list) for each in found if isinstance(each, Draft)]
        for draft, steers in zip(all_of_them, suspects([draft.said for draft in all_of_them]), strict=True):
            draft.steers = steers
        texts = inert_all([answer["text"] for answer in answers])
        return [
            Reading(found) if isinstance(found, Refusal) else self._settled(found, answer, text)
            for found, answer, text in zip(drafts, answers, texts, strict=True)
        ]

    def _drafts(self, answer: Mapping[str, Any], found: list[Any] | Refusal) -> list[Draft | Refusal] | Refusal:
        if isinstance(found, Refusal):
            return found
        relations = self._relations(answer)
        return [self._draft(number, item, relations) for number, item in enumerate(found)]

    def _draft(self, number: int, item: Any, relations: tuple[str, ...]) -> Draft | Refusal:  # noqa: ANN401 (JSON)
        if number >= self._most:
            return Refusal("surplus", f"more than {self._most} personas", raw_of(item))
        if isinstance(item, Refusal):
            return item
        if wrong := self._shape.wrong(item, relations):
            return Refusal("schema", wrong, raw_of(item))
        # As the page was shown, whatever the model makes of that.
        evidence = inert(item["evidence"]) if self._shape.quotes else None
        return Draft(item, spaced_once(item["persona"]), said_beside(item, self._shape.free), evidence)

    def _settled(self, drafts: list[Draft | Refusal], answer: Mapping[str, Any], text: str) -> Reading:
        if not drafts:
            return Reading()
        shown, about = self._shown(answer, text), self._about(answer)
        return Reading(items=[(n, self._one(n, draft, answer, shown, about)) for n, draft in enumerate(drafts)])

    def _one(
        self,
        number: int,
        draft: Draft | Refusal,
        answer: Mapping[str, Any],
        shown: Shown,
        about: Mapping[str, Any],
    ) -> dict[str, Any] | Refusal:
        if isinstance(draft, Refusal):
            return draft
        calm = not draft.steers
        reason = self._acceptance.reason(draft.text, draft.item["persona"], shown, inert=calm)
        if reason := reason or self._unfit(draft, answer, shown):
            return Refusal(reason, None, raw_of(draft.item))
        for name, words in draft.beside.items():
            if reason := self._acceptance.unfit(words, shown, inert=calm):
                return Refusal(reason, f"`{name}`", raw_of(draft.item))
        row = self._shape.row(draft.text, draft.item, draft.evidence)
        persona_id = content_id(answer["origin_id"], answer["request_key"], number)
        return {**about, "language": shown.language, **row, "persona_id": persona_id, "ordinal": number}
