"""What a persona must not carry on: an order to a model, or a mark that whatever reads it next takes for its own.

A page may try to have either put into a persona, for the prompts that the persona goes into later. The patterns read
surfaces, and no list of them is complete: that such a text has no authority there, and can't leave its fence, is the
prompts' part (`prompts/render.py`, `inert`). What they know is spelt as people describe nobody, so that next to no
honest persona is lost; words that are only suspicious stay.

Nearly every text has nothing of the kind, and a hub has millions: :func:`suspects` finds, all at once and at a
hundredth of the price, the few that :func:`steering` has to read.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence

from personalake.scan import having

# A blank to fill in, a tag, a template's or JSON's brackets, code, a link's markup, a heading or rule of Markdown.
_MARK = re.compile(
    r"""\[[a-z][a-z _-]{1,30}\]|\[[/|]|\]\(|<\s*[/|!?]|<\s*[a-z_][^<>]{0,200}>|[{}\\]|```|={3}|\#{3}|-{5}|\w\(\)|"""
    r"""["']\);|["'”]\s*:\s*["'\[]|\b(?!https?:)[a-z][a-z+.-]{1,15}://|(?<![\w/.@-])(?:[\w-]+\.)+[a-z]{2,}/\w|"""
    r"""\bx{3,}\b|lorem ipsum"""
)
# The mark of a fence, a key, or words in base64: long, and no word.
_CODED = re.compile(
    r"\b[0-9a-f]{24,}\b|(?<![\w/+])(?=[\w/+]*[a-z])(?=[\w/+]*[A-Z])(?=[\w/+]*\d)[A-Za-z0-9/+]{24,}={0,2}", re.ASCII
)
_SPACED_OUT = re.compile(r"(?:(?<![^\W_])[^\W\d_][ .*_-]{1,2}){7}")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_JOINERS = re.compile("[\u061c\u200c-\u200f\ufe00-\ufe0f]")
_TABLE = 0xFFFF
# Signs that look like a Latin letter or stand for one: Cyrillic, Greek, and beside a letter the digits of leetspeak.
_LOOKING_LATIN, _LEET = "\u0370-\u04ff", "0-9@$"
_MAY_STAND_IN = re.compile(rf"[{_LOOKING_LATIN}]|(?<=[^\W\d_])[{_LEET}]|[{_LEET}](?=[^\W\d_])")
_STANDS_FOR = str.maketrans("аеорсухіјѕԁһӏгвкмнтαοερτυνικ0134579@$", "aeopcyxijsdhlrbkmhtaoeptuvikoieastgas")

_DROP = r"(?:ignore|disregard|forget|override|overrule|bypass|discard|neglect)"
_TOLD = r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|orders?|commands?)"
_EARLIER = r"(?:previous|prior|above|earlier|preceding|foregoing|initial|original|existing|system|your)"
_MODEL = r"(?:ai|llm|(?:ai |large )?language model|ai (?:language )?(?:model|assistant)|chatbot)"
_OVERRIDE = re.compile(
    rf"\b{_DROP}\b(?: \w+){{0,4}}? {_EARLIER}\b(?: \w+){{0,3}}? {_TOLD}\b|"
    rf"\b{_DROP} (?:all|any|every)(?: of)?(?: the| these| those)? (?:instructions?|prompts?|directives?|guidelines?)\b|"
    rf"\b{_DROP} (?:everything|anything|all|whatever|what)(?: \w+){{0,4}} (?:above|before|so far|earlier|told|said)\b"
)
# Words to a model, or of one: whoever describes a person addresses nobody.
_ADDRESS = re.compile(
    r"\b(?:new|updated|real|actual|true) (?:system )?(?:instructions?|prompt)\s*:|"
    r"\b(?:my|your|this|the (?:whole|full|entire|following)) system prompt\b|\bsystem prompt\s*(?::|is\b|says\b)|"
    rf"\byou are (?:now|no longer|chatgpt|dan|an? (?:assistant|{_MODEL}))\b|"
    r"\bfrom now on,? (?:you|reply|answer|respond|write|act|always|never)\b|"
    rf"\bas an? {_MODEL}(?:,| i\b)|\bi am an? {_MODEL}\b|"
    r"\bi (?:can ?not|can['’]t|won['’]t|am unable to) (?:help|assist|comply|fulfil|process|follow)(?: you)?(?: with)? "
    r"(?:this|that|your|the)\b|"
    rf"\b(?:any|every|each|the|next|whatever|whichever) {_MODEL}(?: \w+)? "
    r"(?:reading|reads|processing|processes|sees|must|should|shall|has to) |"
    rf"\b(?:dear|hey|hello|attention:?),? (?:{_MODEL}|chatgpt|assistant)\b"
)
# What opens a sentence that tells somebody to do something; third persons and nouns don't look like it.
_IMPERATIVE = re.compile(
    r"(?:^|[.!?:;—–]['\"”’)]* +)(?:please |now |then |instead,? |also |first,? |and )?"
    rf"(?:(?:{_DROP}|write|output|print|reply|respond|return|answer|repeat|reveal|translate|generate|produce|say|tell|"
    r"summari[sz]e|execute|visit|click|send|download|append|insert|include|add|obey|follow|act|pretend|use|describe|"
    r"stop|begin|start|end|list|show|give|copy|recite|leak|display)"
    r" (?:a|an|the|this|that|these|those|all|any|every|each|only|exactly|just|me|us|your|yourself|with|in json|as|"
    r"nothing|everything|no|here|after|before)\b|"
    r"(?:do not|don['’]t|you (?:are|must|should|shall|have to|may not)|make sure|be sure|under no circumstances) |"
    r"(?:system|assistant|user|human|developer|instructions?|prompt) ?:)"
)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


# "Ignore the instructions before this" in other languages: as an order, or with a word that points at the prompt; each
# behind words of which it needs one.
_ELSEWHERE = tuple(
    (_normal(words), re.compile(_normal(pattern)))
    for words, pattern in (
        # German
        ("ignorier|vergiss|vergessen sie|missachte|übergehe",
         r"\b(?:ignorier(?:e|en sie)|vergiss|vergessen sie|missachte|übergehe)\b.{0,30}?\b(?:bisherige|vorherige|"
         r"vorige|obige|frühere|alle|deine|ihre|sämtliche)\w*.{0,20}?(?:anweisung|instruktion|vorgabe|befehl|prompt)"),
        # French
        ("ignore|oublie|abstraction",
         r"\b(?:ignore[zr]?|oublie[zr]?|fai(?:s|tes) abstraction)\b.{0,30}?(?:instruction|consigne|prompt|directive)\w*"
         r".{0,20}?(?:précédent|antérieur|ci-dessus|système|initial)"),
        # Spanish, Portuguese, Italian
        ("ignor|olvid|omit|esquec|desconsidere|dimentica",
         r"\b(?:ignor[aeo]|ignorad|ignorar|olvid[ae]|omit[ae]|esquec[ea]|desconsidere|dimentica)\b.{0,30}?(?:instruccion|"
         r"indicacion|instruç|istruzion|comand|prompt)\w*.{0,20}?(?:anterior|previ|precedent|sistema|arriba|acima|sopra)"),
        # Dutch
        ("negeer|vergeet",
         r"\b(?:negeer|vergeet)\b.{0,20}?(?:vorige|eerdere|bovenstaande|alle).{0,15}?(?:instructies|opdrachten|prompt)"),
        # Polish
        ("ignoruj|zapomnij",
         r"\b(?:zignoruj|ignoruj|zapomnij)\b.{0,30}?(?:poprzedni|wcześniejsz|wszystki|powyższ)\w*.{0,15}?"
         r"(?:instrukcj|poleceni)"),
        # Russian, Ukrainian
        ("игнорируй|забудь|ігноруй",
         r"\b(?:игнорируй|игнорируйте|забудь|забудьте|ігноруй|ігноруйте)\b.{0,40}?"
         r"(?:инструкц|указан|команд|інструкц|вказів)"),
        # Greek
        ("αγνόησε|αγνοήστε|ξέχασε",
         r"(?:αγνόησε|αγνοήστε|ξέχασε).{0,30}?(?:προηγούμεν|παραπάνω|όλες).{0,20}?(?:οδηγ|εντολ)"),
        # Turkish
        ("talimat|komut|yönerge",
         r"(?:önceki|yukarıdaki|tüm).{0,25}?(?:talimat|komut|yönerge)\w*.{0,20}?(?:yok say|görmezden gel|unut|"
         r"dikkate alma)"),
        # Arabic, Persian, Hebrew
        ("تجاهل", r"تجاهل.{0,20}?(?:التعليمات|تعليمات|الأوامر|أوامر).{0,15}?(?:السابقة|أعلاه)"),
        ("نادیده", r"(?:دستورات|دستورالعمل).{0,20}?(?:قبلی|بالا).{0,20}?نادیده"),
        ("הוראות", r"(?:התעלם|התעלמי|התעלמו|שכח).{0,20}?הוראות.{0,15}?(?:קודמות|הקודמות)"),
        # Hindi, Thai
        ("निर्देश|आदेश", r"(?:पिछले|पहले|ऊपर|सभी).{0,20}?(?:निर्देश|आदेश).{0,20}?(?:अनदेखा|नज़रअंदाज़|भूल)"),
        ("คำสั่ง|คำแนะนำ",
         r"(?:เพิกเฉย|ละเว้น|ลืม|ไม่ต้องสนใจ).{0,15}?(?:คำสั่ง|คำแนะนำ).{0,15}?(?:ก่อนหน้า|ข้างต้น|ทั้งหมด)"),
        # Chinese, Japanese, Korean
        ("忽略|无视|無視|忘记|忘記|不要理会",
         r"(?:忽略|无视|無視|忘记|忘記|不要理会).{0,8}?(?:之前|以上|上面|先前|前面|所有).{0,6}?(?:指令|指示|提示|说明|說明|要求)"),
        ("無視|忘れ", r"(?:以前|これまで|上記|今まで|前)の.{0,8}?(?:指示|命令|プロンプト).{0,6}?(?:無視|忘れ)"),
        ("무시|잊", r"(?:이전|위의|앞의|지금까지).{0,8}?(?:지시|명령|지침|프롬프트).{0,8}?(?:무시|잊)"),
        # Vietnamese, Indonesian, Swahili
        ("bỏ qua|phớt lờ|quên", r"(?:bỏ qua|phớt lờ|quên).{0,20}?(?:hướng dẫn|chỉ dẫn|lệnh).{0,15}?(?:trước|trên)"),
        ("abaikan|lupakan",
         r"(?:abaikan|lupakan).{0,20}?(?:instruksi|perintah|petunjuk).{0,15}?(?:sebelumnya|di atas)"),
        ("puuza|sahau", r"\b(?:puuza|sahau)\b.{0,20}?(?:maagizo|maelekezo).{0,20}?(?:awali|yote|juu)"),
    )
)  # fmt: skip


def steering(text: str) -> str | None:
    """What *text* has that may steer whoever reads it next: `placeholder` for a mark, `prompt_leak` for an order.

    A mark is one of a template, of markup, of code or of JSON, also in wide signs. An order is given to a model; what
    speaks as one, or nobody can read, counts as one.
    """
    low = _plain(text)
    if _MARK.search(low):
        return "placeholder"
    if _CODED.search(text) or _CONTROLS.search(text) or _SPACED_OUT.search(text):
        return "prompt_leak"
    latin = _latin(low)
    return "prompt_leak" if _overrides(low, latin) or _IMPERATIVE.search(latin) else None


def overriding(text: str) -> bool:
    """Whether *text* tells a model to drop what it was told: that no persona needs quoted as its evidence, either."""
    low = _plain(text)
    return _overrides(low, _latin(low))


def suspects(texts: Sequence[str]) -> list[bool]:
    """For each of *texts* whether :func:`steering` may find something; where it would, this is true.

    RE2 reads all of them in a few passes, however many patterns there are. It has no look-around, and takes ASCII alone
    for words, so what it is given matches a little more than the patterns that it stands for.
    """
    found = having(texts, *_suspicious())
    strange = [place for place, odd in enumerate(having(texts, _changing())) if odd and not found[place]]
    if strange:
        # At once again. None of these has the sign that parts them: a text with a control is suspicious already.
        plain = _plain("\0".join(texts[place] for place in strange))
        spelt = [*plain.split("\0"), *plain.translate(_STANDS_FOR).split("\0")]
        for place, odd in zip(strange * 2, having(spelt, *_suspicious()), strict=True):
            found[place] = found[place] or odd
    return found


@functools.cache
def _suspicious() -> tuple[str, ...]:
    marks = (
        r"\[[a-z/|]|\]\(|<|[{}\\`]|={3}|#{3}|-{5}|\(\)|[\"']\);|[\"'”][\s\pZ\x0b]*:|://|\.[a-z]{2,}/|xxx|"
        r"lorem ipsum|[\x00-\x08\x0e-\x1f\x7f-\x9f]"
    )
    # A few words between, or more: so many states less.
    override = re.sub(r"\(\?: \\w\+\)\{0,\d\}\??", "(?: .*)?", _OVERRIDE.pattern)
    address = _ADDRESS.pattern.replace(r"\w", r"[\pL\pN_]")
    elsewhere = "|".join(words for words, _ in _ELSEWHERE)
    unreadable = r"[0-9a-z/+]{24}|(?:[^\s.*_-][ .*_-]{1,2}){7}"
    orders = "|".join((marks, _IMPERATIVE.pattern, elsewhere, override, address))
    return f"(?i){orders}", f"(?i){unreadable}"


