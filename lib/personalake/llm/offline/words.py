"""Words of a text: language by function words, keywords by frequency and length, picks that survive small edits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

MAX_CHARS = 2_400
CANDIDATES = 24
MOST_TOKENS = 200_000
LEAST_CJK = 10
_EDGES = ".,;:!?()[]{}<>\"'*_#=|/\\«»“”„\u2018\u2019…\u2013—-"
_SHORTEST, _LONGEST = 4, 20
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{2,4}")
_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B1

_FUNCTION_WORDS = {
    "en": "the of and to is that for with was are this from by which have it as be or not they their has will can",
    "de": "der die das und ist nicht mit den von zu ein eine auf für dem im sich auch werden wird sind aus bei einer",
    "es": "el los las una por para del es su lo como más pero sus fue son está entre cuando muy también desde ha hay",
    "fr": "les des et est une dans pour qui du au avec sur pas ce il elle sont aux ou cette ses plus leur nous vous",
    "it": "il di che della delle nel sono gli è dei alla anche più dal ed questo",
    "pt": "não uma com os dos ao são em mais da das foi ou pelo pela também",
    "nl": "het een van dat niet zijn voor worden ook bij naar wordt",
    "nordic": "og er det som på och att är af ett av för med till den en har",
}
_LANGUAGE_OF = {word: code for code, words in _FUNCTION_WORDS.items() for word in words.split()}
_PATTERNED = ("en", "de", "es", "fr")
_LEAST_SHARE = 0.06

_STOP_WORDS_LIST = """
about above after again against almost along already also although always among another anyone anything around back
became because become becomes been before behind being below best better between beyond both came cannot come comes
could does doing done down during each early either else enough even ever every everyone everything example except
far feel few find first following form found four from full further gave gets getting give given gives goes going
gone good great half have having hence here hers high himself however including indeed inside instead into itself
just keep kept kind knew know known large last later least less like likely little long longer look made main make
makes making many maybe might mine more most much must myself near nearly need needs never next none nothing often
once only onto other others otherwise ours outside over part parts people perhaps place point quite rather really
right said same says second seem seems seen several shall should show shown since small some someone something
sometimes soon still such take taken takes than that their theirs them themselves then there therefore these they
thing things think this those though three through thus together told took toward towards under unless until upon
used uses using usually very want wants ways well went were what whatever when where whether which while whole whom
whose will with within without word words work works would year years your yours yourself http https html javascript
cookie cookies click page pages website email mail phone login menu share copyright ignore instruction instructions
previous prompt prompts system assistant password persona personas language model aber alle allem allen aller alles
also andere anderen auch auf beim bereits bis bleibt dabei dadurch damit danach dann daran darauf daraus darf darin
darum dass davon dazu dein deine dem den denen denn deren derer dessen diese diesem diesen dieser dieses doch dort
durch eben ebenso eine einem einen einer eines einige einigen einmal erst etwa etwas euch euer eure ganz gegen geht
gibt habe haben hatte hatten hier hinter ihm ihnen ihre ihrem ihren ihrer immer indem ins ist jede jedem jeden jeder
jedes jedoch jene jetzt kann kein keine keinem keinen keiner konnte lassen machen macht mehr mein meine mich muss
musste müssen nach nachdem neben nicht nichts noch oben oder oft ohne schon sehr seien sein seine seinem seinen
seiner seit selbst sich sie sind sobald sodass soll sollen sollte sondern sonst soweit sowie sowohl stets teil über
über um und uns unser unsere unten unter viel viele vielen vom von vor wann waren warum was wegen weil weiter welche
welchem welchen welcher wenig weniger wenn werde werden wieder will wird wirklich wollen worden wurde wurden würde
zeit zudem zum zur zwar zwischen algo algún alguna algunas alguno algunos allí ambos ante antes aquel aquella
aquellos aquí así aunque bajo bien cada casi como cómo con contra cual cuando cuándo cuanto debe deben decir desde
donde dónde dos durante ella ellas ellos embargo entonces entre era eran eres esa esas ese eso esos esta está estaba
están estar estas este esto estos fue fueron gran grandes había haber hace hacen hacer hacia hasta hay hecho hoy
incluso junto luego mayor mejor menos mientras mismo misma mismos mucho mucha muchas muchos muy nada nadie ninguna
nos nosotros nuestra nuestro nunca otra otras otro otros para parte pero poco podía poder pues puede pueden pueda
qué quien quién quienes según ser será si sido siempre sin sino sobre solo sólo son suele suelen suya suyo también
tampoco tan tanto tener tenía tiene tienen toda todas todavía todo todos tras tres una unas uno unos usted varias
varios veces vez vosotros ainsi alors après assez aucun aucune aujourd auquel aussi autant autre autres avaient
avait avant avec avoir beaucoup bien c'est car ceci cela celle celles celui cependant certain certaine certains ces
cet cette ceux chacun chaque chez comme comment contre dans début dedans dehors depuis derrière des deux devant doit
doivent donc dont elle elles encore enfin entre environ est étaient était étant être eux fait faire faut fois font
haut hors ici ils jamais jusqu laquelle lequel les lesquels leur leurs lors lorsque mais même mêmes mieux moins mon
notre nous nos parce parfois parmi partout pas pendant peu peut peuvent plus plusieurs plutôt pour pourquoi près
presque puis puisque quand quel quelle quelles quelque quelques quels qui quoi rien sans sauf selon sera ses
seulement soit son sont sous souvent suite sur tandis tant tel telle telles tels toujours tous tout toute toutes
très trop une vers voici voilà voir vos votre vous
"""
STOP_WORDS = frozenset(_STOP_WORDS_LIST.split())


@dataclass(frozen=True)
class Words:
    """What the rules know of a text: its language, keywords (best first), and the hashes of all its content words."""

    language: str
    keywords: tuple[str, ...]
    hashes: tuple[int, ...]

    def stable(self, salt: int) -> int:
        """Return the min-wise hash under *salt*: two texts agree with probability equal to their words' Jaccard."""
        mask = salt * _GOLDEN & _MASK
        return min([value ^ mask for value in self.hashes], default=salt)

    def slots(self, salt: int, size: int) -> list[str]:
        """Return *size* keywords: the best one, then others by min-wise order (repeated if there are too few)."""
        if not self.keywords:
            return ["everyday matters"] * size
        mask = salt * _GOLDEN & _MASK
        rest = sorted([(crc32(word.encode()) ^ mask, word) for word in self.keywords[1:]])
        picked = [self.keywords[0], *[word for _, word in rest]]
        while len(picked) < size:
            picked += picked
        return picked[:size]


