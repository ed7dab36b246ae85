"""One Markdown page in the shapes in which a crawl meets it: HTML of a site, plain text, a PDF sheet."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).resolve().parent
SITES: dict[str, dict[str, Any]] = json.loads((HERE / "sites.json").read_text("utf-8"))
LAYOUTS = {path.stem: Template(path.read_text("utf-8")) for path in (HERE / "layouts").glob("*.html")}
RELATED = 3


@dataclass(frozen=True)
class Page:
    """A page as its author wrote it; `body` is Markdown of headings, lists, quotes and paragraphs."""

    slug: str
    title: str
    subject: str
    language: str
    url: str
    licence: str
    body: str

    @property
    def host(self) -> str:
        """The server that the page comes from."""
        return self.url.split("/")[2]


def read_page(path: Path, folder: Path) -> Page:
    """The page in a file `<folder>/<language>/<name>.md`: `key: value` lines between `---`, then the body.

    The title alone is quoted (a JSON string, so that YAML readers take it, too).
    """
    _, front, body = path.read_text("utf-8").split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    fields["title"] = json.loads(fields["title"])
    return Page(slug=path.relative_to(folder).with_suffix("").as_posix(), body=body.strip(), **fields)


def as_text(page: Page) -> str:
    """Title and body without markup."""
    lines = [re.sub(r"^(#+|>) ", "", line) for line in page.body.splitlines()]
    return page.title + "\n\n" + re.sub(r"\*\*|`|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)", "", "\n".join(lines))


def as_html(page: Page, pages: list[Page], charset: str) -> str:
    """The page within its site's header, menu, links to other pages of the site, and footer."""
    site, labels = SITES["sites"][page.host], SITES["labels"][page.language]
    others = [other for other in pages if other.host == page.host and other.url != page.url][:RELATED]
    menu = [f'<li><a href="/{number}/">{html.escape(item)}</a></li>' for number, item in enumerate(site["nav"])]
    return LAYOUTS[site["layout"]].substitute(
        {key: html.escape(value) for key, value in labels.items()},
        language=page.language,
        charset=charset,
        title=html.escape(page.title, quote=False),
        name=html.escape(site["name"], quote=False),
        tagline=html.escape(site["tagline"], quote=False),
        nav="".join(menu),
        related="".join(f'<li><a href="{other.url}">{html.escape(other.title)}</a></li>' for other in others),
        body="\n".join(map(_block, page.body.split("\n\n"))),
    )


def bare_html(title: str, body: str) -> str:
    """An HTML page without a site around it."""
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>\n"


def as_pdf() -> bytes:
    """One sheet with a line of text, a whole PDF file."""
    stream = b"BT /F1 14 Tf 72 720 Td (Ranks and files: a handout to cut out) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    return data + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, data.index(b"xref\n0"))


def _block(block: str) -> str:
    lines = block.splitlines()
    if block.startswith("## "):
        return f"<h2>{_inline(block[3:])}</h2>"
    if block.startswith("> "):
        return "<blockquote><p>" + _inline(" ".join(line.removeprefix("> ") for line in lines)) + "</p></blockquote>"
    for tag, marker in (("ul", r"- "), ("ol", r"\d+\. ")):
        if all(re.match(marker, line) for line in lines):
            items = "\n".join(f"<li>{_inline(re.sub('^' + marker, '', line))}</li>" for line in lines)
            return f"<{tag}>\n{items}\n</{tag}>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _inline(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)
