"""Whether final answers are the same: by their texts where those tell, and else by math-verify in a process of its own.

math-verify limits its time by signals, which only a main thread may use, and which a computation in C doesn't heed. So
a child process is started, once, and asked one pair at a time over pipes; it is ended over a pair that is too much.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType

from personalake.errors import PersonalakeError
from personalake.synthesis.answers import checker
from personalake.synthesis.answers.text import DIFFERENT, EQUAL, Read, Reason, Verdict, read, settle

__all__ = ["Agreement", "Reason", "Same", "Verdict"]

SECONDS = 2.0
"""Processor time that an answer, or a pair, may take: a thousand times what most take."""
MEMORY = 1 << 29
"""Address space of the child, in bytes; it needs an eighth of it."""
LONGEST = 1_000
"""Characters of an answer that is still parsed."""

_READABLE = 4_000  # Python makes no integer of more digits than 4,300
_START_S, _STOP_S = 60.0, 5.0
_CLOCK = 30
"""Seconds of the clock for one of processor time: a child that gets less hangs."""
_REMEMBERED = 10_000
_PATIENCE = 2
"""Pairs that may be too much for the child before `agree` leaves an answer alone, where neither is so by itself."""

_FOUND = {checker.EQUAL: EQUAL, checker.DIFFERENT: DIFFERENT}
_REASONS: dict[bytes, Reason] = {
    checker.UNREAD: "unparsable",
    checker.FAILED_OVER: "incomparable",
    checker.TOO_LARGE: "too_large",
    checker.TIMED_OUT: "timed_out",
    checker.CRASHED: "crashed",
}
_COSTLY: tuple[Reason, ...] = ("timed_out", "too_large", "crashed")


@dataclass(frozen=True)
class Agreement:
    """Answers by class: indices of the same ones, the largest class first; what couldn't be settled, by its reasons."""

    classes: tuple[tuple[int, ...], ...]
    undecided: tuple[Reason, ...]


class Same:
    """Compares final answers; a context manager, since a child process may stand behind it.

    *seconds* of processor time may go into reading an answer, and as many into comparing two; *memory* is the child's
    address space in bytes (macOS doesn't limit it); an answer of more than *longest* characters (4,000 at most) is
    never parsed. The child is started when the first pair needs it, and is asked under a lock: threads may share one.
    `compared` counts the pairs that crossed to it, `ended` the times that it was ended over one.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY, longest: int = LONGEST) -> None:
        if longest > _READABLE:
            raise ValueError(f"`longest` is {_READABLE} at most (given: {longest})")
        self.compared = self.ended = 0
        self._seconds, self._memory, self._longest = seconds, memory, longest
        self._verifier = find_spec("math_verify") is not None
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._bad: dict[str, Reason] = {}  # answers that alone were too much

    def __enter__(self) -> Same:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child; safe to call again."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    @property
    def pid(self) -> int | None:
        """The child's process and group; null where there is none."""
        return self._child.pid if self._child else None

    def same(self, one: str, other: str) -> Verdict:
        """Compare two answers; symmetric, and never a guess: what can't be settled is ``undecided``, with its reason.

        Where it takes algebra, they are as different as math-verify finds them: it doesn't know that i^2 is -1.
        Raises :class:`PersonalakeError` where math-verify is installed and can't be loaded.
        """
        if one == other:
            return EQUAL
        if max(len(one), len(other)) > self._longest:
            return EQUAL if one.strip() == other.strip() else Verdict("undecided", "too_long")
        first, second = sorted((read(one), read(other)), key=_order)
        return settle(first, second) or self._ask(first.math, second.math)

    def many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """Compare each of *pairs*, in order; one that came before isn't compared again.

        As with :meth:`same`, only what the texts don't tell crosses to the child.
        """
        known: dict[tuple[str, str], Verdict] = {}
        found = []
        for pair in pairs:
            if pair not in known:
                known[pair] = self.same(*pair)
            found.append(known[pair])
        return found

    def agree(self, answers: Sequence[str | None]) -> Agreement:
        """Group *answers* into classes of the same; a null is in none.

        The classes are the same in whatever order the answers come: the most frequent spelling is taken first, then
        the shortest, and each is compared with the first of each class so far (sameness with rounding and units left
        out isn't transitive). Classes of one size are ordered by their first index.
        """
        by_key: dict[str, list[int]] = {}
        texts: dict[str, str] = {}
        for index, answer in enumerate(answers):
            if answer is not None:
                key = read(answer).key if len(answer) <= self._longest else answer.strip()
                by_key.setdefault(key, []).append(index)
                texts[key] = min(texts.get(key, answer), answer)
        classes: dict[str, list[int]] = {}
        undecided: list[Reason] = []
        for key in sorted(by_key, key=lambda key: (-len(by_key[key]), len(key), key)):
            home = self._home(texts[key], classes, undecided)
            classes.setdefault(home or texts[key], []).extend(by_key[key])
        ordered = sorted((tuple(sorted(members)) for members in classes.values()), key=lambda one: (-len(one), one))
        return Agreement(tuple(ordered), tuple(undecided))

    def _home(self, answer: str, classes: Iterable[str], undecided: list[Reason]) -> str | None:
        """The class that *answer* belongs to; null where it opens one."""
        failed = 0
        for known in classes:
            verdict = self.same(known, answer)
            if verdict.said == "equal":
                return known
            if verdict.reason:
                undecided.append(verdict.reason)
                failed += verdict.reason in _COSTLY and not {read(known).math, read(answer).math} & self._bad.keys()
                if failed == _PATIENCE:
                    break
        return None

    def _ask(self, one: str, other: str) -> Verdict:
        """Let the child compare two; who is known to be too much for it isn't shown to it again."""
        if not self._verifier:
            return Verdict("undecided", "no_verifier")
        with self._lock:
            for text in (one, other):
                if text in self._bad:
                    return Verdict("undecided", self._bad[text])
            self.compared += 1
            stage, found = self._compare(one, other)
            if found in _FOUND:
                return _FOUND[found]
            reason = _REASONS[found]
            self.ended += reason in _COSTLY
            if stage != checker.BOTH:
                if len(self._bad) >= _REMEMBERED:
                    self._bad.clear()
                self._bad[one if stage == checker.ONE else other] = reason
            return Verdict("undecided", reason)

    def _compare(self, one: str, other: str) -> tuple[bytes, bytes]:
        for _ in range(2):
            if self._child is None or self._child.gone:
                self.close()
                self._child = _Child(self._seconds, self._memory)
            stage, found = self._child.compare(one, other)
            if found == checker.CRASHED:
                self.close()
            if stage:  # else it ended before it had the pair
                break
        return stage or checker.BOTH, found


