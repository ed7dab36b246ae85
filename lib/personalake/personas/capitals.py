"""Capitalised words side by side, and whether they name a person by themselves and by the words around them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from personalake.corpus.wordlist import fold
from personalake.personas.words import name_words

_CAPITALS = "".join(chr(code) for code in range(0x41, 0x2000) if chr(code).isupper())
WORD = rf"[{_CAPITALS}]\w*(?:['’-]\w\w+)*"
"""A capitalised word, without a genitive's ending."""

_SHORT = "Dr|Prof|Mr|Mrs|Ms|Mx|St|Sr|Sra|Srta|Hr|Fr|Mme|Mlle|Sig|Jr|Dott|Dhr|Mevr"
_ONE = rf"(?:(?:{_SHORT}|[{_CAPITALS}])\.(?:[{_CAPITALS}]\.)*|{WORD})"
_PARTICLES = "|".join(sorted(name_words().particles))
_SEQUENCE = re.compile(rf"(?<!\w){_ONE}(?: (?:(?:{_PARTICLES}) ){{0,3}}{_ONE})*")
_INITIALS = re.compile(rf"(?:[{_CAPITALS}]\.){{1,3}}")
_STATES = ("U.S.", "U.K.", "U.N.", "E.U.", "D.C.", "A.D.", "B.C.", "P.M.", "A.M.")
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
ENDS = frozenset(
    "ović ovic ević evic ński ńska wicz enko escu ulos ulou idis akis sson ttir vili adze oğlu adeh ович евич ёвич ьич "
    "овна евна ична енко вича вичу ичем виче овны овне овну вной евны евне евну ичны ичне ичну чной ьича ьичу".split()
)
"""The last four letters of what is a name by its ending alone."""

_EPONYM = re.compile(
    r"['’]?s? (?:algebra|algorithm|code|cells?|conjecture|constant|curve|cycle|diagram|disease|distribution|effect|"
    r"engine|equations?|experiment|fellow(?:ship)?|filter|function|hypothesis|index|inequality|integral|law|lemma|lens|"
    r"lymphoma|machine|matrix|method|model|number|paradox|principle|process|ratio|reaction|rule|scale|series|space|"
    r"statistics?|syndrome|system|technique|telescope|test|theorem|theory|transform|tuning)(?!\w)"
)
_SAYS = re.compile(
    r"(?:,? who)? (?:said|says|told|explained|explains|recalls|recalled|writes|wrote)(?!\w)|, \d\d(?:,| )"
)
_BY = re.compile(
    r"^[ \t]*(?:By|Author|Written by|Posted by|Contact|Von|Text|Foto|Autorin?|Par|Auteure?|Por|Autora?|Di|Door|Автор)"
    r"\s*:? *$"
)
_NOT_ARTICLES = ("wie", "ohne", "neben", "gegen", "wegen", "über", "unter", "hinter", "zwischen")
_INFLECTED = re.compile(r"[a-zäöü](?:e|er|en|em|es)$")
_LEAST, _HEAD = 3, 40


def sequences(text: str, *, page: bool = False) -> Iterator[Sequence]:
    """The capitalised words of *text*, those side by side together; *text* may be a line of a *page*."""
    for match in _SEQUENCE.finditer(text):
        yield Sequence(text, match, page)


