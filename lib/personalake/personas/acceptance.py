"""Which texts are taken for a persona: one typed reason for each that isn't.

A text is held against what the request showed (the page, or the parent), so that what should have stayed there, a name
or the prompt, is found. Kept free of Spark and of tables: plain strings in, a reason out, for millions of them. Most
texts are fine, so what a text would have to have to be refused is looked for first, all at once.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from personalake.corpus.lists import lines, read_list
from personalake.corpus.wordlist import UNSPACED, WORD, WordList, fold
from personalake.personas import caseless, marks, names, orders
from personalake.personas.tongue import LITTLE, foreign
from personalake.personas.words import text_of
from personalake.prompts.render import PLACEHOLDER
from personalake.settings import SHIPPED, AcceptSettings

_REPEATED_WORDS = 8
"""A run of so many words of the prompt is one that the model has repeated; of signs, twice as many."""
_TITLE_SHARE = 0.7
"""The part of a text from which its page's title is all that it says."""
_DENSE_SHARE = 0.4
_SIGN_OR_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_ASCII_WORDS = bytes(code if re.match(r"\w", chr(code)) else 0x20 for code in range(256))


@dataclass(frozen=True)
class Shown:
    """What a request has shown the model: the *text* of a page or parent, its title, and the mark of its fence."""

    text: str
    mark: str
    language: str | None = None
    """The language that its personas are wanted in."""
    title: str = ""
    own_language: bool = False
    """Whether the model was asked for the language of the text itself, whatever that is."""

    @property
    def of_language(self) -> str | None:
        """The text, where its language is what was asked for."""
        return self.text if self.own_language else None

    @functools.cached_property
    def folded(self) -> str:
        """The text, folded; made once, for those of its personas that need it."""
        return folded(self.text)


class Acceptance:
    """What is asked of a persona's text. It travels to the workers; the lists don't, each task reads them once.

    *prompts* are the texts of which no long run may come back. Relative paths of lists are below the folder in which it
    was made.
    """

    def __init__(self, settings: AcceptSettings, prompts: Iterable[str] = ()) -> None:
        self._settings, self._base = settings, os.getcwd()
        runs = [run for text in prompts for run in _prompt_runs(text)]
        self._runs = frozenset(runs)
        self._run_words = _words_of_each(runs)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lists"}

    @functools.cached_property
    def _lists(self) -> Lists:
        return Lists.of(self._settings, self._base)

    def reason(self, text: str, given: str, shown: Shown, *, inert: bool = False) -> str | None:
        """Why *text* isn't taken, null where it is; *given* is the text as the reply has it, white space and all.

        *inert* says that :func:`steers` has found nothing in it.
        """
        if not text or len(text) > self._settings.max_chars:
            return "too_long" if text else "empty"
        folded = fold(text)
        words, signs = _words(folded), marks.signs(given)
        caseless_ = not text.isascii() and caseless.CASELESS.search(text) is not None
        signed = signs or caseless_
        return (
            (marks.spoilt(given) if signs else None)
            or ("refusal" if marks.refuses(folded) else None)
            or ("too_short" if self._short(text) else None)
            or (marks.unfit(text, shown.language) if signed or _any(marks.words(shown.language), words) else None)
            or (None if inert else steers(text, shown))
            or ("prompt_repeated" if self._repeats(folded, words, caseless_) else None)
            or ("is_title" if _is_title(folded, shown.title) else None)
            or ("language" if foreign(text, words, shown.language, shown.of_language) else None)
            or self._listed(text, folded, words)
            or self._named(names.found(text, shown.text, words))
            or (self._named(caseless.found(text, shown.text)) if caseless_ else None)
        )

    def _short(self, text: str) -> bool:
        least = self._settings.min_chars
        return len(text) < least and not (len(text) >= least * _DENSE_SHARE and _dense(text))

    def _repeats(self, folded: str, words: list[str], caseless_: bool) -> bool:
        """Whether a long run of the prompt's words is in a text."""
        if caseless_:
            return not self._runs.isdisjoint(_runs(words, folded))
        hits = () if self._run_words.isdisjoint(words) else [n for n, w in enumerate(words) if w in self._run_words]
        starts = {start for hit in hits for start in range(max(0, hit - _REPEATED_WORDS + 1), hit + 1)}
        return any(tuple(words[start : start + _REPEATED_WORDS]) in self._runs for start in starts)

    def _listed(self, text: str, folded: str, words: list[str]) -> str | None:
        """The reason by a list of words or names, where something of one stands in a text."""
        lists = self._lists
        if not _any(lists.words, words) and (folded.isascii() or lists.signs.isdisjoint(folded)):
            return None
        if lists.toxic.find(folded, words):
            return "toxic"
        if lists.stereotypes.find(folded, words):
            return "stereotype"
        figures = () if self._settings.public_figures else lists.figures.found(folded, words)
        return "public_figure" if any(not names.borne(figure, text) for figure in figures) else None

    def _named(self, found: Iterable[str]) -> str | None:
        """The reason by the names that were found in a text."""
        for name in found:
            if not self._lists.figures.find(fold(name)):
                return "private_person"
            if not self._settings.public_figures:
                return "public_figure"
        return None

    def unfit(self, said: str, shown: Shown, *, inert: bool = False) -> str | None:
        """Why what a persona has beside its text, an attribute or its interests, isn't taken; null where it is."""
        if len(said) > self._settings.max_chars:
            return "too_long"
        return (None if inert else steers(said, shown)) or ("contact_data" if marks.contact(said) else None)


