"""Files of requests as the Batch API takes them, and vLLM's `run_batch`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

URL = "/v1/chat/completions"


class Row(NamedTuple):
    """A request to hand in; `body` is the JSON of `/chat/completions`, `worst_microusd` what it may cost at most."""

    request_key: str
    stage: str
    body: str
    worst_microusd: int = 0


class Cut(NamedTuple):
    """The most that one file may hold; the provider's own limits are 50,000 requests and 200 MB."""

    rows: int = 50_000
    size: int = 200_000_000


@dataclass
class BatchFile:
    """A file of requests, one line each, in the order of `keys`."""

    path: Path
    stage: str
    model: str
    keys: dict[str, None] = field(default_factory=dict)
    size: int = 0
    worst_microusd: int = 0
    digest: str = ""


def write_files(rows: Iterable[Row], folder: Path, cut: Cut = Cut()) -> Iterator[BatchFile]:  # noqa: B008 (immutable)
    """Write *rows* as JSONL files into *folder*, each of one stage and one model; yields each as it is full.

    The files are what the Batch API takes, and what vLLM's `run_batch` takes. A key that comes again in one file is
    left out there.
    """
    opened: dict[tuple[str, str], tuple[BatchFile, BinaryIO]] = {}
    count = 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for row in rows:
            model, line = _line(row)
            file, stream = opened.get((row.stage, model), (None, None))
            if file and stream and (len(file.keys) >= cut.rows or file.size + len(line) > cut.size):
                del opened[row.stage, model]
                yield _closed(file, stream)
                file = None
            if file is None or stream is None:
                file = BatchFile(folder / f"requests-{count:05d}.jsonl", row.stage, model)
                stream = file.path.open("wb")
                opened[row.stage, model], count = (file, stream), count + 1
            if row.request_key not in file.keys:
                stream.write(line)
                file.keys[row.request_key] = None
                file.size += len(line)
                file.worst_microusd += row.worst_microusd
        for key in sorted(opened):
            yield _closed(*opened.pop(key))
    finally:
        for _, stream in opened.values():
            stream.close()


def _line(row: Row) -> tuple[str, bytes]:
    body = json.loads(row.body)
    # As it is, so that the provider gets the very text whose hash is the key; but a line is a line.
    text = json.dumps(body) if "\n" in row.body or "\r" in row.body else row.body
    head = json.dumps({"custom_id": row.request_key, "method": "POST", "url": URL})
    return str(body.get("model")), f'{head[:-1]}, "body": {text}}}\n'.encode("utf-8", "replace")


def _closed(file: BatchFile, stream: BinaryIO) -> BatchFile:
    stream.close()
    with file.path.open("rb") as content:
        digest = hashlib.sha256()
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    file.digest = digest.hexdigest()
    return file
