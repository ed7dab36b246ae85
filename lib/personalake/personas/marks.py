"""What a text shows by its surface that is no persona: damage, blanks, addresses, lists, refusals, the first person.

A text that shows any of this has :func:`signs`, one of :func:`words`, or is in a script without capitals; most have
none of these, and are done with that.
"""

from __future__ import annotations

import functools
import re

from personalake.corpus.scrub import scrub
from personalake.personas.words import lines

_SIGNS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd@<>{}\[\]［］○〇_+*•●▪\d=]")
_ASCII_SIGNS = bytes(code for code in range(128) if _SIGNS.match(chr(code)))

# Controls, halves of pairs, signs that could not be decoded: traces of escapes, or of bytes, that went wrong.
DAMAGE = re.compile("[\x00-\x08\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]|\t(?=[a-z])")

_PLACEHOLDER = re.compile(
    r"[\[［][^\W\d_][\w /-]{0,30}[\]］]|</?[^\W\d][\w -]{1,20}>|\{\{?[^{}]{1,40}\}?\}|\bX{3,}\b|lorem ipsum|_{3,}|"
    r"[○〇]{2,}|\binsert \w+(?: \w+)? here\b",
    re.IGNORECASE,
)

_ADDRESS = re.compile(
    r"[\w.+-]+@[\w-]+\.\w{2,}|https?://|www\.|(?<![\w@.])@\w{2,}|"
    r"(?:\+|\b00)\d[\d ()/.-]{6,}\d|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b",
    re.IGNORECASE,
)
_SEVEN_DIGITS = re.compile(r"\d(?:[ ()./-]{0,3}\d){6}")

_BULLET = r"(?:[-*•·–—▪●]|\(?\d{1,2}[.)）、]|\(?[a-z]\))\s*(?=\S)"
_LIST = re.compile(
    rf"\A\s*[\[{{]\s*[\"'“{{\[]|(?:\A|\n)\s*{_BULLET}[^\n]*\n+\s*{_BULLET}|"
    r"(?:\A|\s)\(?1[.):）]\s.+?\s\(?2[.):）]\s|(?:\A|\n)\W*persona\s*\d+\s*[:.)].+persona\s*\d+\s*[:.)]|"
    r"(?:\A|\s)[•●▪]\s.+?\s[•●▪]\s",
    re.DOTALL | re.IGNORECASE,
)

_SPEAKING = {
    "en": r"\bI\b|\bI['’]m\b|\b(?:[Mm]y|[Mm]yself|[Ww]e|[Oo]ur)\b",
    "de": r"(?i:\b(?:ich|mich|mir|wir|mein(?:e[mnrs]?)?|unser(?:e[mnrs]?)?)\b)",
    "es": r"(?i:\b(?:yo|mis?|nosotr[oa]s|nuestr[oa]s?|conmigo)\b)",
    "fr": r"(?i:\b(?:je|j['’]|mon|mes|nous|notre|nos)\b)",
    # `io` and `eu` in capitals are a moon and the Union.
    "it": r"\b(?:io|Io(?= \w+o\b)|(?i:mi[oae]|miei|noi|nostr[oaie]))\b",
    "pt": r"\b(?:eu|Eu|(?i:meus?|minhas?|nós|noss[oa]s?|comigo))\b",
    "nl": r"(?i:\b(?:ik|mijn|mij|wij|onze)\b)",
    "pl": r"(?i:\b(?:ja|jestem|mnie|mną|mój|moja|moje|moich|moim|moją|nasz|nasza|nasze|jesteśmy)\b)",
    "ru": r"(?i:\b(?:я|меня|мне|мной|мо[йяёеи]|моего|моей|моих|моим|мою|мы|нам|нами|наш|наша|наше|наши)\b)",
    "sv": r"(?i:\b(?:jag|mig|mitt|mina|vi|våra?|vårt)\b)",
    "da": r"(?i:\b(?:jeg|mig|mit|mine|vi|vores)\b)",
    "no": r"(?i:\b(?:jeg|meg|mitt|mine|vi|våre?|vårt)\b)",
    "fi": r"(?i:\b(?:minä|minun|minua|minulla|minulle|olen|me|meidän|meillä)\b)",
    # `ben` is a mole as well, so it counts where a sentence begins.
    "tr": r"(?i:\b(?:benim|bana|bende|benden|bizim|bizi|bize)\b)|(?:\A|[.!?] )(?:Ben|Biz)\b",
    # Not 私立 and the like; 我 not in `our country`, `self` and idioms.
    "ja": r"(?<!公)私(?=は|が|の|を|に|も|と|たち|達|自身)|わたし(?=は|が|の|を|も|たち)|僕(?=は|が|の|も|たち|ら)|"
    r"俺(?=は|が|の|も)|我々|われわれ",
    "zh": r"(?<![自忘无無唯舍捨大小敌敵])我(?![国國行])|咱们|咱們",
    "ko": r"(?<!\w)(?:저는|제가|저의|내가|나의|우리는|우리의|저희)(?!\w)|(?:\A|[.!?] )나는(?!\w)",
    "ar": r"(?<!\w)(?:و?أنا|و?نحن|إنني|إني|لدي|لدينا|عندي)(?!\w)",
    "hi": r"(?<![\w\u0900-\u097f])(?:मैं|मैंने|मेर[ाीे]|मुझे|मुझको|हमार[ाीे]|हमने)(?![\w\u0900-\u097f])",
}
_FIRST_PERSON = {code: re.compile(pattern) for code, pattern in _SPEAKING.items()}
_FIRST_PERSON |= dict.fromkeys(("nb", "nn"), _FIRST_PERSON["no"])
# A model that slips into English on a page of another language; a bare "I" may be a Roman numeral there.
_I_AM = re.compile(r"\bI(?:['’]m| am| have| was) ")

