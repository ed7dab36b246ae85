"""What `personalake hub` prints: personas by a condition, most like a text, drawn by hash, or one with its way back.

It writes nothing, and pays only where a text's vector is asked of an endpoint.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from personalake import embed
from personalake.dedup.vectors import matrix
from personalake.errors import InputError
from personalake.hub import FEW, Lineage, like, like_vector, lineage, sample
from personalake.hub_options import VECTOR, Look
from personalake.inputs import Inputs
from personalake.llm.purse import Purse
from personalake.show import condition, dicts, listed, reading, table
from personalake.shown import Shown
from personalake.store import Store

_COLUMNS = ("persona_id", "text", "occupation", "domain", "language", "relation", "url")


def hub(inputs: Inputs, look: Look, *, verbose: bool) -> Shown:
    """Show what *look* asks for.

    Raises :class:`InputError` for a condition, text or id that nothing can be found by, :class:`SettingsError` for a
    model that can't be used here, and what `embed.wanted_vector` raises.
    """
    if look.by == VECTOR:
        embed.check_local_model(inputs.settings)
    with reading(inputs, verbose) as store:
        if look.lineage is not None:
            named, pages = (store.read(name) for name in ("duplicates", "documents"))
            return _way_back(lineage(store.read("personas"), store.read("hub"), named, pages, look.lineage))
        rows = store.read("hub")
        if look.like is None and look.sample is None:
            return _shown(*listed(rows, look.where, _COLUMNS, ("persona_id",), look.limit))
        with condition(look.where, rows):
            chosen = rows.where(look.where) if look.where else rows
            total = chosen.count()
            if not total:
                return _shown([], 0)
            found, about = _found(store, inputs, look, chosen.select(*_COLUMNS), total)
            return _shown(dicts(found), total, about)


def _found(store: Store, inputs: Inputs, look: Look, chosen: DataFrame, total: int) -> tuple[DataFrame, dict[str, Any]]:
    """The rows that *look* asks for of those *chosen*, *total* in all, and what there is to say about them."""
    if look.like is None:
        return sample(chosen, look.sample or 0, look.seed), {"seed": look.seed}
    about: dict[str, Any] = {"by": look.by}
    if look.by == VECTOR:
        vectors, asked = _vectors(store, inputs), embed.wanted_vector(inputs, look.like, _left(store, inputs))
        alike = like_vector(chosen, vectors, matrix(pa.array([asked.vector]))[0], look.limit, total)
        about |= {"tokens": asked.tokens, "cost_usd": asked.microusd / 1e6}
        about |= {} if look.where else {"vectors": vectors.count()}
    else:
        alike = like(chosen, look.like, look.limit, _keys(store) if total > FEW else None, total)
    return alike.withColumn("similarity", F.round("similarity", 4)), about


def _keys(store: Store) -> DataFrame | None:
    """The index, where it has as many personas as the hub: a run that was cut off may have landed one of the two."""
    keys = store.read("hub_keys")
    indexed = keys.where("kind = 'persona'").selectExpr("coalesce(sum(count), 0) AS rows").collect()[0]["rows"]
    return keys if indexed == store.read("hub").count() else None


def _vectors(store: Store, inputs: Inputs) -> DataFrame:
    """The hub's vectors, of which there are some, of the model that the settings name."""
    vectors = store.read("hub_vectors")
    if embed.known_dimensions(vectors, inputs.settings) is None:
        what, cure = "the hub has no vectors", "`personalake dedup --rebuild` makes them; or ask --by words"
        raise InputError(what, where=store.address, cure=cure)
    return vectors


def _left(store: Store, inputs: Inputs) -> int | None:
    return Purse(store, inputs.settings.budget_usd).left


def _shown(rows: list[dict[str, Any]], total: int, about: dict[str, Any] | None = None) -> Shown:
    about = about or {}
    said = [f"{len(rows):,} of {total:,}"]
    if about.get("vectors", total) != total:
        said[0] += f", of which {about['vectors']:,} have a vector"
    if about.get("tokens") is not None:
        paid = f"{about['tokens']:,} tokens, ${about['cost_usd']:.6f} (not in the store's books)"
        said.append(f"the text's vector: {paid}")
    data = {"table": "hub", "total": total, **about, "rows": rows}
    return Shown(data, "\n\n".join([table(rows), "\n".join(said)]))


def _way_back(found: Lineage) -> Shown:
    rows = []
    for step in found.steps:
        stands = f"{step.kept_id} stands for it" if step.kept_id else "not compared yet"
        about = {"hop": step.hop, "persona_id": step.persona_id, "relation": step.relation, "text": step.text}
        rows.append({**about, "hub": "in the hub" if step.in_hub else stands, "url": step.url})
    ends = []
    if found.page:
        page = found.page
        ends.append(f"page {page['doc_id']}: {page['title'] or 'without a title'}, {page['url'] or page['path']}")
    if found.imported_from:
        ends.append(f"imported from {found.imported_from}")
    if found.missing:
        ends.append(f"missing: {found.missing}")
    return Shown({"table": "personas", **asdict(found)}, f"{table(rows)}\n\n" + "\n".join(ends))
