"""The Batch API's desk: what is noted at each step is what makes the next one safe.

Requests are handed in as files, answered within a day at a lower price, and collected by whichever run comes then.
Nothing is handed in twice. For each file a folder is written before anything is sent, with the file's keys and an
intent; the provider's batch carries the folder's name, so that a run that died between the two finds its batch again.
The folder goes when its answers are in `completions`: until then its keys are waiting, and nobody may ask them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from personalake.errors import DeferredError, PersonalakeError, StopRunError
from personalake.llm.batch_files import URL, BatchFile, Cut, Row, write_files
from personalake.llm.batch_notes import Intent, Notes, Submitted, Terms, keys_files
from personalake.llm.batch_results import Collected, Rows, judge_failed
from personalake.llm.batch_wire import CallError, Wire
from personalake.llm.client import Endpoint
from personalake.llm.journal import Journal
from personalake.llm.outcome import cure
from personalake.work import Folder

FINAL = {"completed", "failed", "expired", "cancelled"}

_SKEW = dt.timedelta(days=1)
_NOT_THERE_YET = ("cannot find file", "no such file")


class Desk:
    """A provider's batch desk, and the folder in which we note what lies there. One process at a time may use it."""

    def __init__(
        self,
        endpoint: Endpoint,
        store_id: str,
        folder: Folder,
        name: str,
        cut: Cut = Cut(),  # noqa: B008 (immutable)
        attempts: int = 6,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wire = Wire(endpoint, attempts, pause)
        self._store_id, self._folder, self._name, self._cut = store_id, folder, name, cut
        self._notes = Notes(folder)

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def open_batches(self) -> list[Submitted]:
        """The batches that were handed in and not settled, by submission."""
        return [state for state in self._notes.states() if isinstance(state, Submitted)]

    def keys_files(self) -> list[str]:
        """Parquet files (`request_key`), as Spark addresses them, of all keys that must not be asked now."""
        return list(keys_files(self._folder))

    def waiting_keys(self) -> Iterator[str]:
        """The keys of :meth:`keys_files`, one batch's in memory at a time."""
        for state in self._notes.states():
            yield from self._notes.keys(state)

    def submit(self, rows: Iterable[Row], terms: Mapping[str, Terms]) -> Iterator[Submitted]:
        """Hand in *rows*, which are distinct and not waiting; *terms* are by stage. Yields each batch as it is made.

        Raises :class:`StopRunError` for what the provider will never take and :class:`DeferredError` for what it
        doesn't take now. The rows of the batch under way are waiting after that, until :meth:`adopt` has looked.
        """
        with tempfile.TemporaryDirectory(prefix="personalake-batch-") as scratch:
            for file in write_files(rows, Path(scratch), self._cut):
                yield self._hand_in(file, terms[file.stage])
                file.path.unlink()

    def adopt(self) -> list[Submitted]:
        """Clear up what an ended run left half done; returns the batches that were made and not noted.

        To be called before :meth:`submit`. Costs no call where nothing was left. An intent without a batch is dropped,
        and what it uploaded is deleted: its rows are free. Of two batches made of one file the second is cancelled.
        """
        self._notes.drop_leftovers()
        left = [
            s for s in self._notes.states() if s.endpoint == self._name and (s.doubtful or not isinstance(s, Submitted))
        ]
        found = self._find(left, "batches cannot be listed") if left else {}
        adopted = []
        for state in left:
            batches = found.get(state.submission, [])
            ours = state.batch_id if isinstance(state, Submitted) else (batches[0]["id"] if batches else None)
            for twin in batches:
                if twin["id"] != ours and _status(twin) not in FINAL:
                    self._cancel(twin["id"])
            if isinstance(state, Submitted):
                self._notes.write(state.model_copy(update={"doubtful": False}))
            elif batches:
                adopted.append(self._made(state.model_copy(update={"doubtful": False}), batches[0]))
            else:
                self._delete_uploads(state)
                self._notes.drop(state)
        return adopted

    def collect(self, batch: Submitted, journal: Journal) -> Collected:
        """Look at a batch; once it has ended, journal what it brought.

        To be called again is harmless: the rows are the same to the last byte. Raises :class:`DeferredError` where
        the provider can't be asked now, :class:`PersonalakeError` where it doesn't know the batch or its files: the
        batch stays open then.
        """
        told = self._retrieve(batch)
        status, counts = _status(told), told.get("request_counts") or {}
        counted = {name: count for name, count in counts.items() if isinstance(count, int)}
        seen = Collected(
            batch.batch_id,
            batch.stage,
            status,
            status in FINAL,
            batch.requests,
            done=counted.get("completed", 0) + counted.get("failed", 0),
            output_file_id=told.get("output_file_id") or None,
            error_file_id=told.get("error_file_id") or None,
        )
        if status == "completed" and counted.get("completed") and not seen.output_file_id:
            # Its answers are paid for: their file will be named yet, or a person has to look.
            return replace(seen, final=False)
        if not seen.final:
            return seen
        if status == "failed" and not seen.output_file_id and not seen.error_file_id:
            deferred, stop = judge_failed(_errors(told), batch.requests, self._wire.base_url)
            return replace(seen, freed={"not_run": batch.requests}, deferred=deferred, stop=stop)
        return self._read(batch, seen, _ended_at(told, batch), journal)

    def settle(self, batch: Submitted, *, delete_files: bool = False) -> None:
        """Forget a batch whose answers are committed, and, with *delete_files*, its files at the provider."""
        told: dict[str, Any] = {}
        if delete_files:
            with contextlib.suppress(CallError):
                told = self._wire.get(f"/batches/{batch.batch_id}")
        # Ours first: without its files, an open batch could never be collected.
        self._notes.drop(batch)
        for name in ("input_file_id", "output_file_id", "error_file_id"):
            if told.get(name):
                self._delete_file(told[name])

    def _hand_in(self, file: BatchFile, terms: Terms) -> Submitted:
        intent = Intent(
            submission=uuid.uuid4().hex,
            endpoint=self._name,
            stage=file.stage,
            model=file.model,
            label=terms.label,
            price=terms.price,
            requests=len(file.keys),
            digest=file.digest,
            worst_microusd=file.worst_microusd,
            written_at=dt.datetime.now(dt.timezone.utc),
        )
        self._notes.write_keys(intent, file.keys)
        self._notes.write(intent)
        try:
            file_id = self._wire.upload(file.path, _upload_name(intent))
        except CallError as error:
            raise error.told("a batch file cannot be uploaded", self._wire.base_url) from error
        intent = intent.model_copy(update={"input_file_id": file_id})
        self._notes.write(intent)
        return self._create(intent)

    def _create(self, intent: Intent) -> Submitted:
        """Make the batch: after silence, look whether it was made before trying again."""
        metadata = {"store": self._store_id, "submission": intent.submission, "stage": intent.stage[:512]}
        body = {
            "input_file_id": intent.input_file_id,
            "endpoint": URL,
            "completion_window": "24h",
            "metadata": {**metadata, "digest": intent.digest},
        }
        for number in range(1, self._wire.attempts + 1):
            try:
                return self._made(intent, self._wire.once("POST", "/batches", needs="id", body=body))
            except CallError as error:
                # A file that was uploaded just now may not be known yet to those who make batches of it.
                early = any(words in error.detail.lower() for words in _NOT_THERE_YET)
                if error.uncertain:
                    intent = intent.model_copy(update={"doubtful": True})
                    self._notes.write(intent)
                last = number == self._wire.attempts
                if not (error.retryable or early) or (last and not error.uncertain):
                    raise error.told("a batch cannot be made", self._wire.base_url) from error
                self._wire.wait(number, error)
                if error.uncertain:
                    found = self._find([intent], "a batch may have been made, and batches cannot be listed")
                    if intent.submission in found:
                        return self._made(intent, found[intent.submission][0])
        raise DeferredError("a batch could not be made", where=self._wire.base_url, cure="run again later")

    def _find(self, intents: Sequence[Intent], doing: str) -> dict[str, list[dict[str, Any]]]:
        """The provider's batches made of each intent, the best to go on with first: alive, then the oldest."""
        ids = {intent.submission for intent in intents}
        by_file = {intent.input_file_id: intent.submission for intent in intents if intent.input_file_id}
        since = (min(intent.written_at for intent in intents) - _SKEW).timestamp()
        found: dict[str, list[dict[str, Any]]] = {}
        try:
            for page in self._wire.pages("/batches"):
                for told in page:
                    metadata = told.get("metadata")
                    named = metadata.get("submission") if isinstance(metadata, dict) else None
                    # Not every provider keeps metadata.
                    submission = named if named in ids else by_file.get(str(told.get("input_file_id")))
                    if submission is not None:
                        found.setdefault(submission, []).append(told)
                ages = [_seconds(told.get("created_at")) for told in page]
                if ages and ages[0] > ages[-1] and ages[-1] < since:
                    break  # Listed from the newest on, and the rest is older than what is looked for.
        except CallError as error:
            raise error.told(doing, self._wire.base_url) from error
        for twins in found.values():
            twins.sort(key=lambda told: (_status(told) in ("failed", "cancelled"), _seconds(told.get("created_at"))))
        return found

    def _read(self, batch: Submitted, seen: Collected, ended_at: dt.datetime, journal: Journal) -> Collected:
        rows = Rows(batch, self._notes.keys(batch), ended_at, journal)
        with tempfile.TemporaryDirectory(prefix="personalake-batch-") as scratch:
            # Both are here before a row is journaled; the answers are read first, they are worth more than an error.
            files = {"output": seen.output_file_id, "error": seen.error_file_id}
            for name, file_id in files.items():
                if file_id:
                    try:
                        self._wire.download(file_id, Path(scratch) / name)
                    except CallError as error:
                        raise self._lost(error, f"the {name} file of batch {batch.batch_id}", batch) from error
            for name, file_id in files.items():
                if file_id:
                    with (Path(scratch) / name).open("rb") as lines:
                        rows.read(lines)
            freed = rows.close()
        said, stop = rows.stop, None
        if said is not None:
            what = f"{said.reason}: {said.detail}"
            stop = StopRunError(what, where=self._wire.base_url, cure=cure(said.reason))
        return replace(
            seen,
            answered=rows.answered,
            rejected=rows.rejected,
            microusd=rows.microusd,
            wasted_microusd=rows.wasted_microusd,
            freed=freed,
            ignored=dict(rows.ignored),
            stop=stop,
        )

    def _retrieve(self, batch: Submitted) -> dict[str, Any]:
        if batch.endpoint != self._name:
            raise PersonalakeError(
                f"the batch {batch.batch_id} lies at {batch.endpoint}",
                where=self._name,
                cure="set llm.base_url to that address to collect it",
            )
        try:
            return self._wire.get(f"/batches/{batch.batch_id}", "status")
        except CallError as error:
            raise self._lost(error, f"the batch {batch.batch_id}", batch) from error

    def _lost(self, error: CallError, what: str, batch: Submitted) -> PersonalakeError:
        if error.status != HTTPStatus.NOT_FOUND:
            return error.told(f"{what} cannot be read", self._wire.base_url)
        return PersonalakeError(
            f"{what} isn't there",
            where=self._wire.base_url,
            cure="use the key that it was made with; if it is gone for good, delete "
            f"{self._notes.folder_of(batch).address}, and its requests are asked, and paid, again",
        )

    def _made(self, intent: Intent, told: dict[str, Any]) -> Submitted:
        created = _seconds(told.get("created_at"))
        at = dt.datetime.fromtimestamp(created, dt.timezone.utc) if created else intent.written_at
        batch = Submitted(**intent.model_dump(), batch_id=str(told["id"]), submitted_at=at)
        self._notes.write(batch)
        return batch

    def _cancel(self, batch_id: str) -> None:
        with contextlib.suppress(CallError):
            self._wire.again(lambda: self._wire.once("POST", f"/batches/{batch_id}/cancel"))

    def _delete_uploads(self, intent: Intent) -> None:
        """Delete what was uploaded for *intent*, as far as it can be found: a batch can't be made of it any more."""
        with contextlib.suppress(CallError):
            if intent.input_file_id:
                self._delete_file(intent.input_file_id)
                return
            for page in self._wire.pages("/files", purpose="batch"):
                for told in page:
                    if told.get("filename") == _upload_name(intent):
                        self._delete_file(str(told.get("id")))

    def _delete_file(self, file_id: str) -> None:
        with contextlib.suppress(CallError):
            self._wire.again(lambda: self._wire.once("DELETE", f"/files/{file_id}"))


def _upload_name(intent: Intent) -> str:
    return f"personalake-{intent.submission}.jsonl"


def _status(told: dict[str, Any]) -> str:
    status = str(told.get("status") or "unknown").lower()
    return "cancelled" if status == "canceled" else status


def _seconds(value: Any) -> float:  # noqa: ANN401 (whatever the provider sent)
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _ended_at(told: dict[str, Any], batch: Submitted) -> dt.datetime:
    """When the batch ended, as the provider says: the same at every collection."""
    names = ("completed_at", "expired_at", "cancelled_at", "failed_at", "finalizing_at", "created_at")
    ended = next((at for at in (_seconds(told.get(name)) for name in names) if at), None)
    return batch.submitted_at if ended is None else dt.datetime.fromtimestamp(ended, dt.timezone.utc)


def _errors(told: dict[str, Any]) -> list[dict[str, Any]]:
    errors = told.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else errors
    return [error for error in data if isinstance(error, dict)] if isinstance(data, list) else []
