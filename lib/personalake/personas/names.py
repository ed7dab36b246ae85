"""Names of persons in a text, by lists of names, by the words around them, and by how they stand on the page behind it.

Capitals tell what may be a name, so this is for scripts that have them; `caseless.py` has the others. Not found without
the page: a name of which no part is on the lists and that no cue goes before. Not found at all: a form of a name that
the page has in another one (Polish, Russian and Finnish decline them).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from personalake.corpus.wordlist import fold
from personalake.personas.page_names import CAPITALS, INITIALS, STATES, WORD, is_noun, on_page
from personalake.personas.words import NameWords, name_words

_SHORT = "Dr|Prof|Mr|Mrs|Ms|Mx|St|Sr|Sra|Srta|Hr|Fr|Mme|Mlle|Sig|Jr|Dott|Dhr|Mevr"
_ONE = rf"(?:(?:{_SHORT}|[{CAPITALS}])\.|{WORD})"
_PARTICLES = "|".join(sorted(name_words().particles))
_SEQUENCE = re.compile(rf"(?<!\w){_ONE}(?: (?:(?:{_PARTICLES}) ){{0,3}}{_ONE})*")
_CAPITALISED = re.compile(WORD)
_ROMAN = re.compile(r"[IVXL]{2,}\.?")
_CUE = re.compile(
    r"(?<!\w)(?:named|called|nicknamed|(?:whose|her|his) name is|by the name of|namens|mit namen|genannt|heißt|heisst|"
    r"llamad[oa]|se llama|de nombre|nommée?|appelée?|prénommée?|dénommée?|s['’]appelle|di nome|chiamat[oa]|si chiama|"
    r"chamad[oa]|se chama|de nome|genaamd|geheten|heet|imieniem|o imieniu|по имени|зовут|на ім['’]я|звати|звуть|"
    r"vid namn|ved navn|heter|hedder|nimeltä(?:än)?|jménem|pe nume|numită?|bernama|tên là)[ ,:]{1,2}[\"'“„«‘]?$",
    re.IGNORECASE,
)
_CUE_BEHIND = re.compile(r"[\"'”»’]? (?:adında|adlı|nevű|isimli)(?!\w)")
_SUFFIX = re.compile(
    r"(?:ovi[ćc]|evi[ćc]|ńsk[ia]|wicz|enko|escu|opoulos|opoulou|[lrmn]idis|akis|[^e]sson|sdóttir|shvili|adze|oğlu|zadeh|"
    r"ович|евич|овна|евна|ична|енко|швили)$"
)
_PATRONYMIC = re.compile(r"(?:[оеё]вич|ьич|[оеё]вн|ичн)(?:а|у|ем|е|ы|ой)?$")
# What a name has that is one by its ending alone, to the last four letters.
_ENDS = frozenset(
    "ović ovic ević evic ński ńska wicz enko escu ulos ulou idis akis sson ttir vili adze oğlu adeh ович евич ёвич ьич "
    "овна евна ична енко вича вичу ичем виче овны овне овну вной евны евне евну ичны ичне ичну чной ьича ьичу".split()
)
_EPONYM = re.compile(
    r"['’]?s? (?:algebra|algorithm|code|cells?|conjecture|constant|curve|cycle|diagram|disease|distribution|effect|"
    r"engine|equations?|experiment|fellow(?:ship)?|filter|function|hypothesis|index|inequality|integral|law|lemma|lens|"
    r"lymphoma|machine|matrix|method|model|number|paradox|principle|process|ratio|reaction|rule|scale|series|space|"
    r"statistics?|syndrome|system|technique|telescope|test|theorem|theory|transform|tuning)(?!\w)"
)
_LEAST, _HEAD = 3, 40


def found(text: str, page: str, words: Collection[str]) -> Iterator[str]:
    """The names of persons in *text*, of which *words* are the folded words.

    Those that are names by the words around them, and those by how a word of theirs stands on the *page* (or parent).
    """
    lists = name_words()
    capitalised = _CAPITALISED.findall(text)
    if _may_name(text, capitalised, words, lists):
        for sequence in _sequences(text):
            if (name := sequence.own()) and not lists.things.find(fold(name)):
                yield name
    for word in capitalised:
        name = on_page(word, page, lists) if len(word) >= _LEAST else None
        if name and not lists.things.find(fold(name)) and any(each.may_have(word) for each in _sequences(text)):
            yield name


def _may_name(text: str, capitalised: list[str], words: Collection[str], lists: NameWords) -> bool:
    """Whether a text may have a name by itself: it has one of the lists, a cue, such an ending, or two initials."""
    initials = [word for word in capitalised if len(word) == 1 and f"{word}." in text]
    return not (
        lists.names.isdisjoint(capitalised)
        and lists.near.isdisjoint(words)
        and lists.kin.isdisjoint(capitalised)
        and _ENDS.isdisjoint([word[-4:] for word in capitalised])
        and len(initials) < 2  # noqa: PLR2004 (of one there is no telling)
    )


def borne(name: str, text: str) -> bool:
    """Whether something else than a person bears *name*, which is folded, in *text*: a street, an institute, a ship."""
    return any(sequence.bears(name.split()) for sequence in _sequences(text))


def _sequences(text: str) -> Iterator[_Sequence]:
    lists = name_words()
    for match in _SEQUENCE.finditer(text):
        yield _Sequence(text, match, lists)


class _Sequence:
    """Capitalised words side by side, and what stands around them."""

    def __init__(self, text: str, match: re.Match[str], lists: NameWords) -> None:
        self._text, self._start, self._end, self._lists = text, match.start(), match.end(), lists
        self._words = match[0].split(" ")

    def may_have(self, name: str) -> bool:
        """Whether it has *name*, and not as a street's, an institute's, an effect's or a law's."""
        for at, word in enumerate(self._words):
            if word == name and not self._common(word) and not self._behind(at + 1):
                return at < len(self._words) - 1 or not _EPONYM.match(self._text, self._end)
        return False

    def bears(self, name: list[str]) -> bool:
        """Whether it has *name*, folded words, as a street's, an institute's, a ship's."""
        words = [fold(word) for word in self._words]
        at = next((at for at in range(len(words)) if words[at : at + len(name)] == name), None)
        return at is not None and (self._behind(at + len(name)) or self._before(at))

    def own(self) -> str | None:
        """The name of a person that it is by itself; null where it is none."""
        for at in range(len(self._words)):
            if not self._behind(at + 1) and not self._before(at):
                begins = self._begins(at)
                if begins is not None:
                    return " ".join(self._words[begins:])
        return None

    def _begins(self, at: int) -> int | None:
        """Where a person's name begins that has the word there; null where it is no part of one."""
        word, last = self._words[at], at == len(self._words) - 1
        if self._titled(at):
            return max(0, at - 1)
        if self._cued(at) or _PATRONYMIC.search(word):
            return at
        if word in self._lists.given and (self._start + at == 0 if last else self._surname(at + 1)):
            return at
        if word in self._lists.family_first and not last and not self._is_thing(at + 1):
            return at
        return at - 1 if at and (self._initialled(at) or (self._family(at) and self._forename(at - 1))) else None

    def _is_thing(self, at: int) -> bool:
        return fold(self._words[at]) in self._lists.behind

    def _behind(self, at: int) -> bool:
        """Whether a word from *at* on makes it an institute, a street, a work."""
        return any(self._is_thing(each) for each in range(at, len(self._words)))

    def _before(self, at: int) -> bool:
        """Whether the word before makes it a place, a house or a ruler."""
        word = self._words[at - 1] if at else self._text[: self._start].rpartition(" ")[0].rpartition(" ")[2]
        return fold(word).rstrip(".") in self._lists.before

    def _common(self, word: str) -> bool:
        """Whether it is a word such as begins a sentence, perhaps with another joined to it: `I've`."""
        head, apostrophe, tail = word.replace("’", "'").partition("'")
        joined = bool(apostrophe) and tail[0].islower() and fold(head) in self._lists.common
        return joined or fold(word) in self._lists.common

    def _surname(self, at: int) -> bool:
        """Whether the word there can be a family name, for it stands behind a given name."""
        word = self._words[at]
        if word in self._lists.particles:
            return at + 1 < len(self._words) and self._surname(at + 1)
        return not _ROMAN.fullmatch(word) and not self._common(word)

    def _family(self, at: int) -> bool:
        return self._words[at] in self._lists.family or bool(_SUFFIX.search(self._words[at]))

    def _forename(self, at: int) -> bool:
        """Whether the word there can be a given name, for it stands before a family name."""
        word = self._words[at]
        if word in self._lists.given_too or INITIALS.fullmatch(word):
            return True
        first = self._start + at == 0  # "Retired Johnson", say
        fits = len(word) >= _LEAST and word[1:].islower() and not first
        return fits and not self._common(word) and fold(word) not in self._lists.before

    def _initialled(self, at: int) -> bool:
        """Whether two initials or more go before the word there, and no state's."""
        initials = "".join(word for word in self._words[max(0, at - 3) : at] if INITIALS.fullmatch(word))
        beside = initials.count(".") > 1 and initials.endswith(self._words[at - 1]) and initials not in STATES
        return beside and len(self._words[at]) >= _LEAST and not self._common(self._words[at])

    def _titled(self, at: int) -> bool:
        """Whether a title goes before the word there: in it, or in lower case before it."""
        word = self._words[at]
        if fold(word).rstrip(".") in self._lists.titles or self._common(word) or len(word) < _LEAST:
            return False
        if not at:
            last = self._text[: self._start].rstrip().rpartition(" ")[2]
            return last.rstrip(".") in self._lists.small_titles
        title = fold(self._words[at - 1]).rstrip(".")
        if title not in self._lists.titles or self._words[at - 1].isupper():
            return False
        return title not in self._lists.noun_titles or not is_noun(self._text[: self._start], word)

    def _cued(self, at: int) -> bool:
        """Whether a cue such as `named` or `sister` goes before it, and no dog, ship or town before that."""
        word = self._words[at]
        given = word in self._lists.given or word in self._lists.given_too
        if given and at == len(self._words) - 1 and _CUE_BEHIND.match(self._text, self._end):
            return True
        if self._common(word) or len(word) == 1:
            return False
        before = self._text[: self._start].rstrip()
        if (self._words[at - 1] if at else before.rpartition(" ")[2]) in self._lists.kin:
            return True
        return not at and self._called(given)

    def _called(self, given: bool) -> bool:
        """Whether a cue such as `named` goes before it that is said of a person; by a *given* name that is likelier."""
        cue = _CUE.search(self._text[: self._start], max(0, self._start - 24))
        if cue is None:
            return False
        nouns = fold(self._text[: cue.start()]).split()
        if nouns and nouns[-1].strip(",.") in self._lists.named:
            return False
        # The person told of stands first: "A retired nurse named ...", and no "fan of a band called ...".
        return given or (cue.start() <= _HEAD and self._lists.joints.isdisjoint(nouns[:-2]))