def steers(text: str, shown: Shown) -> str | None:
    """The reason where a text has marks of templates or code, the mark of its fence, or an order to a model."""
    if shown.mark in text.casefold():
        return "prompt_leak"
    return orders.steering(text)


@dataclass(frozen=True)
class Lists:
    """The lists of words and names by which personas are refused."""

    toxic: WordList
    stereotypes: WordList
    figures: WordList

    @classmethod
    def of(cls, settings: AcceptSettings, base: str = "") -> Lists:
        """The lists of *settings*, paths relative to *base*; raises :class:`InputError` for one that can't be read."""

        def read(setting: str, files: Iterable[str], own: str) -> WordList:
            each = (text_of(own) if file == SHIPPED else read_list(file, f"accept.{setting}", base) for file in files)
            return WordList.of(lines(each))

        return cls(
            read("toxic", settings.toxic, "toxic"),
            read("stereotypes", settings.stereotypes, "stereotypes"),
            read("figures", settings.figures, "public_figures"),
        )

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """A word of each entry."""
        return frozenset(word for each in (self.toxic, self.stereotypes, self.figures) for word in each.by_word)

    @functools.cached_property
    def signs(self) -> frozenset[str]:
        """The first sign of each entry of a script without spaces."""
        return frozenset(sign for each in (self.toxic, self.stereotypes, self.figures) for sign in each.by_sign)


def folded(text: str) -> str:
    """*text* without what doesn't tell texts apart: case, and how it is spaced."""
    return " ".join(text.split()).casefold()


def _words(text: str) -> list[str]:
    """The words of a folded text."""
    return text.encode().translate(_ASCII_WORDS).decode().split() if text.isascii() else WORD.findall(text)


def _any(few: frozenset[str], words: list[str]) -> bool:
    """Whether a text has one of a few words: what takes long is looked for only where it may be found."""
    return not few.isdisjoint(words)


def _runs(words: list[str], text: str) -> Iterable[tuple[str, ...]]:
    """The runs of words of a folded text that are long enough to be the prompt's."""
    if text.isascii() or not _UNSPACED.search(text):
        return zip(*(words[start:] for start in range(_REPEATED_WORDS)), strict=False)
    signs = _SIGN_OR_WORD.findall(text)
    return zip(*(signs[start:] for start in range(2 * _REPEATED_WORDS)), strict=False)


def _prompt_runs(prompt: str) -> Iterator[tuple[str, ...]]:
    for part in PLACEHOLDER.sub("\0", fold(prompt)).split("\0"):
        yield from _runs(_words(part), part)


def _words_of_each(runs: Iterable[tuple[str, ...]]) -> frozenset[str]:
    """Few words, long ones rather than such as are everywhere, of which each run has one."""
    left, found = set(runs), set[str]()
    while left:
        counts = Counter(word for run in left for word in set(run))
        best = max(counts, key=lambda word: (word not in LITTLE, counts[word] * len(word), word))
        found.add(best)
        left = {run for run in left if best not in run}
    return frozenset(found)


def _is_title(text: str, title: str) -> bool:
    """Whether a folded text is the title of its page, perhaps with a little around it."""
    if not title or len(text) * _TITLE_SHARE > len(title) + 1:
        return False
    own, known = " ".join(_words(text)), " ".join(_words(fold(title)))
    return bool(known) and f" {known} " in f" {own} " and len(known) >= _TITLE_SHARE * len(own)


def _dense(text: str) -> bool:
    """Whether a text is mostly written in ideographs, kana or hangul, which say more in a character."""
    dense = sum("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in text)
    return dense * 2 > len(text)
