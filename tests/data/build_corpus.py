"""Write the bundled corpus (WARC, WET, JSONL and their manifest) from the Markdown pages beside this file.

Needs the standard library only. The same pages always give the same records: ids, dates and digests come from the
pages, never from the clock. `python -m tests.data.build_corpus [FOLDER]`, from the project's root, writes `corpus/` and
`corpus_manifest.jsonl` into FOLDER, by default beside this file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.data.page_formats import Page, as_html, as_pdf, as_text, bare_html, read_page
from tests.data.warc_bytes import Capture, Warc, gzip_member

HERE = Path(__file__).resolve().parent
CRAWL, WET, JSONL, CUT = "crawl.warc.gz", "text.warc.wet.gz", "pages.jsonl", "cut.warc.gz"
ROOM = {CRAWL: 25, WET: 17, JSONL: 19, CUT: 3}
ISO_639_3 = {"en": "eng", "es": "spa", "de": "deu", "fr": "fra"}

EXACT_COPIES = {
    "en/rook-endgames": "http://www.lectures.example.org/chess/two-rook-endings",
    "en/flaky-on-tuesdays": "https://www.example.com/engineering/the-test-that-failed-on-tuesdays?utm_source=digest",
    "fr/tournee-du-matin": "https://carnet.example.org/amp/soins/tournee-du-matin",
}
NEAR_COPIES = {
    "en/rye-sour": (
        "https://digest.example.net/2025/10/rye-for-people-who-work-days",
        "It makes two tins of 900 g.",
        "It fills two loaf tins of just under a kilo each.",
    ),
    "en/slow-leak-claims": (
        "https://digest.example.net/2025/10/burst-pipe-or-slow-leak",
        "I look at about four hundred wet floors a year.",
        "Some four hundred wet floors pass under my boots in a year.",
    ),
    "es/interprete-en-sala": (
        "https://mirror.example.com/es/entrevista-interprete-judicial",
        "La semana pasada esperé cinco horas para decir once palabras.",
        "El martes esperé cinco horas y dije once palabras.",
    ),
}
# Header and meta for the first, as a careful server does; meta only for the second, as many do.
CHARSETS = {"de/orgel-im-winter": "iso-8859-1", "fr/indivision-et-toiture": "windows-1252"}
TEXT_COPY = ("en/cabin-solar", "https://mirror.example.com/en/sizing-a-battery-for-a-forest-cabin")
CUT_SHORT = "en/soil-pit-seven"
PLACED: dict[str, list[str]] = {
    CRAWL: [*EXACT_COPIES, *NEAR_COPIES, *CHARSETS, CUT_SHORT],
    JSONL: [TEXT_COPY[0]],
    CUT: ["de/faden-statt-leim", "en/brigade-debrief", "es/riego-del-olivar"],
}


@dataclass(frozen=True)
class Line:
    """One line of the JSONL file, and what it is."""

    kind: str
    url: str | None
    text: str
    page: Page | None = None
    note: str | None = None


def read_pages(folder: Path) -> list[Page]:
    """All pages, in an order that mixes languages and subjects."""
    pages = [read_page(path, folder) for path in folder.glob("*/*.md")]
    return sorted(pages, key=lambda page: hashlib.sha256(page.slug.encode()).hexdigest())


def deal(pages: list[Page]) -> dict[str, list[Page]]:
    """Each page to exactly one file: the placed ones first, the others in turn while there is room."""
    by_slug = {page.slug: page for page in pages}
    dealt = {file: [by_slug.pop(slug) for slug in PLACED.get(file, [])] for file in ROOM}
    turns = itertools.cycle(ROOM)
    for page in [page for page in pages if page.slug in by_slug]:
        file = next(name for name in turns if len(dealt[name]) < ROOM[name])
        dealt[file].append(page)
    return dealt


def html_capture(page: Page, pages: list[Page], url: str | None = None) -> Capture:
    """A page as its server sends it."""
    charset = CHARSETS.get(page.slug, "utf-8")
    header = "text/html" if charset == "windows-1252" else f"text/html; charset={charset}"
    return Capture(url or page.url, as_html(page, pages, charset).encode(charset), header)


def copies(pages: list[Page]) -> Iterator[tuple[str, Capture, Page, str]]:
    """Kind, capture, page and the copied URL of each copy in the crawl."""
    by_slug = {page.slug: page for page in pages}
    for slug, url in EXACT_COPIES.items():
        page = by_slug[slug]
        yield "exact_copy", html_capture(page, pages, url), page, page.url
    for slug, (url, old, new) in NEAR_COPIES.items():
        page = by_slug[slug]
        if old not in page.body:
            raise ValueError(f"{slug}: the sentence that its near copy changes is gone: {old!r}; edit NEAR_COPIES")
        copy = replace(page, url=url, body=page.body.replace(old, new))
        yield "near_copy", html_capture(copy, pages), copy, page.url


def faulty() -> Iterator[tuple[str, Capture, str]]:
    """Kind, capture and HTTP status of responses that hold no page."""
    for path, text in (("moved", "This page has moved to the new site."), ("tag/misc", "No entries here yet.")):
        body = bare_html(path, f"<p>{text}</p>").encode()
        yield "very_short", Capture(f"https://www.example.com/{path}", body), "200 OK"
    yield "empty", Capture("https://forum.example.net/status", b""), "200 OK"
    yield "empty", Capture("https://forum.example.net/blank", bare_html("", "").encode()), "200 OK"
    sheet = Capture("https://lectures.example.org/handouts/rank-and-file.pdf", as_pdf(), "application/pdf")
    yield "non_html", sheet, "200 OK"
    gone = (
        "<h1>404: nothing at this address</h1><p>The log that you are looking for was taken down by its author, or "
        "never stood here. Try the contents page, or ask the volunteers at the front desk, who have kept paper copies "
        "of nearly everything since the first winter and like being asked. If a link on this site brought you here, "
        "tell them, too: they go through the broken ones on the first Monday of each month.</p>"
    )
    missing = Capture("https://fieldnotes.example.org/log/2019/lost", bare_html("Not found", gone).encode())
    yield "not_found", missing, "404 Not Found"


def crawl(pages: list[Page], everything: list[Page]) -> Warc:
    """Responses of a crawl, whose odd records lie between its good ones."""
    warc = Warc(CRAWL)
    warc.info("personalake bundled corpus: pages of a crawl that never happened")
    odd: list[Callable[[], None]] = [
        *(partial(warc.response, kind, capture, page, of=of) for kind, capture, page, of in copies(everything)),
        *(partial(warc.response, kind, capture, status=status) for kind, capture, status in faulty()),
        partial(warc.request, pages[0]),
        partial(warc.metadata, pages[0]),
    ]
    for number, page in enumerate(pages):
        warc.response("page", html_capture(page, everything), page)
        if number >= len(PLACED[CRAWL]) and odd:  # a copy comes after what it copies
            odd.pop(0)()
    for add in odd:
        add()
    return warc


def wet(pages: list[Page], copied: Page) -> Warc:
    """Plain text of pages as conversion records, the last but one a copy of a JSONL page."""
    warc = Warc(WET)
    warc.info("personalake bundled corpus: text of pages")
    for page in pages[:-1]:
        warc.conversion("page", page, as_text(page), ISO_639_3[page.language])
    again = replace(copied, url=TEXT_COPY[1])
    warc.conversion("exact_copy", again, as_text(copied), ISO_639_3[copied.language], of=copied.url)
    warc.conversion("page", pages[-1], as_text(pages[-1]), ISO_639_3[pages[-1].language])
    return warc


def page_line(page: Page) -> Line:
    """A page as a line of the JSONL file."""
    row = {"url": page.url, "title": page.title, "text": as_text(page), "language": page.language}
    row |= {"licence": page.licence, "subject": page.subject}
    return Line("page", page.url, json.dumps(row, ensure_ascii=False), page)


def line_row(ordinal: int, line: Line) -> dict[str, object]:
    """The manifest row of a line."""
    row: dict[str, object] = {"file": JSONL, "ordinal": ordinal, "url": line.url, "kind": line.kind}
    if line.page is None:
        return row | {"language": None, "subject": None, "note": line.note}
    return row | {"language": line.page.language, "subject": line.page.subject, "page": line.page.slug}


def json_lines(pages: list[Page]) -> list[Line]:
    """Lines of good pages, with four bad ones among them."""
    base = "https://digest.example.net/broken/"
    untold = {"url": base + "untold", "title": "Untold"}
    mute = {"url": base + "mute", "title": "Mute", "text": ""}
    bad = [
        Line("bad_line", None, '{"url": "' + base + 'half", "title": "The line ends in the mid', note="not_json"),
        Line("bad_line", untold["url"], json.dumps(untold), note="no_text"),
        Line("bad_line", mute["url"], json.dumps(mute), note="empty_text"),
        Line("bad_line", None, json.dumps([base + "list", "a list is no page"]), note="not_an_object"),
    ]
    lines = [page_line(page) for page in pages]
    for number, line in enumerate(bad, start=1):
        lines.insert(4 * number, line)
    return lines


def cut(pages: list[Page], lost: Page, everything: list[Page]) -> tuple[Warc, bytes]:
    """Whole records, then one whose gzip member stops halfway."""
    warc = Warc(CUT)
    for page in pages:
        warc.response("page", html_capture(page, everything), page)
    whole = b"".join(map(gzip_member, warc.records))
    warc.response("truncated", html_capture(lost, everything), lost, of=lost.url)
    member = gzip_member(warc.records[-1])
    return warc, whole + member[: len(member) // 2]


def build(target: Path) -> None:
    """Write `target/corpus/` and `target/corpus_manifest.jsonl`; `ordinal` counts records and lines from 0."""
    pages = read_pages(HERE / "pages")
    dealt = deal(pages)
    by_slug = {page.slug: page for page in pages}
    warcs = [crawl(dealt[CRAWL], pages), wet(dealt[WET], by_slug[TEXT_COPY[0]])]
    lines = json_lines(dealt[JSONL])
    cut_warc, cut_bytes = cut(dealt[CUT], by_slug[CUT_SHORT], pages)

    folder = target / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for warc in warcs:
        (folder / warc.file).write_bytes(b"".join(map(gzip_member, warc.records)))
    (folder / CUT).write_bytes(cut_bytes)
    (folder / JSONL).write_bytes("".join(line.text + "\n" for line in lines).encode())

    manifest = [row for warc in [*warcs, cut_warc] for row in warc.manifest]
    manifest += [line_row(ordinal, line) for ordinal, line in enumerate(lines)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in manifest)
    (target / "corpus_manifest.jsonl").write_bytes(text.encode())


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
