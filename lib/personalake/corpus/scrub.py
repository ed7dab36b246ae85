"""Takes out of a text what points at one person or opens a door: addresses, numbers, keys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection

import phonenumbers

_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?\b")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?![\w:])")
_CUE = re.compile(
    r"\b(?:tel|tél|téléphone|telefon|telefono|teléfono|telefone|phone|mobile?|cell|call|fax|whatsapp)\b[^\n\d]{0,15}$",
    re.IGNORECASE,
)
_CUE_CHARS = 30
_NUMBER = re.compile(r"\d[\d ().\-/]{5,20}\d")
# What each of these must contain, and what is searched for much faster.
_LIKE_IBAN = re.compile(r"[A-Z]{2}\d\d ?[A-Z\d]{4}")
_LIKE_IPV4 = re.compile(r"\.\d{1,3}\.\d")
_LIKE_IPV6 = re.compile(r"::|:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
_LEAST_DIGITS, _MOST_DIGITS = 7, 15
# Each begins with letters that plain text seldom has: that they aren't there at all is found out in no time.
_KEYS = {
    "AKIA": r"AKIA[0-9A-Z]{16}",
    "ASIA": r"ASIA[0-9A-Z]{16}",
    "AIza": r"AIza[\w-]{35}",
    "sk-": r"sk-[\w-]{20,200}",
    "sk_live_": r"sk_live_\w{16,100}",
    "rk_live_": r"rk_live_\w{16,100}",
    "xox": r"xox[abeoprs]-[\w-]{10,200}",
    "ghp_": r"ghp_\w{36,255}",
    "gho_": r"gho_\w{36,255}",
    "ghs_": r"ghs_\w{36,255}",
    "github_pat_": r"github_pat_\w{22,255}",
    "glpat-": r"glpat-[\w-]{20,100}",
    "hf_": r"hf_[A-Za-z]{30,60}",
    "npm_": r"npm_[A-Za-z0-9]{36}",
    "eyJ": r"eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}",
    "PRIVATE KEY-----": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{1,8000}?(?:-----END [A-Z ]{0,30}KEY-----|\Z)",
}
_KEY_PATTERNS = {start: re.compile(rf"(?<!\w){pattern}", re.DOTALL) for start, pattern in _KEYS.items()}
_PLUS_DIGIT = re.compile(r"\+ ?\(?\d")


def scrub(text: str, what: Collection[str]) -> tuple[str, int]:
    """Return *text* with a mark such as `<EMAIL>` for each thing of the kinds *what*, and how many these were.

    Only what can be told for sure is taken: keys by the shapes that their makers gave them, IBANs by their checksum,
    IP addresses that are public ones, phone numbers that are international ones (by the `phonenumbers` library, which
    knows every country's) or stand behind a word such as `tel`. Names and postal addresses stay: telling them takes a
    model.
    """
    count = 0
    for kind, find in _FINDERS.items():
        if kind in what:
            spans = find(text)
            count += len(spans)
            for start, end in reversed(spans):
                text = f"{text[:start]}<{kind.upper()}>{text[end:]}"
    return text, count


def _keys(text: str) -> list[tuple[int, int]]:
    spans = [
        match.span() for start, pattern in _KEY_PATTERNS.items() if start in text for match in pattern.finditer(text)
    ]
    return _apart(spans)


def _emails(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _EMAIL.finditer(text)] if "@" in text else []


def _ibans(text: str) -> list[tuple[int, int]]:
    if not _LIKE_IBAN.search(text):
        return []
    return [match.span() for match in _IBAN.finditer(text) if _is_iban(match[0])]


def _is_iban(text: str) -> bool:
    """By ISO 13616's checksum: the number that it spells is 1 modulo 97."""
    plain = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _ips(text: str) -> list[tuple[int, int]]:
    found = list(_IPV4.finditer(text)) if _LIKE_IPV4.search(text) else []
    if _LIKE_IPV6.search(text):
        found += _IPV6.finditer(text)
    return _apart([match.span() for match in found if _is_public(match[0])])


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _phones(text: str) -> list[tuple[int, int]]:
    spans = [
        match.span()
        for match in _NUMBER.finditer(text)
        if _LEAST_DIGITS <= sum(map(str.isdigit, match[0])) <= _MOST_DIGITS
        and _CUE.search(text[max(0, match.start() - _CUE_CHARS) : match.start()])
    ]
    if _PLUS_DIGIT.search(text):
        spans += [(match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(text, None)]
    return _apart(spans)


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """*spans* in their order, without those that begin within another."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


_FINDERS: dict[str, Callable[[str], list[tuple[int, int]]]] = {
    "key": _keys,
    "email": _emails,
    "iban": _ibans,
    "ip": _ips,
    "phone": _phones,
}
