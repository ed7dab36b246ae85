"""Main text out of HTML by other extractors: `python extractors.py TOOL PAGES.jsonl OUT.json`.

PAGES has `html` a line; OUT gets the texts and the seconds that the second pass over all of them took. This file
imports nothing of ours: it runs in environments without this project.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def _resiliparse() -> Callable[[str], str]:
    from resiliparse.extract.html2text import extract_plain_text  # noqa: PLC0415 (only there where it is installed)

    return lambda html: str(extract_plain_text(html, main_content=True))


def _trafilatura() -> Callable[[str], str]:
    from trafilatura import extract  # noqa: PLC0415 (as above)

    return lambda html: extract(html, favor_recall=True, include_comments=False) or ""


def _justext() -> Callable[[str], str]:
    import justext  # noqa: PLC0415 (as above)

    words = justext.get_stoplist("English")
    return lambda html: "\n".join(p.text for p in justext.justext(html.encode(), words) if not p.is_boilerplate)


def _readability() -> Callable[[str], str]:
    from lxml.html import fromstring  # noqa: PLC0415 (as above)
    from readability import Document  # noqa: PLC0415 (as above)

    return lambda html: str(fromstring(Document(html).summary()).text_content())


TOOLS = {"resiliparse": _resiliparse, "trafilatura": _trafilatura, "justext": _justext, "readability": _readability}


def _text(extract: Callable[[str], str], html: str) -> str:
    try:
        return extract(html)
    except Exception:
        return ""


if __name__ == "__main__":
    tool, source, out = sys.argv[1:]
    with open(source, encoding="utf-8") as lines:
        pages = [json.loads(line)["html"] for line in lines]
    chosen = TOOLS[tool]()
    for page in pages[:20]:
        _text(chosen, page)
    began = time.process_time()
    texts = [_text(chosen, page) for page in pages]
    seconds = time.process_time() - began
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"texts": texts, "seconds": seconds}, file)
