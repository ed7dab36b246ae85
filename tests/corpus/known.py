"""Pages of `../shared/data/sample_corpus` with their known text, and how near to it an extracted one comes."""

from __future__ import annotations

import gzip
import json
from collections import Counter

from warcio.archiveiterator import ArchiveIterator

from personalake.corpus.extract import decode
from tests.conftest import SHARED


def f1(truth: str, text: str) -> float:
    """By character 5-grams, white space left out."""
    grams = [Counter(s[n : n + 5] for n in range(len(s) - 4)) for s in ("".join(truth.split()), "".join(text.split()))]
    shared = sum((grams[0] & grams[1]).values())
    return 2 * shared / max(1, sum(map(Counter.total, grams)))


def known_pages() -> dict[str, list[tuple[str, str]]]:
    """HTML and its known text: articles alone, and whole pages with what their sites put around them."""
    with gzip.open(SHARED / "sample_corpus" / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row.get("text")]
    texts = {row["url"]: row["text"] for row in rows}
    with (SHARED / "sample_corpus" / "sample.warc.gz").open("rb") as stream:
        whole = [
            (decode(record.raw_stream.read()), texts[url])
            for record in ArchiveIterator(stream)
            if record.rec_type == "response" and (url := record.rec_headers.get_header("WARC-Target-URI")) in texts
        ]
    return {"articles": [(row["html"], row["text"]) for row in rows if row.get("html")], "site_pages": whole}
