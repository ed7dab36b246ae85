"""What a page says about its use: that nobody may mine it, and under which licence it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping

_HEAD_BYTES = 1 << 16
_META = re.compile(rb"<meta\b[^>]{0,400}>", re.IGNORECASE)
_NAME = re.compile(rb"\bname\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
_CONTENT = re.compile(rb"\bcontent\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", re.IGNORECASE)
_NOAI = re.compile(r"(?<![\w-])noai(?![\w-])", re.IGNORECASE)
_LICENCE_LINK = re.compile(
    rb"<(?:a|link)\b(?=[^>]{0,500}\brel\s*=\s*[\"']?[^\"'>]{0,80}\blicen[sc]e\b)"
    rb"[^>]{0,500}\bhref\s*=\s*[\"']?([^\s\"'>]{1,300})",
    re.IGNORECASE,
)
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)|publicdomain/(zero))/(\d\.\d)", re.IGNORECASE
)


def opted_out(headers: Mapping[str, str], html: bytes) -> str | None:
    """How a page says that nobody may mine it, null where it doesn't.

    `noai` in `X-Robots-Tag` or in a robots meta element; a TDM reservation (W3C community group, 2024) in the header
    `tdm-reservation` or the meta element of that name. *headers* have lower-case names.
    """
    if _NOAI.search(headers.get("x-robots-tag", "")):
        return "X-Robots-Tag says noai"
    if headers.get("tdm-reservation", "").strip() == "1":
        return "the header tdm-reservation is 1"
    head = html[:_HEAD_BYTES].lower()
    if b"noai" not in head and b"tdm-reservation" not in head:
        return None
    for element in _META.findall(head):
        name, content = _NAME.search(element), _CONTENT.search(element)
        if not name or not content:
            continue
        said = next((value for value in content.groups() if value is not None), b"").decode("utf-8", "replace")
        if name[1] == b"tdm-reservation" and said.strip() == "1":
            return "a meta element reserves text and data mining"
        if name[1] != b"tdm-reservation" and _NOAI.search(said):
            return f"a meta element {name[1].decode()} says noai"
    return None


def licence_of(html: bytes) -> str | None:
    """The licence (SPDX) that a page names in a link of `rel=license`; null for none, or one that isn't known."""
    if b"creativecommons.org" not in html:
        return None
    for link in _LICENCE_LINK.finditer(html):
        found = _CREATIVE_COMMONS.search(link[1].decode("utf-8", "replace"))
        if found:
            kind, zero, version = found.groups()
            return f"CC0-{version}" if zero else f"CC-{kind.upper()}-{version}"
    return None
