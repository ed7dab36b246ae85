"""The Batch API beside the engine: what lies at the provider's desk is collected first, and not asked a second time.

Replies go the way of all others, through a journal into `completions`. A reply that doesn't fit its schema is not
repaired here, where that would take another day: it is refused, and `rejects --replay` asks again, online if wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyspark.sql import DataFrame

from personalake.errors import PersonalakeError, StopRunError
from personalake.lease import Lease
from personalake.llm.batch import Desk
from personalake.llm.batch_files import Cut, Row
from personalake.llm.batch_notes import Submitted, Terms
from personalake.llm.batch_results import Collected
from personalake.llm.client import Endpoint
from personalake.llm.journal import Journal, forget_segments, segments
from personalake.llm.landing import Landing
from personalake.llm.models import Question
from personalake.llm.purse import Purse
from personalake.llm.spent import Spent
from personalake.schemas import BATCHES
from personalake.settings import LlmSettings
from personalake.store import Store


class Batched:
    """The batches of a store, one run's view of them."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        landing: Landing,
        purse: Purse,
        settings: LlmSettings,
        endpoint: Endpoint,
        seq: int,
    ) -> None:
        self._store, self._lease, self._landing, self._purse = store, lease, landing, purse
        self._settings, self._endpoint, self.seq = settings, endpoint, seq
        self._folder = store.work / "batches"
        self.say: Callable[[str], None] = lambda _: None
        self._put_off: dict[str, str] = {}
        """By stage: why nothing more is handed in for it in this run."""
        if settings.offline:
            self._folder.delete()  # The endpoint that knew of them has ended with its run.

    def waiting(self) -> DataFrame | None:
        """The keys (`request_key`) that lie at the desk; null where there are none."""
        if not self._folder.folders():
            return None
        with self._desk() as desk:
            files = desk.keys_files()
        return self._store.spark.read.parquet(*files) if files else None

    def collect(self, spent: Mapping[str, Spent]) -> int:
        """Land what has come back, and take what it used into *spent*; returns the requests that still lie there.

        Raises :class:`StopRunError` for what would be said of every request, after what is good was landed.
        """
        if not self._folder.folders():
            return 0
        stop: StopRunError | None = None
        with self._desk() as desk:
            self._note([(batch, None) for batch in desk.adopt()])
            for batch in desk.open_batches():
                try:
                    found = self._collect(desk, batch)
                except PersonalakeError as error:
                    self.say(f"batch {batch.batch_id}: {error}")
                    continue
                self._note([(batch, found)])
                self._take(found, spent.get(batch.stage))
                stop = stop or found.stop
            left = sum(batch.requests for batch in desk.open_batches())
        if stop is not None:
            raise stop
        return left

    def _collect(self, desk: Desk, batch: Submitted) -> Collected:
        folder = self._store.work / "journal" / f"batch-{batch.submission}"
        found = desk.collect(batch, Journal(folder, "batch", "0"))
        if found.final:
            self._lease.check()
            landed = segments(folder)
            self._landing.commit(folder, landed, sure=False)
            self._purse.pay(sum(segment.microusd for segment in landed) + found.wasted_microusd)
            desk.settle(batch)
            forget_segments(folder, landed)
            self.say(f"batch {batch.batch_id} {found.status}: {found.detail or f'{found.answered:,} answers'}")
        return found

    def _take(self, found: Collected, spent: Spent | None) -> None:
        if not found.final:
            return
        if found.deferred:
            self._put_off[found.stage] = found.deferred
        if spent is not None:
            spent.sent += found.requests
            spent.failed_sends += found.free
            spent.unusable_microusd += found.wasted_microusd

    def submit(self, rows: DataFrame, questions: Mapping[str, Question], spent: Mapping[str, Spent]) -> None:
        """Hand in *rows* (request_key, stage, body, worst_microusd), as far as the budget holds their worst cost."""
        left = self._left()
        terms = {
            stage: Terms(label=q.label, price=q.abilities.price and q.abilities.price.for_batch())
            for stage, q in questions.items()
        }
        with self._desk() as desk:
            for batch in desk.submit(self._affordable(rows, terms, left, spent), terms):
                self._lease.check()
                self._note([(batch, None)])
                self.say(f"batch {batch.batch_id}: {batch.requests:,} requests of {batch.stage} handed in")

    def _left(self) -> int | None:
        """What the budget leaves beside the worst cost of what lies at the desk."""
        if self._purse.left is None:
            return None
        with self._desk() as desk:
            return self._purse.left - sum(batch.worst_microusd for batch in desk.open_batches())

    def _affordable(
        self, rows: DataFrame, terms: Mapping[str, Terms], left: int | None, spent: Mapping[str, Spent]
    ) -> Iterator[Row]:
        columns = ("request_key", "stage", "body", "worst_microusd")
        for row in rows.select(*columns).toLocalIterator(prefetchPartitions=True):
            if row["stage"] in self._put_off:
                spent[row["stage"]].stopped = self._put_off[row["stage"]]
                continue
            # The worst was reckoned at the online price, which is no lower.
            if left is not None and left < row["worst_microusd"]:
                spent[row["stage"]].stopped = f"budget: {max(left, 0) / 1e6:.4f} US dollars are left"
                continue
            left = None if left is None else left - int(row["worst_microusd"])
            yield Row(row["request_key"], row["stage"], row["body"], int(row["worst_microusd"]))

    def wait(self, spent: Mapping[str, Spent]) -> None:
        """Collect until nothing lies at the desk or the patience is over; what is left, a later run collects."""
        until = time.monotonic() + self._settings.batch_wait_s
        while (left := self.collect(spent)) and time.monotonic() < until:
            # There is nothing to wait on but the provider, who has to be asked.
            time.sleep(min(self._settings.batch_poll_s, max(0.0, until - time.monotonic())))
        for each in spent.values():
            if left and not each.stopped:
                each.stopped = f"{left:,} requests lie in batches at the provider"

    def _desk(self) -> Desk:
        cut = Cut(rows=self._settings.batch_rows)
        return Desk(self._endpoint, self._store.store_id, self._folder, self._endpoint.name, cut)

    def _note(self, batches: list[tuple[Submitted, Collected | None]]) -> None:
        """Put each batch as it stands now into the table."""
        if not batches:
            return
        rows = [_row(batch, found) for batch, found in batches]
        schema = ", ".join(f"{c.name} {c.type}" for c in BATCHES.columns if c.name != "seq")
        ids = ", ".join(f"'{batch.batch_id}'" for batch, _ in batches)
        frame = self._store.spark.createDataFrame([tuple(row.values()) for row in rows], schema)
        self._store.replace("batches", frame, self.seq, where=f"batch_id IN ({ids})")


def _row(batch: Submitted, found: Collected | None) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "endpoint": batch.endpoint,
        "stage": batch.stage,
        "status": "submitted" if found is None else found.status,
        "requests": batch.requests,
        "input_file_id": batch.input_file_id,
        "output_file_id": found and found.output_file_id,
        "error_file_id": found and found.error_file_id,
        "submitted_at": batch.submitted_at,
    }