def _order(answer: Read) -> tuple[int, str]:
    return len(answer.key), answer.key


class _Child:
    """The child process: started here, ended by :meth:`close`, by its stdin's end, or over a pair."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._patience = _START_S
        self._process = subprocess.Popen(
            [sys.executable, "-m", checker.__name__, str(seconds), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a parser prints may hold the answer
            bufsize=0,
            # It finds what this process found (also in a wheel that Spark shipped), and orders sets alike each time.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C doesn't reach it, and its fork ends with it
        )
        try:
            ready = self._byte() == checker.READY
        except TimeoutError:
            ready = False
            self._kill()
        if not ready:
            said = self._process.stdout.read().decode(errors="replace") if self._process.stdout else ""
            self.close()
            raise PersonalakeError(
                f"math-verify can't be loaded: {said or 'its process did not start'}",
                cure="pip install 'personalake[verify]' once more, or remove math-verify to do without",
            )
        self._patience = seconds * _CLOCK

    def compare(self, one: str, other: str) -> tuple[bytes, bytes]:
        """Return where the child was last (nothing: it never had the pair), and what it found."""
        frame = json.dumps([one, other]).encode()
        stage = b""
        try:
            self._send(checker.LENGTH.pack(len(frame)) + frame)
            while (found := self._byte()) in (checker.ONE, checker.OTHER, checker.BOTH):
                stage = found
        except TimeoutError:
            self._kill()
            return checker.BOTH, checker.TIMED_OUT  # whose fault it was, nobody knows
        except OSError:
            found = b""
        except BaseException:  # Ctrl-C: the answer to this pair would be taken for the next one's
            self._kill()
            raise
        return stage, found or checker.CRASHED

    @property
    def pid(self) -> int:
        """Its process, and the group that its forks are in."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it: its stdin's end is its own, too."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._kill()

    def _send(self, frame: bytes) -> None:
        pipe = self._process.stdin
        while frame and pipe is not None:
            frame = frame[pipe.write(frame) or 0 :]

    def _byte(self) -> bytes:
        """The next byte that it says, nothing where it has ended; TimeoutError where it says none."""
        pipe = self._process.stdout
        if pipe is None:
            return b""
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        if not waiting.poll(self._patience * 1_000):
            raise TimeoutError
        return pipe.read(1)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
