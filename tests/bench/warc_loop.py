"""The bare loop that an ingest is measured by: fastwarc, resiliparse, py3langid, one process, nothing kept.

`python warc_loop.py FILE...` prints the seconds and the pages as JSON. This file imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time

from fastwarc.warc import ArchiveIterator, WarcRecordType
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding

if __name__ == "__main__":
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    began, pages, size = time.perf_counter(), 0, 0
    for path in sys.argv[1:]:
        with open(path, "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                body = record.reader.read()
                size += len(body)
                if "html" not in (record.http_content_type or ""):
                    continue
                text = extract_plain_text(body.decode(detect_encoding(body), "replace"), main_content=True)
                identifier.classify(text[:1_000])
                pages += 1
    print(json.dumps({"seconds": time.perf_counter() - began, "pages": pages, "bytes": size}))  # noqa: T201 (its output)
