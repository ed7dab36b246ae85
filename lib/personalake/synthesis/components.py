"""Connected components of a graph whose edges are rows: Borůvka's rounds, and pointers that jump.

Every node points to the least of its neighbours (Borůvka's step of 1926, where the weight of an edge is its two ends),
each tree of pointers is drawn together into its root (Shiloach, Vishkin: An O(log n) parallel connectivity algorithm,
1982), and the roots are the nodes of the next round. Each has at least one other node below it, so a round leaves half
of the nodes at most, whatever the graph and without any dice. Small components, of which duplicates make most, are one
node after a round or two, and then cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake.dedup.survivors import Stage

SMALL = 500_000
"""So many edges are joined up in one task (about a second, 200 MB); with more, rounds over all tasks come first."""

_JOINED = "node string, next string"


def components(edges: DataFrame, stage: Stage, small: int = SMALL) -> DataFrame:
    """Return the nodes of ``edges`` (one, other) with their components: (node, component), the least node of each.

    Nodes are strings; an edge with a null, or of a node with itself, is none. The result depends on neither the order
    of edges nor partitions.

    1. A round finds the root of each node, and puts roots for the ends of the edges; it takes a pass for each doubling
       of the longest way to a root. Rounds go on while there are more than *small* edges: log2 of the nodes at most.
    2. The other edges are joined up in one task.
    3. From the last round back to the first, each node gets the component of its root.
    """
    left, rounds = stage(_distinct(edges.select("one", "other")), "edges"), list[DataFrame]()
    while left.count() > small:
        rounds.append(_roots(left, stage, len(rounds) + 1))
        left = stage(_distinct(_replaced(left, rounds[-1])), f"edges_{len(rounds)}")
    found = left.coalesce(1).mapInArrow(joined, _JOINED)
    for roots in reversed(rounds):
        later = found.select(F.col("node").alias("next"), F.col("next").alias("last"))
        found = roots.join(later, "next", "left").select("node", F.coalesce("last", "next").alias("next"))
    if rounds:
        found = stage(found, "components")
    least = found.groupBy("next").agg(F.min("node").alias("component"))
    return found.join(least, "next").select("node", "component")


def _distinct(edges: DataFrame) -> DataFrame:
    ends = edges.where("one != other")
    return ends.select(F.least("one", "other").alias("one"), F.greatest("one", "other").alias("other")).distinct()


def _roots(edges: DataFrame, stage: Stage, number: int) -> DataFrame:
    """Each node and the root of its tree (node, next), if every node points to the least of its neighbours.

    Two that point to each other are at the root of a tree, of which the lesser one is to be the root. Other circles
    can't be: on the way each edge is less than the one before.
    """
    both = edges.unionByName(edges.select(F.col("other").alias("one"), F.col("one").alias("other")))
    nearest = both.groupBy(F.col("one").alias("node")).agg(F.min("other").alias("next"))
    pointers, jumps = stage(nearest, f"nearest_{number}"), 0
    while True:
        jumps += 1
        further = pointers.select(F.col("node").alias("next"), F.col("next").alias("further"))
        end = F.when(F.col("further") == F.col("node"), F.least("node", "next")).otherwise(F.col("further"))
        jumped = pointers.join(further, "next").select("node", end.alias("next"), (end != F.col("next")).alias("moved"))
        pointers = stage(jumped, f"roots_{number}_{jumps}")
        if pointers.where("moved").isEmpty():
            return pointers.select("node", "next")
        pointers = pointers.select("node", "next")


def _replaced(edges: DataFrame, roots: DataFrame) -> DataFrame:
    """The edges between the roots of their ends."""
    for end in ("one", "other"):
        by = roots.select(F.col("node").alias(end), F.col("next").alias("root"))
        edges = edges.join(by, end).drop(end).withColumnRenamed("root", end)
    return edges.select("one", "other")


def joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """From edges (one, other) to their nodes, each with the least of its component: a pass for ``mapInArrow``."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    edges = pa.Table.from_batches(found)
    nodes = pc.unique(pa.chunked_array([*edges.column("one").chunks, *edges.column("other").chunks])).sort()
    ends = (pc.index_in(edges.column(name), nodes).to_numpy().tolist() for name in ("one", "other"))
    above = list(range(len(nodes)))

    def top(node: int) -> int:
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for one, other in zip(*ends, strict=True):
        first, second = top(one), top(other)
        above[max(first, second)] = min(first, second)
    least = nodes.take(pa.array(np.array([top(node) for node in range(len(nodes))], dtype=np.int64)))
    yield pa.RecordBatch.from_arrays([nodes, least], ["node", "next"])
