"""What the sandbox says of programs, and where it refuses to run any; attacks on it: `test_sandbox_*.py`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from personalake.errors import NoSandboxError
from personalake.settings import SandboxSettings
from personalake.synthesis.sandbox import bubblewrap
from personalake.synthesis.sandbox import execute as sandbox
from personalake.synthesis.sandbox.execute import Ran, available, run
from tests.synthesis.sandbox.sandboxes import SMALL, needs_sandbox, take_filter_away

CODE = "def double(x):\n    return 2 * x\n"


@needs_sandbox
def test_a_program_that_ends_is_ok_with_what_it_said() -> None:
    ran = run("import sys\nprint('out')\nprint('err', file=sys.stderr)", SMALL)
    assert (ran.outcome, ran.status, ran.stdout, ran.stderr, ran.why) == ("ok", 0, "out\n", "err\n", "")
    assert 0 < ran.seconds < 3


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "status", "why", "line"),
    [
        ("x = 1\nx / 0", 1, "ZeroDivisionError at line 2 of the program: x / 0", 2),
        ("def f():\n  raise KeyError\n\nf()", 1, "KeyError at line 2 of the program: raise KeyError", 2),
        ("import json\njson.loads('{')", 1, "JSONDecodeError at line 2 of the program: json.loads('{')", 2),
        ("print(1\n", 1, "SyntaxError at line 1 of the program: print(1", 1),
        ("x = '\0'", 1, "SyntaxError at line 0 of the program: ", None),
        ("x = '\ud800'", 1, "SyntaxError at line 0 of the program: ", None),
        ("import sys\nsys.exit(3)", 3, "it ended with status 3", None),
        ("exit('no')", 1, "it ended with status 1", None),
        ("import os\nos.abort()", 134, "it ended by SIGABRT", None),
        ("import numpy", 1, "ModuleNotFoundError at line 1 of the program: import numpy", 1),
    ],
)
def test_a_program_that_fails_says_where(program: str, status: int, why: str, line: int | None) -> None:
    ran = run(program, SMALL)
    if line is None and "SyntaxError" in why:  # Which error, and of which line, differs between versions of Python.
        assert (ran.outcome, ran.status) == ("failed", status)
        assert "of the program" in ran.why
    else:
        assert (ran.outcome, ran.status, ran.why, ran.line) == ("failed", status, why, line)


@needs_sandbox
def test_a_traceback_shows_the_programs_lines_and_no_others() -> None:
    ran = run("def f():\n    return 1 / 0\nf()\n", SMALL)
    places = [line.split(", in")[0].strip() for line in ran.stderr.splitlines() if "File" in line]
    assert places == ['File "program.py", line 3', 'File "program.py", line 2']
    assert "return 1 / 0" in ran.stderr


@needs_sandbox
def test_the_standard_library_is_there_and_runs_the_same_each_time() -> None:
    program = (
        "import asyncio, ctypes, dataclasses, decimal, hashlib, json, re, sqlite3, ssl, tempfile, zlib, zoneinfo\n"
        "async def f():\n    await asyncio.sleep(0)\n    return 1\n"
        "print(asyncio.run(f()), sqlite3.connect(':memory:').execute('select 1').fetchone())\n"
        "with tempfile.TemporaryFile() as file:\n    file.write(b'x')\n"
        "print({'a', 'b', 'c', 'd', 'e'}, __name__)"
    )
    first, second = run(program, SMALL), run(program, SMALL)
    assert (first.outcome, first.why) == ("ok", "")
    assert first.stdout == second.stdout
    assert first.stdout.endswith("__main__\n")


@needs_sandbox
def test_asserts_that_hold_are_ok() -> None:
    ran = sandbox.test(CODE, "assert double(2) == 4\nfor n in range(3):\n    assert double(n) == n + n, n", SMALL)
    assert (ran.outcome, ran.status, ran.why, ran.line) == ("ok", 0, "", None)


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "tests", "why", "line"),
    [
        (CODE, "assert double(1) == 2\n\nassert double(2) == 5\nassert 0", "AssertionError at line 3 of the tests", 3),
        (CODE, "def same(a, b):\n  assert a == b\nsame(1, 1)\nsame(1, 2)", "AssertionError at line 2 of the tests", 2),
        (CODE, "assert double(None) == 2", "TypeError at line 1 of the tests: assert double(None) == 2", 1),
        (CODE, "assert triple(1) == 3", "NameError at line 1 of the tests", 1),
        (CODE, "assert double(1) = 2", "SyntaxError at line 1 of the tests", 1),
        ("import missing", "assert True", "ModuleNotFoundError at line 1 of the program: import missing", 1),
        ("def f(:", "assert True", "SyntaxError at line 1 of the program: def f(:", 1),
        (CODE, "double(2) == 4", "no assert was run", None),
        (CODE, "def test_double():\n    assert double(2) == 4", "no assert was run", None),
        (CODE, "if double(1) == 3:\n    assert True", "no assert was run", None),
        (CODE, "", "no assert was run", None),
    ],
)
def test_the_first_assert_that_does_not_hold_is_named(code: str, tests: str, why: str, line: int | None) -> None:
    ran = sandbox.test(code, tests, SMALL)
    assert (ran.outcome, ran.line) == ("failed", line)
    assert ran.why.startswith(why)


@needs_sandbox
@pytest.mark.parametrize(
    "tests",
    [
        "from __future__ import annotations\nassert True",
        "try:\n    double()\nexcept TypeError:\n    assert True",
        "class Test:\n    def run(self):\n        assert double(1) == 2\nTest().run()",
        "match double(1):\n    case 2:\n        assert True",
        "import program\nassert program.double is double",
        "(lambda: None)()\nwith open('/dev/null') as file:\n    assert not file.read()",
    ],
)
def test_asserts_are_counted_wherever_they_stand(tests: str) -> None:
    assert sandbox.test(CODE, tests, SMALL).outcome == "ok"


@needs_sandbox
def test_the_code_under_test_is_imported_not_run_as_the_program() -> None:
    assert (
        sandbox.test(CODE + "if __name__ == '__main__':\n    raise SystemExit", "assert double(1) == 2", SMALL).outcome
        == "ok"
    )


@needs_sandbox
def test_a_program_of_a_megabyte_is_run() -> None:
    long = f"text = '{'x' * (1 << 20)}'\n"
    assert run(long + "print(len(text))", SMALL).stdout == "1048576\n"
    many = "x = 1\n" * 20_000
    assert sandbox.test(many, "assert x == 1\n" * 10_000, SMALL.model_copy(update={"seconds": 5})).outcome == "ok"


@needs_sandbox
def test_output_is_text_whatever_the_bytes() -> None:
    ran = run(r"import sys; sys.stdout.buffer.write(b'a\0b\xff\xfec\xc3\xa4'); sys.stderr.buffer.write(b'\x80')", SMALL)
    assert (ran.outcome, ran.stdout, ran.stderr) == ("ok", "a\ufffdb\ufffd\ufffdcä", "\ufffd")


@needs_sandbox
def test_several_run_side_by_side_and_leave_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda n: run(f"print({n})", SMALL).stdout, range(12)))
    assert said == [f"{n}\n" for n in range(12)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_bubblewrap_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", _nobody_starts_anything)
    written = tmp_path / "written"
    program = f"open({str(written)!r}, 'w')"
    attempts: list[Callable[[], Ran]] = [lambda: run(program, SMALL), lambda: sandbox.test(program, "assert 1", SMALL)]
    for attempt in attempts:
        with pytest.raises(NoSandboxError, match=r"bubblewrap: there is no `bwrap` on the PATH .*install") as refused:
            attempt()
        assert refused.value.exit_code == 2
    assert not available(SMALL)
    assert not written.exists()


def test_where_bubblewrap_may_not_make_namespaces_its_words_are_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _command(tmp_path / "bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NoSandboxError, match=r"bubblewrap: bwrap: No permissions .*user\.max_user_namespaces"):
        run("", SMALL)


def test_a_command_that_is_no_sandbox_is_refused_with_what_it_lets_through() -> None:
    found = available(SMALL.model_copy(update={"command": [sys.executable]}))
    assert not found
    assert found.where == "sandbox.command"
    for hole in ("the network", "reads this", "writes this", "this machine's processes", "starts more processes"):
        assert hole in found.reason


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(NoSandboxError, match=r"sandbox\.command: there is no `no-such-command` on the PATH"):
        run("", SMALL.model_copy(update={"command": ["no-such-command"]}))


@needs_sandbox
@pytest.mark.parametrize(
    ("change", "hole"),
    [
        (lambda line: line, ""),
        (lambda line: line.replace("--unshare-all", "--unshare-all --share-net"), "reaches the network"),
        (lambda line: line.replace("--remount-ro / ", "--bind /tmp /tmp "), "writes this machine's files"),
        (lambda line: line.replace("--seccomp 9", ""), "processes"),
    ],
)
def test_a_command_of_ones_own_is_held_to_the_same(
    change: Callable[[str], str], hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "reaches" in hole or "processes" in hole:
        take_filter_away(monkeypatch)  # Else the filter alone would stop it.
    descriptor = bubblewrap.open_filter(SMALL)
    with open(descriptor, "rb") as source:
        (tmp_path / "filter").write_bytes(source.read())
    line = shlex.join(bubblewrap.with_filter(bubblewrap.command("bwrap", SMALL), 9))
    _command(tmp_path / "own", f'exec {change(line)} "$@" 9<{tmp_path / "filter"}')
    own = SMALL.model_copy(update={"command": [str(tmp_path / "own")]})
    found = available(own)
    assert hole in found.reason
    assert bool(found) == (hole == "")
    if found:
        assert sandbox.test(CODE, "assert double(1) == 2", own).outcome == "ok"


@pytest.mark.parametrize("wrong", [{"command": []}, {"seconds": 0}, {"memory": 1}, {"processes": 0}, {"output_kb": 0}])
def test_settings_that_do_not_hold_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SandboxSettings.model_validate(wrong)


def _command(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _nobody_starts_anything(*_: object, **__: object) -> None:
    raise AssertionError("something was started")