@functools.cache
def _changing() -> str:
    """What `_plain` or `_latin` may make another sign of, or join to the one before it: a class of RE2."""
    odd = [code for code in range(0x80, sys.maxunicode + 1) if code > _TABLE or _alters(chr(code))]
    return rf"[{_ranges(odd)}]|\pL[{_LEET}]|[{_LEET}]\pL"


def _alters(char: str) -> bool:
    return bool(
        unicodedata.category(char)[0] in "MC"
        or "\u1160" <= char <= "\u11ff"  # Parts of Korean syllables.
        or _MAY_STAND_IN.match(char)
        or not unicodedata.is_normalized("NFKC", char)
        or len(char.lower()) > 1
    )


def _ranges(codes: Sequence[int]) -> str:
    """A class's inside, of *codes* in their order."""
    starts = [code for place, code in enumerate(codes) if not place or codes[place - 1] != code - 1]
    ends = [code for place, code in enumerate(codes) if place + 1 == len(codes) or codes[place + 1] != code + 1]
    return "".join(f"\\x{{{start:x}}}-\\x{{{end:x}}}" for start, end in zip(starts, ends, strict=True))


def _overrides(low: str, latin: str) -> bool:
    return bool(_OVERRIDE.search(latin) or _ADDRESS.search(latin)) or any(
        pattern.search(low) for _, pattern in _ELSEWHERE
    )


def _plain(text: str) -> str:
    """*text* in lower case, its wide and joined signs as plain ones."""
    if text.isascii():
        return text.lower()
    text = _JOINERS.sub("", text)
    return (text if unicodedata.is_normalized("NFKC", text) else _normal(text)).lower()


def _latin(low: str) -> str:
    """*low* with the letters that its signs look like."""
    return low.translate(_STANDS_FOR) if _MAY_STAND_IN.search(low) else low
