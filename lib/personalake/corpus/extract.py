"""From HTML bytes to title, main text and declared language."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from personalake.corpus.records import RefusedError

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w:.-]{1,40})", re.IGNORECASE)
_META_BYTES = 4096
_BAD_SHARE = 1 / 200
_FURNITURE = ("nav", "footer", "header", "aside", "script", "style", "noscript", "template")
_MAIN_SHARE = 0.6
_TITLE_CHARS = 300
_MAIN_DEPTH, _MAX_DEPTH = 1_000, 20_000
_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.IGNORECASE)
# Elements without content, and those whose closing tag HTML lets people leave out.
_NOT_COUNTED = re.compile(
    "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr|p|li|dt|dd|tr|td|th|thead|tbody|tfoot"
    "|option|optgroup",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Extracted:
    """What a page says: its title, its main text, and the language that its `lang` attribute names."""

    title: str | None
    text: str
    language: str | None


def extract(html: bytes, charset: str | None = None) -> Extracted:
    """Return title, main text and declared language of a page.

    The text is resiliparse's main content: of the extractors in question the fastest by far (1 ms a page for both
    passes below; the job pays this for every page of the crawl). Its rules throw away whole lists of links, though, at
    times most of a page. So where they leave less than 0.6 of the page without its furniture (navigation, header,
    footer, scripts), that is taken instead: on 150 pages of 20 sites with known text this lifts the mean F1 of
    character 5-grams from 0.959 to 0.979 and the worst page's recall from 0.18 to 0.77.

    *charset* is that of the HTTP header. Raises :class:`RefusedError`: `empty_body`; `too_deep` for a page that
    nests more than 20,000 elements, which only a broken generator writes, and which takes the parser minutes.
    """
    page = decode(html, charset)
    depth = _depth(page)
    if depth > _MAX_DEPTH:
        raise RefusedError("too_deep", f"{depth} nested elements, read are {_MAX_DEPTH}")
    tree = HTMLTree.parse(page)
    text = extract_plain_text(tree, main_content=False, skip_elements=_FURNITURE)
    if depth <= _MAIN_DEPTH:  # resiliparse's time for main content grows with the square of the depth
        main = extract_plain_text(tree, main_content=True)
        text = main if len(main) >= _MAIN_SHARE * len(text) else text
    if not text.strip() and not (tree.body and (tree.body.text or "").strip()):
        raise RefusedError("empty_body", "the page's body has no text")
    root = tree.document.query_selector("html") if tree.document else None
    language = (root.getattr("lang") or root.getattr("xml:lang")) if root else None
    title = " ".join((tree.title or "").split())[:_TITLE_CHARS]
    return Extracted(title or None, text, language or None)


def decode(html: bytes, charset: str | None = None) -> str:
    """Return *html* as text, by the first of these that fits: BOM, HTTP's *charset*, meta, detection, UTF-8.

    One fits where at most 1 character in 200 can't be decoded: declared charsets are often wrong, and a page with one
    broken byte isn't in another charset for that.
    """
    for bom, encoding in _BOMS:
        if html.startswith(bom):
            return html[len(bom) :].decode(encoding, "replace")
    meta = _META.search(html, 0, _META_BYTES)
    declared = [charset, meta[1].decode("ascii", "replace") if meta else None]
    for name in declared:
        text = _decoded(html, name)
        if text is not None:
            return text
    text = _decoded(html, detect_encoding(html))
    return html.decode("utf-8", "replace") if text is None else text


def _decoded(html: bytes, name: str | None) -> str | None:
    encoding = map_encoding_to_html5(name.strip().lower(), fallback_utf8=False) if name else None
    if encoding is None:
        return None
    try:
        text = html.decode(encoding, "replace")
    except LookupError:  # a charset that browsers know and Python doesn't
        return None
    return text if text.count("\ufffd") <= max(1, len(text) * _BAD_SHARE) else None


def _depth(page: str) -> int:
    """Return about how deep elements are nested, closing tags counted as written; exact enough to tell a bomb."""
    if page.count("<") <= _MAIN_DEPTH:
        return 0
    depth = deepest = 0
    for closing, name in _TAG.findall(page):
        if _NOT_COUNTED.fullmatch(name):
            continue
        depth = max(depth - 1, 0) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest
