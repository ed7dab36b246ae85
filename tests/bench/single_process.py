"""Dedup in one process by other libraries: `python single_process.py rensa|datasketch INPUT OUT`.

Reads Parquet (id, text), hashes into 12 bands of 10, verifies every candidate pair exactly, keeps the smaller id, and
writes the tables `kept` and `duplicates` as Delta. Prints one JSON object. This file imports nothing
of ours: it runs in environments without this project.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

BANDS, ROWS = 12, 10
_WORD = re.compile("[0-9a-z]+")


def rensa(sets: list[list[str]]) -> Callable[[int], Iterable[int]]:
    """The rows that share a band with a row, by rensa's R-MinHash and its index, all through its bulk calls."""
    import rensa as library  # noqa: PLC0415 (only there where it is installed)

    hashes = library.RMinHash.from_token_sets(sets, BANDS * ROWS, 42)
    index = library.RMinHashLSH(threshold=0.9, num_perm=BANDS * ROWS, num_bands=BANDS)
    index.insert_many(hashes)
    found = index.query_all(hashes)
    return lambda row: found[row]


def datasketch(sets: list[list[str]]) -> Callable[[int], Iterable[int]]:
    """The same by datasketch's MinHash and MinHashLSH, all through its bulk calls."""
    from datasketch import MinHash, MinHashLSH  # noqa: PLC0415 (as above)

    hashes = MinHash.bulk([[token.encode() for token in one] for one in sets], num_perm=BANDS * ROWS, seed=42)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    with index.insertion_session() as session:
        for row, one in enumerate(hashes):
            session.insert(row, one)
    return lambda row: index.query(hashes[row])


def settle(
    ids: list[str], sets: list[list[str]], candidates: Callable[[int], Iterable[int]]
) -> dict[int, tuple[int, float]]:
    """By row, the kept row that it repeats and their similarity; a row with a smaller id goes first."""
    as_sets = [frozenset(one) for one in sets]
    dropped: dict[int, tuple[int, float]] = {}
    for row in sorted(range(len(ids)), key=ids.__getitem__):
        own, id_ = as_sets[row], ids[row]
        for other in sorted((o for o in candidates(row) if ids[o] < id_ and o not in dropped), key=ids.__getitem__):
            shared = len(own & as_sets[other])
            union = len(own) + len(as_sets[other]) - shared
            if 10 * shared >= 9 * union:
                dropped[row] = (other, shared / union)
                break
    return dropped


def main(tool: str, source: str, out: str) -> None:
    """Do it, and print how long it took."""
    began = time.monotonic()
    table = pq.read_table(source)
    ids = table.column("id").to_pylist()
    sets = [list(set(_WORD.findall(text.lower()))) for text in table.column("text").to_pylist()]
    dropped = settle(ids, sets, {"rensa": rensa, "datasketch": datasketch}[tool](sets))
    mask = [row not in dropped for row in range(len(ids))]
    write_deltalake(f"{out}/kept", table.filter(pa.array(mask)))
    evidence = [(ids[row], ids[other], alike) for row, (other, alike) in dropped.items()]
    columns = [pa.array(column) for column in zip(*evidence, strict=True)]
    write_deltalake(f"{out}/duplicates", pa.table(columns, names=["id", "kept_id", "similarity"]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": time.monotonic() - began, "rows": len(ids), "duplicates": len(dropped), "mib": memory}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
