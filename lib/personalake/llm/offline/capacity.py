"""Overload without 429s, as vLLM has it: so many requests are served at once, the others wait their turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from .refusals import RefusalError
from .settings import OfflineSettings
from .wire import hang


class Capacity:
    """First come, first served; with a capacity of 0 nobody waits."""

    def __init__(self, settings: OfflineSettings) -> None:
        self.serving = self.max_waiting = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self.change(settings)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def change(self, settings: OfflineSettings) -> None:
        """Follow other settings from now on."""
        self._settings = settings
        self._wake()

    async def enter(self) -> None:
        """Wait for a turn, which :meth:`leave` ends; raises the 503 or hangs where the queue is full."""
        settings = self._settings
        if settings.capacity and (self._queue or self.serving >= settings.capacity):
            if settings.queue is not None and len(self._queue) >= settings.queue:
                if settings.queue_full == "hang":
                    await hang()
                raise RefusalError(503, "The server is overloaded: its queue is full.", kind="server_error")
            await self._turn()
        else:
            self.serving += 1

    def leave(self) -> None:
        """End a turn."""
        self.serving -= 1
        self._wake()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self.max_waiting = max(self.max_waiting, len(self._queue))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # its turn had come as its client went away
            with contextlib.suppress(ValueError):
                self._queue.remove(turn)
            raise

    def _wake(self) -> None:
        while self._queue and (not self._settings.capacity or self.serving < self._settings.capacity):
            turn = self._queue.popleft()
            if not turn.done():
                self.serving += 1
                turn.set_result(None)
