from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from personalake.errors import InputError
from personalake.synthesis.benchmark import read_benchmark
from tests.conftest import SHARED


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def items(path: str, columns: dict[str, str] | None = None) -> dict[str, str]:
    table = read_benchmark(path, columns).items
    return dict(zip(table.column("item_id").to_pylist(), table.column("text").to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("row", "item"),
    [
        ({"question": "How many?", "answer": "7"}, ("bench:1", "How many?")),
        ({"problem": "Find $x$.", "solution": "1", "level": "Level 5"}, ("bench:1", "Find $x$.")),
        ({"question": "Which?", "choices": ["this", "that"], "answer": 1}, ("bench:1", "Which?\nthis\nthat")),
        (
            {"id": "Mercury_7", "question": "Which?", "choices": {"text": ["up", "down"], "label": ["A", "B"]}},
            ("bench:Mercury_7", "Which?\nup\ndown"),
        ),
        ({"question": "What is 1 + 1?", "choices": [1, 2]}, ("bench:1", "What is 1 + 1?\n1\n2")),
        ({"key": 1000, "prompt": "Write.", "kwargs": [{}]}, ("bench:1000", "Write.")),
        ({"task_id": "HumanEval/0", "prompt": "def f():"}, ("bench:HumanEval/0", "def f():")),
        ({"question": "Open?", "choices": None}, ("bench:1", "Open?")),
    ],
)
def test_a_known_shape_needs_no_mapping(tmp_path: Path, row: dict[str, Any], item: tuple[str, str]) -> None:
    assert items(lines(tmp_path / "bench.jsonl", row)) == dict([item])


def test_a_mapping_names_the_columns_of_any_other(tmp_path: Path) -> None:
    path = lines(tmp_path / "hellaswag.val.jsonl", {"ind": 4, "ctx": "A man sits", "endings": ["and eats.", "up."]})
    assert items(path, {"text": "ctx+endings", "id": "ind"}) == {"hellaswag:4": "A man sits\nand eats.\nup."}


def test_parquet_and_packed_lines_are_read_like_lines(tmp_path: Path) -> None:
    rows = [{"question": "One?", "choices": ["a"]}, {"question": "Two?", "choices": ["b"]}]
    plain = lines(tmp_path / "bench.jsonl", *rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bench.parquet")
    (tmp_path / "bench.jsonl.gz").write_bytes(gzip.compress(Path(plain).read_bytes()))
    expected = {"bench:1": "One?\na", "bench:2": "Two?\nb"}
    assert all(items(str(tmp_path / name)) == expected for name in ("bench.jsonl", "bench.parquet", "bench.jsonl.gz"))


def test_the_frame_is_what_is_compared_with(spark: SparkSession, tmp_path: Path) -> None:
    benchmark = read_benchmark(lines(tmp_path / "b.jsonl", {"prompt": "Write."}))
    assert [tuple(row) for row in benchmark.frame(spark).select("item_id", "text").collect()] == [("b:1", "Write.")]


def test_the_hash_is_of_the_files_name_its_content_and_how_it_was_read(tmp_path: Path) -> None:
    row = {"question": "One?", "answer": "7"}
    first = lines(tmp_path / "a.jsonl", row)
    (tmp_path / "elsewhere").mkdir()
    same = lines(tmp_path / "elsewhere" / "a.jsonl", row)
    other = [lines(tmp_path / "b.jsonl", row), lines(tmp_path / "elsewhere" / "c.jsonl", row, {**row, "answer": "8"})]
    shas = [read_benchmark(path).sha for path in (first, *other)] + [read_benchmark(first, {"text": "answer"}).sha]
    assert read_benchmark(same).sha == shas[0]
    assert len(set(shas)) == 4


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [{"id": "a", "prompt": "x"}, {"id": "b", "prompt": "y"}, {"id": "a", "prompt": "z"}],
            None,
            "bench.jsonl, item 3: the id 'bench:a' is that of item 1, too "
            "(each item needs its own; another column may have it: {id: COLUMN})",
        ),
        (
            [{"query": "x", "target": "y"}],
            None,
            "bench.jsonl, item 1: none of its columns is known to be its text: it has query, target "
            "(name them: {text: COLUMN+COLUMN, id: COLUMN})",
        ),
        (
            [{"query": "x"}],
            {"text": "queries"},
            "bench.jsonl, item 1: it has no 'queries': it has query (name them: {text: COLUMN+COLUMN, id: COLUMN})",
        ),
        ([{"prompt": "x"}], {"id": "uid"}, "bench.jsonl, item 1: it has no 'uid' (it has prompt)"),
        (
            [{"prompt": "x"}],
            {"prompt": "prompt"},
            "bench.jsonl: 'prompt' is nothing that an item has (name them: {text: COLUMN+COLUMN, id: COLUMN})",
        ),
        (
            [{"prompt": "x"}, {"prompt": " \n"}],
            None,
            "bench.jsonl, item 2: its text is empty (give it one, or name them: {text: COLUMN+COLUMN, id: COLUMN})",
        ),
        (
            [["x"]],
            None,
            "bench.jsonl, item 1: not an object: the line is a JSON list, not an object "
            "(JSONL or Parquet, an item a line or row)",
        ),
        ([], None, "bench.jsonl: the benchmark has no items (JSONL or Parquet, an item a line or row)"),
    ],
)
def test_a_file_that_wont_do_is_refused_in_one_line(
    tmp_path: Path, rows: list[Any], columns: dict[str, str] | None, message: str
) -> None:
    path = lines(tmp_path / "bench.jsonl", *rows)
    with pytest.raises(InputError) as refused:
        read_benchmark(path, columns)
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_a_file_that_isnt_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_benchmark(str(tmp_path / "none.jsonl"))
    assert str(refused.value) == (
        f"{tmp_path}/none.jsonl: it can't be read: No such file or directory (name a benchmark's file)"
    )


@pytest.mark.skipif(not (SHARED / "benchmarks").is_dir(), reason="../shared/data/benchmarks is not there")
def test_real_benchmarks_need_no_mapping() -> None:
    gsm8k, ifeval = (read_benchmark(str(SHARED / "benchmarks" / name)) for name in ("gsm8k_test.jsonl", "ifeval.jsonl"))
    assert (gsm8k.items.num_rows, ifeval.items.num_rows) == (1319, 541)
    assert gsm8k.items.column("item_id")[16].as_py() == "gsm8k_test:17"
    assert ifeval.items.column("item_id")[0].as_py() == "ifeval:1000"
