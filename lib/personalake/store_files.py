"""A store's tables read without Spark, by `deltalake`: for the inner loop, which must not wait for a JVM.

Only tables at a path can be found so; those of a catalog read as empty here. `store.py` remains the only door that
anything is written through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from personalake.schemas import PAID_BESIDE
from personalake.settings import StoreSettings
from personalake.work import absolute

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_MOST_ROWS = 5_000_000
"""A larger table of completions isn't searched: request keys are hashes, so it would be read whole."""


def completions_of(store: StoreSettings, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The completions of these request *keys*, by key: none where the table is larger than 5 million rows."""
    import pyarrow.dataset as ds  # noqa: PLC0415 (a tenth of a second that an empty store needn't cost)

    table = _dataset(store, "completions")
    if table is None or table.count_rows() > _MOST_ROWS:
        return {}
    wanted = list(keys)
    found = table.to_table(filter=ds.field("request_key").isin(wanted)).to_pylist()
    return {row["request_key"]: row for row in found}


def paid_microusd(store: StoreSettings) -> int:
    """What the store has cost, as far as its tables say: see `purse.Purse.paid`."""
    import pyarrow.compute as pc  # noqa: PLC0415 (as above)
    import pyarrow.dataset as ds  # noqa: PLC0415 (as above)

    completions, runs = _dataset(store, "completions"), _dataset(store, "runs")
    paid = 0
    if completions is not None:
        paid += pc.sum(completions.to_table(columns=["cost_microusd"]).column(0)).as_py() or 0
    if runs is not None:
        # A run's own row sums its stages up.
        rows = runs.to_table(columns=["waste", "unknown_microusd"], filter=ds.field("stage") != "run").to_pylist()
        paid += sum(dict(row["waste"] or ()).get(cause, 0) or 0 for row in rows for cause in PAID_BESIDE)
        paid += sum(row["unknown_microusd"] for row in rows)
    return int(paid)


def _dataset(store: StoreSettings, name: str) -> ds.Dataset | None:
    """The table *name* as it stands; null where there is none, or where it lies in a catalog."""
    if not store.path:
        return None
    from deltalake import DeltaTable  # noqa: PLC0415 (as above)
    from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415

    try:
        # Its own spelling of S3's scheme, and the environment's credentials.
        return DeltaTable(re.sub("^s3a:", "s3:", f"{absolute(store.path)}/{name}")).to_pyarrow_dataset()
    except TableNotFoundError:
        return None