Known = tuple[str, bool, int, int]


class _Tokens(dict[str, "str | Known | None"]):
    """What a token is, worked out once: a language code (function word), a possible keyword, or nothing."""

    def __missing__(self, token: str) -> str | Known | None:
        if len(self) > MOST_TOKENS:
            self.clear()
        word = token.strip(_EDGES)
        known: str | Known | None = _LANGUAGE_OF.get(word.lower())
        shortest = _SHORTEST if word.isascii() or word[:1].islower() or word[:1].isupper() else 2
        if known is None and shortest <= len(word) <= _LONGEST and word.isalpha() and word.lower() not in STOP_WORDS:
            known = (word, word[0].isupper(), min(len(word), 12), crc32(word.encode()))
        self[token] = known
        return known


_TOKENS = _Tokens()


@lru_cache(maxsize=2_048)
def words_of(text: str) -> Words:
    """Return the :class:`Words` of *text* (its first 2,400 characters).

    The language is the one whose function words are at least 6 % of the tokens. Words that occur only capitalised are
    left out (names of people and firms), except in German.
    """
    counts = Counter(text[:MAX_CHARS].split())
    if not text.isascii() and len(_CJK.findall(text[:400])) > LEAST_CJK:
        counts = Counter(_CJK.findall(text[:MAX_CHARS]))
    languages: dict[str, int] = {}
    found: list[tuple[Known, int]] = []
    for token, count in counts.items():
        known = _TOKENS[token]
        if isinstance(known, str):
            languages[known] = languages.get(known, 0) + count
        elif known is not None:
            found.append((known, count))
    code = max(sorted(languages), key=languages.__getitem__, default="other")
    if code not in _PATTERNED or languages[code] < _LEAST_SHARE * sum(counts.values()):
        code = "other"
    names_too = code == "de"
    scores: dict[str, int] = {}
    hashes: dict[str, int] = {}
    for (word, capital, weight, value), count in found:
        if names_too or not capital:
            scores[word] = scores.get(word, 0) - weight * min(count, 6)
            hashes[word] = value
    ranked = sorted([(score, word) for word, score in scores.items()])[:CANDIDATES]
    return Words(code, tuple([word for _, word in ranked]), tuple(hashes.values()))
