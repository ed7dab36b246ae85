"""The process in which math-verify compares answers: ``python -m personalake.synthesis.answers.checker SECONDS BYTES``.

It loads math-verify once and forks; the fork answers. The kernel ends a fork that is over its processor time, even in
the middle of one multiplication that no Python code can interrupt, and the next one is there in milliseconds. Processor
time, and not the clock's: a verdict mustn't depend on what else a busy machine does.

On stdin come requests: four bytes of length (big-endian), then JSON ``[one, other]``. On stdout go single bytes: where
the fork is, and what it found.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import logging
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

READY, FAILED = b"+", b"-"
ONE, OTHER, BOTH = b"1", b"2", b"3"
"""Where it is: reading the one answer, the other, comparing both."""
EQUAL, DIFFERENT, UNREAD, FAILED_OVER, TOO_LARGE, TIMED_OUT, CRASHED = b"=", b"!", b"?", b"~", b"M", b"T", b"X"

LENGTH = struct.Struct(">I")

_ITEMS = 5_000
"""Comparisons of one fork: what the parser and SymPy keep of each goes with it."""

_ENDED, _FRESH = 0, 3


def main(seconds: float, memory: int) -> int:
    """Answer until stdin closes; the exit code is 1 where math-verify can't be loaded (the reason goes to stdout)."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # parsers print what they think of an answer
    logging.disable()
    try:
        comparison = _Comparison()
    except Exception as error:  # whatever an installation has wrong
        os.write(replies, FAILED + f"{type(error).__name__}: {error}".encode()[:500])
        return 1
    gc.freeze()
    os.write(replies, READY)
    while True:
        fork = os.fork()
        if fork == 0:
            _serve(replies, comparison, seconds, memory)
        _, status = os.waitpid(fork, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
            os.write(replies, TIMED_OUT)
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) == _ENDED:
            return 0
        elif not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == _FRESH):
            os.write(replies, CRASHED)
            return 1


class _Comparison:
    """math-verify, without its own time limits: they are signals in whatever process asks."""

    def __init__(self) -> None:
        import math_verify  # noqa: PLC0415 (of an extra; here it is there, or the process ends)

        self._verify = math_verify.verify
        self._parse = functools.partial(
            math_verify.parse,
            extraction_config=[math_verify.LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
        one = self.read("$\\frac{1}{2}x$")
        self.equal(one, self.read("$0.5x+0$"))  # what is loaded at the first use, every fork has

    @functools.lru_cache(maxsize=256)  # noqa: B019 (there is one, for as long as the process lives)
    def read(self, text: str) -> Any:  # noqa: ANN401 (SymPy has no types)
        """Return what math-verify reads in *text*, null where nothing; a number is worked out, to see what it takes."""
        found = self._parse(text)
        if not found:
            return None
        try:
            if getattr(found[0], "is_number", False):
                found[0].doit()
        except MemoryError:
            raise
        except Exception:  # whatever SymPy raises: the comparison may do without
            return found[0]
        return found[0]

    def equal(self, one: Any, other: Any) -> bool:  # noqa: ANN401 (as above)
        """Tell whether math-verify takes either for the other: it isn't symmetric, and holds 1 for 2x + z = 1."""
        ask = functools.partial(self._verify, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True)
        return bool(ask(one, other) and ask(other, one))


def _serve(replies: int, comparison: _Comparison, seconds: float, memory: int) -> NoReturn:
    """Answer as the fork; ends with it."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit, and refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in range(_ITEMS):
        head = _exactly(LENGTH.size)
        if not head:
            os._exit(_ENDED)
        one, other = json.loads(_exactly(LENGTH.unpack(head)[0]))
        try:
            found = _compared(comparison, one, other, functools.partial(_stage, replies, seconds))
        except MemoryError:
            found = TOO_LARGE
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(replies, found)
        if found == TOO_LARGE:
            break
    os._exit(_FRESH)


def _stage(replies: int, seconds: float, mark: bytes) -> None:
    os.write(replies, mark)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _compared(comparison: _Comparison, one: str, other: str, stage: Callable[[bytes], None]) -> bytes:
    read = []
    for mark, text in ((ONE, one), (OTHER, other)):
        stage(mark)
        read.append(comparison.read(text))
        if read[-1] is None:
            return UNREAD
    stage(BOTH)
    try:
        return EQUAL if comparison.equal(*read) else DIFFERENT
    except MemoryError:
        raise
    except Exception:  # whatever SymPy raises over a pair
        return FAILED_OVER


def _exactly(size: int) -> bytes:
    """Read *size* bytes of stdin, and none that belong to the next fork's request; fewer where it closed."""
    parts = b""
    while len(parts) < size:
        part = os.read(0, size - len(parts))
        if not part:
            break
        parts += part
    return parts


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
