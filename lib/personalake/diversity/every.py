"""What all rows of each group say, in one pass over their texts and one over their attributes.

Distinct n-grams are counted by HyperLogLog: each task brings registers of 64 KB a group and length, whatever it read,
where exact sets would shuffle every n-gram of every text (75 a persona). The error is 0.4 % of the share, far less than
what the share itself loses each time that the rows are doubled. Attributes are few values a row, and counted exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from personalake.dedup.coverage import count
from personalake.dedup.ragged import Ints
from personalake.dedup.registers import PRECISION, Registers, empty_registers, places_and_ranks
from personalake.dedup.tokens import token_runs
from personalake.diversity.draw import ALL, Key, Shape
from personalake.diversity.sample import COMBINATIONS, DISTINCT, ENTROPY, FILLED, Figures, share, whole_runs

_TASKS = 64
"""Tasks that count, at most: one task merges what they made, some 10 MB each for 20 groups by two columns."""
_PARTS = "place int, length int, texts long, tokens long, ngrams long, registers binary"
_COUNTED = "place int, length int, texts long, tokens long, ngrams long, ranks array<long>"
_NONE = -1
_LARGEST_RANK = 64 - PRECISION + 1

_Pass = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def of_texts(rows: DataFrame, sizes: Mapping[Key, int], shape: Shape) -> dict[Key, Figures]:
    """Of all rows of each group: `tokens`, and `distinct_n`, the share of different n-grams among all."""
    keys = [key for key in sizes if key == ALL or key[0] in shape.by]
    places = [_place(name, keys).alias(f"at_{number}") for number, name in enumerate(shape.by)]
    named = rows.select("text", *places).coalesce(_TASKS)
    parts = named.mapInArrow(counter(len(keys)), _PARTS)
    found: dict[Key, Figures] = {}
    for row in sorted(parts.repartition(1).mapInArrow(merger, _COUNTED).collect(), key=lambda row: row["length"]):
        ranks = np.repeat(np.arange(_LARGEST_RANK + 1, dtype=np.int8), row["ranks"])
        figures = found.setdefault(keys[row["place"]], {"tokens": float(row["tokens"])})
        figures[f"distinct_{row['length']}"] = min(1.0, count(ranks) / row["ngrams"]) if row["ngrams"] else None
    return found


def _place(name: str, keys: Sequence[Key]) -> Column:
    """The number of a row's group by a column, -1 for none."""
    label = F.col(name).cast("string")
    numbers = {group: number for number, (by, group) in enumerate(keys) if by == name}
    rest = numbers.pop(None, _NONE)
    pairs = [F.lit(value) for pair in numbers.items() for value in pair]
    place = F.coalesce(F.try_element_at(F.create_map(*pairs), label), F.lit(rest)) if pairs else F.lit(rest)
    return F.when(label.isNull(), _NONE).otherwise(place).cast("int")


