"""Reading a corpus: beside a bare loop with the same libraries, in growing numbers, and extractors side by side."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from personalake.corpus.extract import extract
from tests.bench.personas import VOCABULARY, words
from tests.bench.results import Result
from tests.conftest import ROOT, SHARED
from tests.corpus.known import f1, known_pages

pytestmark = pytest.mark.bench

_COMMAND = "make bench ARGS='-k corpus'"
_HERE = Path(__file__).parent
_NO_EXTRAS = ("dedup.page_threshold=null",)
"""What a bare loop has nothing to set beside: near-copies of pages."""

needs_sample = pytest.mark.skipif(
    not (SHARED / "sample_corpus").is_dir(), reason="../shared/data/sample_corpus is not there"
)


def ingest(out: Path, *settings: str) -> dict[str, Any]:
    """What the stage says of itself, in a process of its own."""
    command = [
        sys.executable, "-m", "personalake.cli", "ingest", "--config", str(ROOT / "conf" / "local.yaml"), "--json",
        "--set", f"store.path={out}", *settings,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (stage,) = (stage for stage in json.loads(done.stdout)["stages"] if stage["stage"] == "ingest")
    return dict(stage)


def copies(folder: Path, files: int, per_file: int) -> list[str]:
    """So many files of so many copies of the sample's responses each, every page with a sentence of its own."""
    with (SHARED / "sample_corpus" / "sample.warc.gz").open("rb") as stream:
        records = [
            (
                record.rec_headers.get_header("WARC-Target-URI"),
                record.http_headers.to_ascii_bytes(),
                record.raw_stream.read(),
            )
            for record in ArchiveIterator(stream, no_record_parse=False)
            if record.rec_type == "response"
        ]
    folder.mkdir()
    for n in range(files):
        with (folder / f"{n:04}.warc.gz").open("wb") as out:
            for copy in range(per_file):
                for url, head, body in records:
                    own = f"<p>This is copy {copy} of file {n}, and no other page says so.</p></body>".encode()
                    page = re.sub(rb"</body>", own, body, count=1)
                    whole = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(page), head) + page
                    text = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}?{n}-{copy}\r\n"
                    text += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(whole)}\r\n\r\n"
                    out.write(gzip.compress(text.encode() + whole + b"\r\n\r\n", 6))
    return [str(path) for path in sorted(folder.iterdir())]


@needs_sample
def test_ingest_of_a_corpus_beside_a_bare_loop(tmp_path: Path) -> None:
    rates = []
    for files in (8, 80):
        paths = copies(tmp_path / f"in-{files}", files, 5)
        told = subprocess.run(
            [sys.executable, str(_HERE / "warc_loop.py"), *paths], capture_output=True, text=True, check=True
        ).stdout
        bare = json.loads(told)
        bare_rate = bare["pages"] / bare["seconds"]
        for name, more in (("", _NO_EXTRAS), ("_with_near_copies", ())):
            stage = ingest(tmp_path / f"lake-{files}{name}", f"corpus.paths=[{tmp_path / f'in-{files}'}]", *more)
            rate = bare["pages"] / stage["seconds"] / 2
            Result(
                name=f"corpus_warc_{files}_files{name}",
                value=rate,
                unit="pages a second and core, from WARC into Delta",
                compared_with="fastwarc, resiliparse and py3langid in one process, keeping nothing",
                compared_value=bare_rate,
                goal="at least 0.8 of the bare loop's" if not name else "named beside it",
                command=_COMMAND,
                detail={"pages": bare["pages"], "seconds": stage["seconds"], "mib": bare["bytes"] / (1 << 20)},
            ).keep()
            rates += [rate] if not name else []
    Result(
        name="corpus_warc_growth",
        value=rates[1],
        unit="pages a second and core, with ten times the files",
        compared_with="before",
        compared_value=rates[0],
        goal="flat",
        command=_COMMAND,
    ).keep()


