"""A process watched from outside: fed, read, and killed with all that it started, at its end or at a limit."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

_CHUNK = 1 << 16
_TICK = 0.05  # How often to look whether it has ended, while its output stays open and silent.
_MOMENT = 0.001  # ... and once its output is closed: its end is near.


@dataclass(frozen=True)
class Limits:
    """Seconds until it is ready, seconds from then on, and bytes of output in all."""

    start: float
    clock: float
    output: int


@dataclass
class Watched:
    """What was seen: the output from the sign of readiness on, and what it was stopped for."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    ready: bool = False
    stopped: Literal["timed_out", "too_much_output"] | None = None
    status: int = 0
    seconds: float = 0.0

    def look_for(self, sign: bytes) -> bool:
        """Whether *sign* has just come; it and what was said before it are dropped."""
        if self.ready or sign not in self.stdout:
            return False
        del self.stdout[: self.stdout.index(sign) + len(sign)]
        self.ready = True
        return True

    @property
    def size(self) -> int:
        """Bytes of output."""
        return len(self.stdout) + len(self.stderr)


def watch(process: subprocess.Popen[bytes], given: bytes, sign: bytes, limits: Limits) -> Watched:
    """Give the *process*, which leads a group of its own, *given*, and read what it says until it ends.

    The clock starts when it prints *sign*. When this returns or raises, the process has been waited for, and a kill has
    been sent to its group; bubblewrap's death takes along those who left the group.
    """
    seen, pipes = Watched(), _Pipes(process, given)
    began, end = time.monotonic(), time.monotonic() + limits.start
    try:
        while not (pipes.silent and _has_ended(process)):
            now = time.monotonic()
            if now >= end:
                seen.stopped = "timed_out"
                break
            moved = pipes.move(seen, min(end - now, _MOMENT if pipes.silent else _TICK))
            ended = not moved and _has_ended(process)
            while ended and seen.size <= limits.output and pipes.move(seen, 0):
                pass  # Somebody whom it left behind may hold its output open: take what there is.
            if seen.look_for(sign):
                began = time.monotonic()
                end = began + limits.clock
            if seen.size > limits.output:
                seen.stopped = "too_much_output"
            if ended or seen.stopped:
                break
        seen.seconds = time.monotonic() - began
    finally:
        # Before it is waited for: until then nobody else can have its number.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        pipes.close()
    seen.status = 128 - status if status < 0 else status
    return seen


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Pipes:
    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        pipes = (process.stdin, process.stdout, process.stderr)
        self._in, self._out, self._err = (pipe.fileno() for pipe in pipes if pipe)
        self._given = memoryview(given)
        self._selector = selectors.DefaultSelector()
        self._reading = {self._out, self._err}
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_WRITE if pipe == self._in else selectors.EVENT_READ)

    @property
    def silent(self) -> bool:
        return not self._reading

    def move(self, seen: Watched, seconds: float) -> bool:
        """Wait for at most *seconds* until something can be moved, and move it; false where nothing could."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            if key.fd == self._in:
                self._feed()
            else:
                self._take(key.fd, seen.stdout if key.fd == self._out else seen.stderr)
        return bool(ready)

    def _feed(self) -> None:
        try:
            self._given = self._given[os.write(self._in, self._given[:_CHUNK]) :]
        except BrokenPipeError:
            self._given = self._given[:0]
        if not self._given:
            self._selector.unregister(self._in)

    def _take(self, pipe: int, into: bytearray) -> None:
        part = os.read(pipe, _CHUNK)
        into += part
        if not part:
            self._selector.unregister(pipe)
            self._reading.discard(pipe)

    def close(self) -> None:
        self._selector.close()
