"""What is noted of each batch, in a folder of its own, so that a run that died finds it again: keys and state."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from personalake.llm.models import Price
from personalake.work import Folder

KEYS_FILE, STATE_FILE = "keys.parquet", "state.json"

_KEYS = pa.schema([pa.field("request_key", pa.string(), nullable=False)])


class Terms(BaseModel):
    """What a stage's rows are recorded under: the user's name for the deployment, and the batch price."""

    model_config = ConfigDict(frozen=True)

    label: str
    price: Price | None


class Intent(BaseModel):
    """A file that is to be handed in; `submission` names its folder, its upload and its batch's metadata."""

    model_config = ConfigDict(frozen=True)

    submission: str
    endpoint: str
    stage: str
    model: str
    label: str
    price: Price | None
    requests: int
    digest: str
    worst_microusd: int
    written_at: dt.datetime
    input_file_id: str | None = None
    doubtful: bool = False


class Submitted(Intent):
    """A batch at the provider, not settled yet; `doubtful` where a second one may have been made of the same file."""

    batch_id: str
    submitted_at: dt.datetime


class Notes:
    """The notes of a store's batches."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def folder_of(self, state: Intent) -> Folder:
        """Where the notes of a batch lie."""
        return self._folder / state.submission

    def write_keys(self, state: Intent, keys: Iterable[str]) -> None:
        """Note which requests a batch is to answer; to be followed by :meth:`write`."""
        buffer = io.BytesIO()
        pq.write_table(pa.table({"request_key": list(keys)}, schema=_KEYS), buffer, compression="zstd")
        self.folder_of(state).write(KEYS_FILE, buffer.getvalue())

    def keys(self, state: Intent) -> list[str]:
        """The requests that a batch is to answer."""
        content = self.folder_of(state).read(KEYS_FILE)
        keys: list[str] = [] if content is None else pq.read_table(io.BytesIO(content)).column(0).to_pylist()
        return keys

    def write(self, state: Intent) -> None:
        """Note how far a batch is."""
        self.folder_of(state).write(STATE_FILE, state.model_dump_json().encode())

    def states(self) -> list[Intent]:
        """All that is noted, the oldest first."""
        states = []
        for name in self._folder.folders():
            content = (self._folder / name).read(STATE_FILE)
            if content is not None:
                made = "batch_id" in json.loads(content)
                states.append((Submitted if made else Intent).model_validate_json(content))
        return sorted(states, key=lambda state: (state.written_at, state.submission))

    def drop(self, state: Intent) -> None:
        """Forget a batch."""
        folder = self.folder_of(state)
        folder.delete_file(STATE_FILE)  # First: without it, the rest is a leftover.
        folder.delete()

    def drop_leftovers(self) -> None:
        """Delete what lies there without a state."""
        for name in self._folder.folders():
            if not (self._folder / name / STATE_FILE).exists():
                (self._folder / name).delete()


def keys_files(folder: Folder) -> Iterator[str]:
    """Parquet files (`request_key`), as Spark addresses them, of all batches that are noted in *folder*."""
    for name in folder.folders():
        if (folder / name / STATE_FILE).exists():
            yield f"{(folder / name).for_spark}/{KEYS_FILE}"
