"""Programs that a model wrote, run where they can do no harm: in bubblewrap, or in a sandbox of the user's own.

1. Whether there is a sandbox is found out once per process, by a program that tries to get out (`isolation`). Where
   there is none, nothing is run.
2. In it starts this interpreter, or the own sandbox's, with `sandboxed` around the program.
3. From outside, the time and the output are watched; whatever is left at the end is killed.
4. Tests count as passed if the report after the last of them carries a word that was drawn for this run. The word
   waits, unread, in the pipe: a program that ends early, or prints what a report looks like, doesn't have it.
5. One that was written against this file could still read that pipe, or call the reporter through its callers' frames:
   in one process nothing can be hidden for good. So what has passed runs once more with tests that nobody can pass, and
   who passes them too has failed. Not seen is a result that equals everything.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Literal

from personalake.errors import NoSandboxError
from personalake.settings import SandboxSettings
from personalake.synthesis.sandbox import bubblewrap, isolation
from personalake.synthesis.sandbox.sandboxed import PROGRAM, READY, TESTS
from personalake.synthesis.sandbox.watch import Limits, Watched, watch

Outcome = Literal["ok", "failed", "timed_out", "out_of_memory", "too_much_output"]
"""How a program ended: without an error (and its asserts hold), with one, or stopped at a limit."""

_PATIENCE = 3  # By the clock, for a machine that does other things too.
_START_SECONDS = 60  # Until the interpreter runs: a container's image may have to come first.
_REPORT = 8192  # Room for a report and a traceback on top.
_LINE = 200
_NEVER = "\nraise SystemExit\n"  # As good as an assert that fails, and without its traceback, which takes longer.
_SIGNALLED = 128
_OWN, _BWRAP = "sandbox.command", "bubblewrap"


@dataclass(frozen=True)
class Ran:
    """What became of a program.

    *status* is its exit status, 128 and the signal's number where a signal ended it. *stdout* and *stderr* are cut at
    the limit; bytes that aren't UTF-8, and NUL, are U+FFFD. *seconds* are by the clock, from the interpreter's start.
    *why* says in a line why it isn't `ok`, with *line* of the tests (of the program, where the tests weren't reached).
    """

    outcome: Outcome
    status: int
    stdout: str
    stderr: str
    seconds: float
    why: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Availability:
    """Whether programs can be run on this machine; true or false in a condition, with the reason where false."""

    reason: str = ""
    where: str = ""
    cure: str = ""

    def __bool__(self) -> bool:
        return not self.reason


def available(settings: SandboxSettings) -> Availability:
    """Say whether there is a sandbox that holds; tried once per process and settings, for about 0.3 s."""
    try:
        return _tried(_program(settings), settings.model_dump_json())
    except NoSandboxError as error:
        return Availability(error.what, error.where, error.cure)


def run(program: str, settings: SandboxSettings) -> Ran:
    """Run the Python *program* as ``__main__``; `ok` is an end with exit status 0.

    There is no network and no file but the standard library's and an empty ``/tmp``. Raises :class:`NoSandboxError`,
    with nothing run, where there is no sandbox.
    """
    _demand(settings)
    return _run(_program(settings), program, None, settings)


def test(code: str, tests: str, settings: SandboxSettings) -> Ran:
    """Import *code* as the module ``program``, then run *tests* in its namespace; `ok` where they ran to their end.

    The first assert that doesn't hold is `failed`, and so are an end before the last of them (``sys.exit(0)``), tests
    in which no assert was run, and code that would pass any. What is `ok` was run twice. Raises
    :class:`NoSandboxError`, with nothing run, where there is no sandbox.
    """
    _demand(settings)
    path = _program(settings)
    ran = _run(path, code, tests, settings)
    if ran.outcome == "ok" and _run(path, code, tests + _NEVER, settings).outcome == "ok":
        return replace(ran, outcome="failed", why="it passes tests that nobody can pass, too")
    return ran


def _demand(settings: SandboxSettings) -> None:
    found = available(settings)
    if not found:
        raise NoSandboxError(found.reason, where=found.where, cure=found.cure)


def _program(settings: SandboxSettings) -> str:
    name = settings.command[0] if settings.command else "bwrap"
    path = shutil.which(name)
    if path is None:
        cure = "install bubblewrap, or set `sandbox.command` to a sandbox of your own"
        where, cure = (_OWN, "install it, or leave it out for bubblewrap") if settings.command else (_BWRAP, cure)
        raise NoSandboxError(f"there is no `{name}` on the PATH", where=where, cure=cure)
    return os.path.abspath(path)


@lru_cache(maxsize=16)
def _tried(path: str, settings: str) -> Availability:
    wanted = SandboxSettings.model_validate_json(settings)
    where = _OWN if wanted.command else _BWRAP
    # What is wanted for programs may be too little for the attempt.
    enough = wanted.model_copy(update={"seconds": max(wanted.seconds, 10), "output_kb": 64})
    try:
        with isolation.attempt(wanted.processes) as (attack, holes):
            ran = _run(path, attack, None, enough)
            found = holes(ran.stdout)
    except NoSandboxError as error:
        return Availability(error.what, error.where, error.cure)
    if found:
        return Availability(f"it isn't one: a program in it {found}", where, _cure(found, wanted))
    if ran.outcome != "ok":
        return Availability(f"an innocent program doesn't run in it: {ran.why}", where, "see what it allows")
    return Availability()


def _cure(found: str, settings: SandboxSettings) -> str:
    if "processes" in found and not settings.command:
        return "set `sandbox.processes` to 1, or run as another user than root"
    return "give it options that take this away, or leave it out for bubblewrap"


def _run(path: str, program: str, tests: str | None, settings: SandboxSettings) -> Ran:
    # Lone surrogates go through, to be a syntax error there.
    texts = [text.encode("utf-8", "surrogatepass") for text in (program, tests or "")]
    word = secrets.token_hex(16).encode()
    seconds = settings.seconds
    limits = [seconds, settings.memory_mb << 20, settings.files_mb << 20, settings.processes, *map(len, texts)]
    arguments = ["run" if tests is None else "test", *map(str, limits)]
    most = settings.output_kb << 10
    bounds = Limits(_START_SECONDS, seconds * _PATIENCE, most + _REPORT)
    with _started(path, arguments, settings) as process:
        seen = watch(process, b"".join([*texts, word]), READY, bounds)
    if not seen.ready:
        raise _refusal(seen, settings)
    return _judged(seen, word, {PROGRAM: program, TESTS: tests or ""}, tests is not None, settings)


def _refusal(seen: Watched, settings: SandboxSettings) -> NoSandboxError:
    lines = [line for line in _text(seen.stderr).splitlines() if line.strip()]
    if seen.stopped == "timed_out":
        lines = [f"Python hasn't started in it after {_START_SECONDS} s"]
    what = lines[-1][:_LINE] if lines else f"it ends with status {seen.status} before Python has started"
    if settings.command:
        return NoSandboxError(what, where=_OWN, cure="try the command with `-c 'print(1)'` after it")
    cure = (
        "let this user make user namespaces (sysctl user.max_user_namespaces and "
        "kernel.apparmor_restrict_unprivileged_userns, a container's seccomp profile), bubblewrap 0.7 or later, "
        "or set `sandbox.command`"
    )
    return NoSandboxError(what, where=_BWRAP, cure=cure)


@contextmanager
def _started(path: str, arguments: list[str], settings: SandboxSettings) -> Iterator[subprocess.Popen[bytes]]:
    around = ["-S", "-s", "-B", "-X", "utf8", "-c", _around(), *arguments]
    descriptors: list[int] = []
    # Nothing of this process' environment: there may be keys in it.
    environment = {}
    if settings.command:
        command = [path, *settings.command[1:]]
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    else:
        descriptors = [bubblewrap.open_filter(settings)]
        command = bubblewrap.with_filter(bubblewrap.command(path, settings), descriptors[0])
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [*command, *around], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, cwd="/", env=environment,
            pass_fds=descriptors, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        where = _OWN if settings.command else _BWRAP
        raise NoSandboxError(f"{path} can't be started: {error.strerror}", where=where) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    with process:
        yield process


@lru_cache(maxsize=1)
def _around() -> str:
    return (resources.files(__package__) / "sandboxed.py").read_text(encoding="utf-8")


def _judged(seen: Watched, word: bytes, texts: dict[str, str], tested: bool, settings: SandboxSettings) -> Ran:
    said, reported, report = bytes(seen.stdout).partition(word)
    most = settings.output_kb << 10
    ran = Ran("failed", seen.status, _text(said[:most]), _text(seen.stderr[:most]), seen.seconds)
    too_much = f"it printed more than {settings.output_kb} KB"
    if seen.stopped:
        long = f"it took more than {settings.seconds * _PATIENCE} s"
        return replace(ran, outcome=seen.stopped, why=long if seen.stopped == "timed_out" else too_much)
    if reported:
        ran = _as_reported(ran, report.decode("utf-8", "replace").split("\t"), texts)
    elif seen.status == 0 and not tested:
        ran = replace(ran, outcome="ok")
    else:
        ran = _unreported(ran, tested, settings.seconds)
    # A failure stays one: what is too much may be its traceback.
    over = ran.outcome == "ok" and len(said) + len(seen.stderr) > most
    return replace(ran, outcome="too_much_output", why=too_much) if over else ran


def _unreported(ran: Ran, tested: bool, seconds: int) -> Ran:
    # Who ignores SIGXCPU is killed a second later.
    late = ran.status == _SIGNALLED + signal.SIGKILL and ran.seconds >= seconds
    if late or ran.status == _SIGNALLED + signal.SIGXCPU:
        return replace(ran, outcome="timed_out", why=f"it took more than {seconds} s of CPU time")
    when = "ended before its asserts had run," if tested else "ended"
    return replace(ran, why=f"it {when} {_end(ran.status)}")


def _as_reported(ran: Ran, report: list[str], texts: dict[str, str]) -> Ran:
    match report:
        case ["tested", asserts] if ran.status == 0:
            return replace(ran, outcome="ok") if asserts != "0" else replace(ran, why="no assert was run")
        case [("failed" | "full") as how, place, line, kind] if line.isdecimal():
            number = int(line)
            lines = texts[place].split("\n") if place in texts else []
            text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            part = "the tests" if place == TESTS else "the program"
            why = f"{kind[:_LINE]} at line {number} of {part}: {text[:_LINE]}"
            return replace(ran, outcome="failed" if how == "failed" else "out_of_memory", why=why, line=number or None)
    return replace(ran, why=f"it ended {_end(ran.status)}, with a report that isn't one")


def _end(status: int) -> str:
    if status > _SIGNALLED:
        with suppress(ValueError):
            return f"by {signal.Signals(status - _SIGNALLED).name}"
    return f"with status {status}"


def _text(output: bytes | bytearray) -> str:
    return output.decode("utf-8", "replace").replace("\0", "\ufffd")