_SPEAKERS = {
    "en": "i my myself we our",
    "de": "ich mich mir wir mein meine meinem meinen meiner meines unser unsere unserem unseren unserer unseres",
    "es": "yo mi mis nosotros nosotras nuestro nuestra nuestros nuestras conmigo",
    "fr": "je j mon mes nous notre nos",
    "it": "io mio mia mie miei noi nostro nostra nostri nostre",
    "pt": "eu meu meus minha minhas nós nosso nossa nossos nossas comigo",
    "nl": "ik mijn mij wij onze",
    "pl": "ja jestem mnie mną mój moja moje moich moim moją nasz nasza nasze jesteśmy",
    "ru": "я меня мне мной мой моя моё мое мои моего моей моих моим мою мы нам нами наш наша наше наши",
    "sv": "jag mig mitt mina vi vår våra vårt",
    "da": "jeg mig mit mine vi vores",
    "no": "jeg meg mitt mine vi vår våre vårt",
    "fi": "minä minun minua minulla minulle olen me meidän meillä",
    "tr": "benim bana bende benden bizim bizi bize ben biz",
}
_OTHERS = "http https www lorem insert xxx xxxx xxxxx xxxxxx"


@functools.cache
def words(language: str | None) -> frozenset[str]:
    """The folded words without one of which a text that parts them by spaces has no first person, link or blank."""
    own = _SPEAKERS.get({"nb": "no", "nn": "no"}.get(str(language), str(language)), "")
    return frozenset(f"{_SPEAKERS['en']} {own} {_OTHERS}".split())


def signs(given: str) -> bool:
    """Whether a text has a sign that most personas don't have, and damage, blanks, addresses and lists do."""
    if given.isascii():  # A fifth of the time that the pattern takes.
        raw = given.encode()
        return len(raw.translate(None, _ASCII_SIGNS)) < len(raw)
    return _SIGNS.search(given) is not None


def spoilt(given: str) -> str | None:
    """The reason where a text, as the reply has it, is damaged, or a list: JSON, bullets, numbers, several personas."""
    if DAMAGE.search(given):
        return "escape_damage"
    return "list_in_text" if _LIST.search(given) else None


def refuses(folded: str) -> bool:
    """Whether a *folded* text begins as a model's apology does, in one of the big languages."""
    bare = folded.lstrip("\"'“„«*([-– ")
    return bare.startswith(_refusals().get(bare[:1], ()))


@functools.cache
def _refusals() -> dict[str, tuple[str, ...]]:
    """How refusals begin, by their first letter."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines("refusals"):
        found[line[0]] = (*found.get(line[0], ()), line)
    return found


def unfit(text: str, language: str | None) -> str | None:
    """The reason where somebody speaks of themselves (in *language* or English), a blank is left, or an address."""
    if _FIRST_PERSON.get(language or "en", _FIRST_PERSON["en"]).search(text) or _I_AM.search(text):
        return "first_person"
    if _PLACEHOLDER.search(text):
        return "placeholder"
    return "contact_data" if contact(text) else None


def contact(text: str) -> bool:
    """Whether there is an address, an account's name or a number at which somebody is reached."""
    if not (signs(text) or "://" in text or "www." in text.lower()):
        return False
    if _ADDRESS.search(text):
        return True
    return _SEVEN_DIGITS.search(text) is not None and scrub(text, ("phone", "iban"))[1] > 0