class Sequence:
    """Capitalised words side by side, and what stands around them.

    On a page, where nothing but a name is asked for, more counts: a given name alone, one initial, who says something.
    """

    def __init__(self, text: str, match: re.Match[str], page: bool) -> None:
        self._text, self.start, self.end, self._page, self._lists = text, match.start(), match.end(), page, name_words()
        self._words = match[0].split(" ")

    def has(self, name: str) -> bool:
        """Whether it has *name*, and not as a street's, an institute's, an effect's or a law's."""
        for at, word in enumerate(self._words):
            if word == name and not self._common(at) and not self._behind(at + 1):
                return at < len(self._words) - 1 or not _EPONYM.match(self._text, self.end)
        return False

    def borne(self, name: list[str]) -> bool:
        """Whether it has *name*, folded words, as a street's, an institute's, a ship's."""
        words = [fold(word) for word in self._words]
        at = next((at for at in range(len(words)) if words[at : at + len(name)] == name), None)
        return at is not None and (self._behind(at + len(name)) or self._before(at))

    def name(self) -> str | None:
        """The name of a person that it is or has; null where it has none."""
        if self._lists.things.find(fold(" ".join(self._words))):
            return None
        for at in range(len(self._words)):
            if self._behind(at + 1) or not self._named(at):
                continue
            begins = at
            while begins and not self._common(begins - 1):
                begins -= 1
            return None if self._before(begins) or self._before(at) else " ".join(self._words[begins:])
        return None

    def _named(self, at: int) -> bool:
        """Whether the word there is part of a person's name."""
        word, last = self._words[at], at == len(self._words) - 1
        if self._titled(at) or self._cued(at) or _PATRONYMIC.search(word):
            return True
        if word in self._lists.given:
            return (self._page or self.start + at == 0) if last else self._surname(at + 1)
        if word in self._lists.family_first and not last and not self._is_thing(at + 1):
            return True
        behind = at > 0 and (self._initialled(at) or (self._family(at) and self._forename(at - 1)))
        return behind or (self._page and at > 0 and self._told(at))

    def _told(self, at: int) -> bool:
        """Whether the page makes a person's name of the word there and the one before it."""
        word, previous = self._words[at], self._words[at - 1]
        before = self._words[at - 2] if at > 1 else self._text[: self.start].rstrip(" ").rpartition(" ")[2]
        within = before[-1:].islower()
        if _INITIALS.fullmatch(previous):
            initial = within and previous not in _STATES and fold(before) not in self._lists.lettered
            return initial and not self._common(at) and len(word) >= _LEAST
        if not (previous.isalpha() and previous[1:].islower()) or self._common(at - 1) or self._common(at):
            return False
        # A given name that is a word as well: not where it begins a sentence.
        if previous in self._lists.given_words and word not in self._lists.given_words and within:
            return True
        if at < len(self._words) - 1:
            return False
        return _SAYS.match(self._text, self.end) is not None or _BY.search(self._text[: self.start]) is not None

    def _is_thing(self, at: int) -> bool:
        return fold(self._words[at]) in self._lists.behind

    def _behind(self, at: int) -> bool:
        """Whether a word from *at* on makes it an institute, a street, a work."""
        return any(self._is_thing(each) for each in range(at, len(self._words)))

    def _before(self, at: int) -> bool:
        """Whether the word before makes it a place, a house or a ruler."""
        word = self._words[at - 1] if at else self._text[: self.start].rpartition(" ")[0].rpartition(" ")[2]
        return fold(word).rstrip(".") in self._lists.before

    def _common(self, at: int) -> bool:
        return common(self._words[at])

    def _surname(self, at: int) -> bool:
        """Whether the word there can be a family name, for it stands behind a given name."""
        word = self._words[at]
        if word in self._lists.particles:
            return at + 1 < len(self._words) and self._surname(at + 1)
        return not _ROMAN.fullmatch(word) and not self._common(at)

    def _family(self, at: int) -> bool:
        return self._words[at] in self._lists.family or _SUFFIX.search(self._words[at]) is not None

    def _forename(self, at: int) -> bool:
        """Whether the word there can be a given name, for it stands before a family name."""
        word = self._words[at]
        if word in self._lists.given_too or _INITIALS.fullmatch(word):
            return True
        first = self.start + at == 0  # "Retired Johnson", say
        fits = len(word) >= _LEAST and word[1:].islower() and not first
        return fits and not self._common(at) and fold(word) not in self._lists.before

    def _initialled(self, at: int) -> bool:
        """Whether two initials or more go before the word there, and no state's."""
        initials = "".join(word for word in self._words[max(0, at - 3) : at] if _INITIALS.fullmatch(word))
        beside = initials.count(".") > 1 and initials.endswith(self._words[at - 1]) and initials not in _STATES
        return beside and len(self._words[at]) >= _LEAST and not self._common(at)

    def _titled(self, at: int) -> bool:
        """Whether a title goes before the word there: in it, or in lower case before it."""
        word = self._words[at]
        if fold(word).rstrip(".") in self._lists.titles or self._common(at) or len(word) < _LEAST:
            return False
        before = at - 1
        while before >= 0 and self._words[before] in self._lists.particles:
            before -= 1
        if before < 0:
            last = self._text[: self.start].rstrip().rpartition(" ")[2]
            return last.rstrip(".") in self._lists.small_titles
        title = fold(self._words[before]).rstrip(".")
        if title not in self._lists.titles or self._words[before].isupper():
            return False
        return title not in self._lists.noun_titles or not _is_noun(self._text[: self.start], word)

    def _cued(self, at: int) -> bool:
        """Whether a cue such as `named` or `sister` goes before it, and no dog, ship or town before that."""
        word = self._words[at]
        given = word in self._lists.given or word in self._lists.given_too
        if given and at == len(self._words) - 1 and _CUE_BEHIND.match(self._text, self.end):
            return True
        if self._common(at) or len(word) == 1:
            return False
        before = self._text[: self.start].rstrip()
        if (self._words[at - 1] if at else before.rpartition(" ")[2]) in self._lists.kin:
            return True
        return not at and self._called(given)

    def _called(self, given: bool) -> bool:
        """Whether a cue such as `named` goes before it that is said of a person; by a *given* name that is likelier."""
        cue = _CUE.search(self._text[: self.start], max(0, self.start - 24))
        if cue is None:
            return False
        nouns = fold(self._text[: cue.start()]).split()
        if nouns and nouns[-1].strip(",.") in self._lists.named:
            return False
        # The person told of stands first: "A retired nurse named ...", and no "fan of a band called ...".
        first = not self._page and cue.start() <= _HEAD and self._lists.joints.isdisjoint(nouns[:-2])
        return given or first


@functools.lru_cache(65_536)
def common(word: str) -> bool:
    """Whether *word* is such as begins a sentence, and no name, perhaps with another joined to it: `I've`."""
    listed = name_words().common
    head, apostrophe, tail = word.replace("’", "'").partition("'")
    return fold(word) in listed or (bool(apostrophe) and tail[0].islower() and fold(head) in listed)


def _is_noun(before: str, word: str) -> bool:
    """Whether German `Frau` or `Herr` is a noun there: an article or adjective goes *before* it, or a time behind."""
    last = before.rstrip().rpartition(" ")[2]
    if word in ("Mitte", "Anfang", "Ende", "Jahrgang", "Doktor") or last in ("als", "der", "den", "Der", "Den"):
        return True
    return last not in _NOT_ARTICLES and _INFLECTED.search(last) is not None
