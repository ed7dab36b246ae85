"""The package's own lists of names and words, each a file beside this one, read once a process."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from personalake.corpus.wordlist import WordList, fold


@dataclass(frozen=True)
class NameWords:
    """The names and words by which persons are told from what else is written with a capital; words are folded."""

    given: frozenset[str]
    given_too: frozenset[str]
    """Given names that are words, works or places, too."""
    given_words: frozenset[str]
    """Those of them that aren't places."""
    family: frozenset[str]
    family_first: frozenset[str]
    """Family names of countries where these go before the given name."""
    things: WordList
    """Works, brands and the like that are called as persons are."""
    behind: frozenset[str]
    """Words behind a name that make it a street's, an institute's, a work's."""
    before: frozenset[str]
    """Words before a name that make it a place's, a house's, a ruler's."""
    titles: frozenset[str]
    small_titles: frozenset[str]
    """Those that languages write small."""
    noun_titles: frozenset[str]
    """Those that are nouns as well, so that what stands before them decides."""
    particles: frozenset[str]
    cues: frozenset[str]
    """A word of each phrase such as `by the name of`."""
    kin: frozenset[str]
    """Nouns before which a name is a person's; those of German have a capital."""
    named: frozenset[str]
    """What is named as well, and no person."""
    joints: frozenset[str]
    """Words that join another noun to the first one of a sentence."""
    lettered: frozenset[str]
    """What has a letter to itself, as vitamins do."""
    common: frozenset[str]
    """Words that begin sentences and headings: no names, however they are written; and those of `behind`."""

    @functools.cached_property
    def names_and_kin(self) -> frozenset[str]:
        """All that is written with a capital and may be a name or go before one."""
        return self.given | self.given_too | self.family | self.kin

    @functools.cached_property
    def near(self) -> frozenset[str]:
        """All folded words that make the next one a person's name."""
        return self.cues | self.titles | self.kin


@functools.cache
def name_words() -> NameWords:
    """The lists of names, and of words and things that aren't names."""
    too, thing, family, words = map(sections, ("given_names_too", "thing_words", "family_names", "name_words"))
    return NameWords(
        given=_every(sections("given_names")),
        given_too=_every(too),
        given_words=frozenset(too["words"]),
        family=_every(family),
        family_first=frozenset(family["before given names"]),
        things=WordList.of(lines("things")),
        behind=_folded(thing["behind"]),
        before=_folded(thing["before"]),
        titles=_folded(words["titles"] + words["titles that are nouns"]),
        small_titles=_folded(words["titles that are written small"]),
        noun_titles=_folded(words["titles that are nouns"]),
        particles=frozenset(words["particles"]),
        cues=_folded(words["cues"]),
        kin=frozenset(words["kin"] + words["kin with a capital"]),
        named=_folded(words["named as well"]),
        joints=_folded(words["joints"]),
        lettered=_folded(words["lettered"]),
        common=_folded(words["common"] + thing["behind"]),
    )


def text_of(name: str) -> str:
    """What the list *name* says."""
    return (resources.files(__name__) / f"{name}.txt").read_text(encoding="utf-8")


def lines(name: str) -> list[str]:
    """The entries of a list that has one a line."""
    return [line for line in text_of(name).splitlines() if line and not line.startswith("#")]


def sections(name: str) -> dict[str, list[str]]:
    """The words of a list by the comment above them."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text_of(name).splitlines():
        if line.startswith("#"):
            section = line.removeprefix("#").strip()
        else:
            found.setdefault(section, []).extend(line.split())
    return found


def _every(found: dict[str, list[str]]) -> frozenset[str]:
    return frozenset(word for words in found.values() for word in words)


def _folded(words: Iterable[str]) -> frozenset[str]:
    return frozenset(map(fold, words))
