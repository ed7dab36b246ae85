"""Names of persons in scripts without capitals: Japanese, Chinese, Korean, Arabic, Hebrew and those of India.

Only what a cue makes sure: a known family name before a form of address, a given name behind `named` or at the very
beginning, or what stands so on the page and in the text again. Thai, Lao, Burmese, Khmer and Georgian names, and a bare
Chinese or Korean name without a cue, aren't found.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from personalake.personas.words import name_words, sections

CASELESS = re.compile("[\u0590-\u08ff\u0900-\u10ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""A letter of one of these scripts, or of those of South East Asia."""

_HAN, _KANA = "\u3400-\u9fff々", "\u3041-\u3096\u30a1-\u30fa\u30fc"
_LISTED = sections("family_names")
_CHINESE = "".join(next(words for title, words in _LISTED.items() if title.startswith("Chinese")))
_KOREAN = "".join(next(words for title, words in _LISTED.items() if title.startswith("Korean")))

# A blank inside a Japanese sentence stands between family and given name.
_JAPANESE_FULL = re.compile(
    rf"(?:^|[、。「『（(・]\s*)(([{_HAN}]{{1,3}})[ \u3000](?!\2)[{_HAN}{_KANA}]{{1,4}}?)(?=は|が|さん|氏|（|\()"
    r"(?=.*[\u3041-\u3096])"
)
_JAPANESE_REST = re.compile(
    rf"[ \u3000]?[{_HAN}{_KANA}]{{0,4}}?(?=さん|さま|様|氏|先生|君|くん|ちゃん|は、|は|が|という|と名)"
)
_JAPANESE_PLACE = re.compile("[町市区県村駅川山湖島寺城線港橋通大高家流藩焼式電]")
_CHINESE_ADDRESSED = re.compile(
    rf"(?<![{_HAN}])(?:一?[位名个個叫是和与與跟由向])?([{_CHINESE}][{_HAN}]{{0,2}}?)"
    "(?=先生|女士|小姐|太太|老师|老師|教授|医生|醫生|师傅|師傅|阿姨|同学|同學)"
)
_CHINESE_CUE = re.compile(rf"(?:名叫|名為|名为|名字叫|名字是|姓名[是为為：:])\s*([{_CHINESE}][{_HAN}]{{1,2}})")
_CHINESE_FULL = re.compile(
    rf"(?<![{_HAN}])([{_CHINESE}][{_HAN}]{{1,2}}?)"
    "(?=先生|女士|老师|老師|教授|医生|醫生|博士|说[，：,:]|說[，：,:]|表示[，：,:])"
)
_KOREAN_CUE = re.compile(
    rf"(?<![가-힣])([{_KOREAN}][가-힣]{{2}})(?= ?씨(?:와|과|는|가|의|를|을|에게|도|네)?(?![가-힣])|(?:이)?라는 이름)|"
    "이름은 ([가-힣]{2,4}?)(?=이|입|인)"
)
_ARABIC_CUE = "(?:يدعى|تدعى|اسمه|اسمها|المدعو|المدعوة|السيد|السيدة|الأستاذ|الأستاذة)"
_INDIC_CUE, _INDIC_BEHIND = "(?:श्री|श्रीमती|सुश्री)", "(?:नाम क[ीा]|नामक|जी)"
_SPACED = "\u0590-\u08ff\u0900-\u0dff"


def found(text: str, page: str) -> Iterator[str]:
    """The names of persons in *text*, by themselves or as *page* (or parent) has them."""
    yield from _addressed(text)
    for match in _given().finditer(text):
        yield next(filter(None, match.groups()))
    for name in sorted({*_addressed(page), *(match[1] for match in _CHINESE_FULL.finditer(page))}):
        if len(name) > 1 and name in text:
            yield name


def _addressed(text: str) -> Iterator[str]:
    """Names before a form of address, or behind a cue."""
    for match in _JAPANESE_FULL.finditer(text):
        yield match[1]
    for match in _japanese().finditer(text):
        rest = text[match.end() : match.end() + 8]
        given = _JAPANESE_REST.match(rest)
        if given and not _JAPANESE_PLACE.match(rest):
            yield match[0] + given[0]
    for pattern in (_CHINESE_ADDRESSED, _CHINESE_CUE, _KOREAN_CUE):
        for match in pattern.finditer(text):
            yield next(filter(None, match.groups()))


@functools.cache
def _japanese() -> re.Pattern[str]:
    names = {name for name in name_words().family if len(name) > 1 and re.match(f"[{_HAN}]", name)}
    return re.compile(rf"(?<![{_HAN}])(?:{'|'.join(sorted(names, key=len, reverse=True))})")


@functools.cache
def _given() -> re.Pattern[str]:
    """Given names of scripts that part words, at the beginning of a text or beside a cue."""
    names = "|".join(sorted(name for name in name_words().given if re.match(f"[{_SPACED}]", name)))
    end = rf"(?![\w{_SPACED}])"
    return re.compile(
        rf"^({names}){end}|{_ARABIC_CUE}\s+({names}){end}|{_INDIC_CUE}\s+({names}){end}|"
        rf"(?<![\w{_SPACED}])({names})(?=\s+{_INDIC_BEHIND})"
    )