def counter(groups: int) -> _Pass:
    """From texts, and for each grouping the place of their group, to partial counts; the first of *groups* is all."""

    def counting(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts = np.zeros((groups, len(DISTINCT), 3), dtype=np.int64)
        registers = empty_registers(groups * len(DISTINCT))
        for batch in batches:
            runs = token_runs(batch.column(0), *DISTINCT)
            tokens = runs[0].counts
            of = [np.zeros(len(batch), dtype=np.int64), *(column.to_numpy() for column in batch.columns[1:])]
            for at, length in enumerate(DISTINCT):
                hashes, rows, _ = whole_runs(runs[at], tokens, length)
                found = places_and_ranks(hashes.view(np.uint64), registers[: 1 << PRECISION])
                for group in of:
                    _count(counts[:, at], group, tokens, rows)
                    part = np.where(group < 0, _NONE, group * len(DISTINCT) + at)
                    _raise(registers, *found, part[rows])
        yield _parts(counts, registers)

    return counting


def _count(counts: Ints, group: Ints, tokens: Ints, rows: Ints) -> None:
    inside = group >= 0
    counts[:, 0] += np.bincount(group[inside], minlength=len(counts))
    counts[:, 1] += np.bincount(group[inside], weights=tokens[inside], minlength=len(counts)).astype(np.int64)
    counts[:, 2] += np.bincount(group[rows][group[rows] >= 0], minlength=len(counts))


def _raise(registers: Registers, places: Ints, ranks: Registers, part: Ints) -> None:
    """Let each element raise its place in one *part* of the registers; below 0 in none."""
    inside = part >= 0
    places, ranks = places[inside] + (part[inside] << PRECISION), ranks[inside]
    higher = ranks > registers[places]
    np.maximum.at(registers, places[higher], ranks[higher])


def _parts(counts: Ints, registers: Registers) -> pa.RecordBatch:
    found = [
        {
            "place": place,
            "length": length,
            **dict(zip(("texts", "tokens", "ngrams"), map(int, counts[place, at]), strict=True)),
            "registers": _part(registers, place * len(DISTINCT) + at).tobytes(),
        }
        for place in np.flatnonzero(counts[:, 0, 0]).tolist()
        for at, length in enumerate(DISTINCT)
    ]
    columns = ("place", pa.int32()), ("length", pa.int32()), ("texts", pa.int64())
    more = ("tokens", pa.int64()), ("ngrams", pa.int64()), ("registers", pa.binary())
    return pa.RecordBatch.from_pylist(found, schema=pa.schema([*columns, *more]))


def _part(registers: Registers, number: int) -> Registers:
    return registers[number << PRECISION : (number + 1) << PRECISION]


def merger(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """From partial counts to one of each group and length, its registers as how many have each rank."""
    sums: dict[tuple[int, int], list[int]] = {}
    registers: dict[tuple[int, int], Registers] = {}
    for batch in batches:
        for row in batch.to_pylist():
            key, one = (row["place"], row["length"]), np.frombuffer(row["registers"], dtype=np.int8)
            numbers = [row["texts"], row["tokens"], row["ngrams"]]
            sums[key] = [a + b for a, b in zip(sums.get(key, [0, 0, 0]), numbers, strict=True)]
            registers[key] = np.maximum(registers[key], one) if key in registers else one
    ranks = [np.bincount(registers[key], minlength=_LARGEST_RANK + 1) for key in sums]
    columns = [*zip(*sums, strict=True)] or [(), ()]
    columns += [*zip(*sums.values(), strict=True)] or [(), (), ()]
    types = (pa.int32(), pa.int32(), pa.int64(), pa.int64(), pa.int64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    arrays.append(pa.array(ranks, pa.list_(pa.int64())))
    yield pa.RecordBatch.from_arrays(arrays, ["place", "length", "texts", "tokens", "ngrams", "ranks"])


def of_attributes(rows: DataFrame, sizes: Mapping[Key, int], shape: Shape) -> dict[Key, Figures]:
    """Of all rows of each group what :func:`sample.of_attributes` says of some, exactly; under the same names."""
    keys = [key for key in sizes if key == ALL or key[0] in shape.by]
    places = [F.lit(0), *(_place(name, keys) for name in shape.by)]
    values = [_value(name, F.col(name)) for name in shape.attributes]
    if shape.combined:
        every = F.concat_ws("\x1f", *shape.combined)
        whole = [F.col(name).isNotNull() for name in shape.combined]
        values.append(_value(COMBINATIONS, F.when(functools.reduce(Column.__and__, whole), every)))
    pairs = rows.select(F.array(*places).alias("places"), F.explode(F.array(*values)).alias("value"))
    pairs = pairs.where("value.value IS NOT NULL").select(F.explode("places").alias("place"), "value.*")
    counts = pairs.where(F.col("place") >= 0).groupBy("place", "name", "value").agg(F.count(F.lit(1)).alias("n"))
    found = counts.groupBy("place", "name").agg(
        F.sum("n").alias("filled"), F.count(F.lit(1)).alias("values"), F.sum(F.col("n") * F.ln("n")).alias("weight")
    )
    return _attributes({(keys[row["place"]], row["name"]): row for row in found.collect()}, sizes, shape)


def _value(name: str, value: Column) -> Column:
    return F.struct(F.lit(name).alias("name"), value.cast("string").alias("value"))


def _attributes(found: Mapping[tuple[Key, str], Row], sizes: Mapping[Key, int], shape: Shape) -> dict[Key, Figures]:
    values = {name: int(row["values"]) for (key, name), row in found.items() if key == ALL}
    possible = math.prod(values.get(name, 0) for name in shape.combined)
    made: dict[Key, Figures] = {}
    for key in [key for key in sizes if key == ALL or key[0] in shape.by]:
        figures: Figures = {}
        for name in shape.attributes:
            row = found.get((key, name))
            figures[f"{FILLED}{name}"] = share(int(row["filled"]) if row else 0, sizes[key])
            figures[f"{ENTROPY}{name}"] = _entropy(row, min(values[name], sizes[key])) if row else None
        if shape.combined:
            row = found.get((key, COMBINATIONS))
            figures[COMBINATIONS] = share(int(row["values"]) if row else 0, possible)
        made[key] = figures
    return made


def _entropy(row: Row, values: int) -> float:
    """From the sums over values of n and of n ln n: ln N - sum / N, as a share of the most that it can be."""
    filled = int(row["filled"])
    return max(0.0, math.log(filled) - row["weight"] / filled) / math.log(values) if values > 1 else 0.0