def pages(rows: int, seed: int = 3) -> Iterator[pa.RecordBatch]:
    """Batches of pages of some 120 words by Zipf's law, with their address and language."""
    vocabulary, drawn = np.array(words(), dtype=object), np.random.default_rng(seed)
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    weights /= weights[-1]
    for first in range(0, rows, 20_000):
        count = min(20_000, rows - first)
        drawn_words = vocabulary[np.searchsorted(weights, drawn.random((count, 120)))]
        texts = [" ".join(row) for row in drawn_words]
        urls = [f"https://site{n % 5_000}.example/page/{n}" for n in range(first, first + count)]
        yield pa.RecordBatch.from_arrays(
            [pa.array(texts), pa.array(urls), pa.array(["en"] * count)], ["text", "url", "language"]
        )


def test_ingest_of_corpus_tables_grows_in_step(tmp_path: Path) -> None:
    most = int(os.environ.get("MOST", "10000000"))
    seconds = {}
    for size in [size for size in (100_000, 1_000_000, 10_000_000) if size <= most]:
        path = tmp_path / f"{size}.parquet"
        batches = pages(size)
        head = next(batches)
        with pq.ParquetWriter(path, head.schema, compression="zstd") as writer:
            for batch in (head, *batches):
                writer.write_batch(batch, row_group_size=20_000)
        memory = "spark={spark.driver.memory: 5g}"
        seconds[size] = ingest(tmp_path / f"lake-{size}", f"corpus.paths=[{path}]", memory, *_NO_EXTRAS)["seconds"]
    (_, less), (size, more) = list(seconds.items())[-2:]
    Result(
        name="corpus_tables_growth",
        value=math.log10(more / less),
        unit=f"exponent of time up to {size:,} rows of Parquet",
        compared_with="linear",
        compared_value=1.0,
        goal="at most 1.05, with 8 GB for the driver and its two tasks",
        command=_COMMAND,
        detail={f"seconds_{n}": each for n, each in seconds.items()},
    ).keep()


@needs_sample
def test_extractors_of_corpus_pages_side_by_side(tmp_path: Path) -> None:
    import time  # noqa: PLC0415 (for ours alone)

    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = ["trafilatura", "resiliparse", "justext", "readability-lxml", "lxml_html_clean"]
    # The pip of older Pythons trips over an extra of lxml's that has two spellings.
    for command in (["-U", "pip"], packages):
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", *command], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the extractors don't install here: {done.stderr.decode().strip().splitlines()[-1]}")
    for kind, pages in known_pages().items():
        source = tmp_path / f"{kind}.jsonl"
        source.write_text("".join(json.dumps({"html": html}) + "\n" for html, _ in pages))
        found = {}
        for tool in ("resiliparse", "trafilatura", "justext", "readability"):
            out = tmp_path / f"{tool}.json"
            subprocess.run([str(python), str(_HERE / "extractors.py"), tool, str(source), str(out)], check=True)
            told = json.loads(out.read_text())
            found[tool] = (told["texts"], told["seconds"])
        began = time.process_time()
        found["ours"] = ([extract(html.encode(), "utf-8").text for html, _ in pages], time.process_time() - began)
        scores = {
            tool: sum(f1(known, text) for (_, known), text in zip(pages, texts, strict=True)) / len(pages)
            for tool, (texts, _) in found.items()
        }
        Result(
            name=f"corpus_extraction_f1_{kind}",
            value=scores["ours"],
            unit=f"mean F1 of character 5-grams on {len(pages)} pages",
            compared_with="the best of the others",
            compared_value=max(score for tool, score in scores.items() if tool != "ours"),
            goal="no more than 0.01 below",
            command=_COMMAND,
            detail=scores,
        ).keep()
        rates = {tool: len(pages) / seconds for tool, (_, seconds) in found.items()}
        Result(
            name=f"corpus_extraction_speed_{kind}",
            value=rates["ours"],
            unit="pages a second",
            compared_with="the fastest of the others",
            compared_value=max(rate for tool, rate in rates.items() if tool != "ours"),
            goal="at least half",
            command=_COMMAND,
            detail=rates,
        ).keep()
