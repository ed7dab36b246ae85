"""Attacks on the sandbox's limits: time, memory, files, output, processes."""

from __future__ import annotations

import json
import os

import pytest

from personalake.synthesis.sandbox import execute as sandbox
from tests.synthesis.sandbox.sandboxes import SMALL, needs_sandbox

pytestmark = needs_sandbox


@pytest.mark.parametrize("loop", ["while True:\n    pass", "import re\nre.match('(a*)*b', 'a' * 60)"])
def test_an_endless_loop_is_ended_by_its_cpu_time(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PATIENCE", 60)  # Not by the clock, however slow this machine is.
    ran = sandbox.run(loop, SMALL)
    assert (ran.outcome, ran.why) == ("timed_out", "it took more than 1 s of CPU time")


def test_who_ignores_the_signal_of_the_limit_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PATIENCE", 60)
    ran = sandbox.run("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass", SMALL)
    assert ran.outcome == "timed_out"


@pytest.mark.parametrize("closing", ["", "import os; os.setsid(); os.closerange(0, 256)"])
def test_who_sleeps_is_ended_by_the_clock(closing: str) -> None:
    ran = sandbox.test("", f"{closing}\nimport time\ntime.sleep(1000)", SMALL)
    assert (ran.outcome, ran.why) == ("timed_out", "it took more than 3 s")
    assert 3 <= ran.seconds < 6


@pytest.mark.parametrize(
    "program",
    [
        "x = []\nwhile True:\n    x.append(bytearray(1 << 20))",
        "def f():\n    x = 'x'\n    while True:\n        x += x\nf()",
        "x = list(range(10**9))",
    ],
)
def test_who_eats_memory_is_told_so(program: str) -> None:
    ran = sandbox.run(program, SMALL)
    assert ran.outcome == "out_of_memory"
    assert ran.why.startswith("MemoryError at line ")


def test_memory_is_held_whoever_asks_for_it() -> None:
    program = (
        "import mmap, os\nmaps, files = [], []\n"
        "try:\n    while True:\n        maps.append(mmap.mmap(-1, 1 << 20))\n"
        "except (OSError, MemoryError):\n    pass\n"
        "try:\n    files.append(os.memfd_create('x'))\nexcept OSError:\n    pass\n"
        "print(len(maps) <= 256, len(files), len(maps) > 100)"
    )
    assert sandbox.run(program, SMALL).stdout == "True 0 True\n"


def test_files_have_their_room_and_no_more() -> None:
    program = (
        "written = 0\nfor name in range(100):\n"
        "    try:\n        with open(f'/tmp/{name}', 'wb') as file:\n"
        "            for _ in range(100):\n                written += file.write(bytes(1 << 14))\n"
        "    except OSError:\n        pass\n"
        "print(written <= 1 << 20, written > 1 << 19)"
    )
    assert sandbox.run(program, SMALL).stdout == "True True\n"
    ran = sandbox.run("open('/tmp/x', 'w')", SMALL.model_copy(update={"files_mb": 0}))
    assert "Read-only file system" in ran.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_who_prints_without_end_is_cut(stream: str) -> None:
    ran = sandbox.run(f"import sys\nwhile True:\n    print('x' * 999, file=sys.{stream})", SMALL)
    assert (ran.outcome, ran.why) == ("too_much_output", "it printed more than 64 KB")
    assert len(getattr(ran, stream)) == 64 << 10
    assert ran.seconds < 3


def test_output_up_to_the_limit_is_kept_whole() -> None:
    assert sandbox.test("print('x' * 65535)", "assert True", SMALL).outcome == "ok"
    assert sandbox.test("print('x' * 65536)", "assert True", SMALL).outcome == "too_much_output"


@pytest.mark.parametrize(
    "start",
    [
        "os.fork()",
        "os.posix_spawn(sys.executable, [sys.executable], {})",
        "subprocess.run([sys.executable, '-c', ''])",
        "threading.Thread(target=print).start()",
        "multiprocessing.get_context('fork').Process(target=print).start()",
    ],
)
def test_no_process_and_no_thread_is_started(start: str) -> None:
    ran = sandbox.run(f"import multiprocessing, os, subprocess, sys, threading\nwhile True:\n    {start}", SMALL)
    assert ran.outcome == "failed"
    assert ran.why.startswith(("PermissionError", "BlockingIOError", "RuntimeError"))


def test_raw_system_calls_start_none_either() -> None:
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "threads = 0x10f00\n"
        f"print([libc.syscall(number, flags, 0, 0, 0, 0) for number in {_starts()} for flags in (17, threads)])"
    )
    ran = sandbox.run(program, SMALL)
    assert ran.outcome == "ok"
    assert set(json.loads(ran.stdout)) == {-1}


@pytest.mark.parametrize(
    "program",
    [
        "def f():\n    f()\nf()",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    f()\nf()",
        "x = []\nfor _ in range(10**6):\n    x = [x]\nrepr(x)",
        "(" * 100_000,
        "-" * 1_000_000 + "1",
        "exec('x = ' + '[' * 90 + ']' * 90 + '\\n' + 'if 1:\\n' + ' ' * 200000)",
    ],
)
def test_recursion_without_end_is_no_more_than_a_failure(program: str) -> None:
    assert sandbox.run(program, SMALL).outcome in {"failed", "out_of_memory", "timed_out"}


def test_several_processes_are_counted_where_the_kernel_counts_them() -> None:
    several = SMALL.model_copy(update={"processes": 4})
    found = sandbox.available(several)
    if not found:
        assert "starts more processes" in found.reason
        assert os.getuid() == 0
        pytest.skip("RLIMIT_NPROC doesn't hold for root, so this is refused")
    program = (
        "import os, time\nborn = 1\nwhile True:\n    if os.fork() == 0:\n        time.sleep(1000)\n"
        "    born += 1\n    print(born)"
    )
    assert sandbox.run(program, several).stdout.split()[-1] == "4"


def _starts() -> list[int]:
    return {"x86_64": [56, 57, 58, 435], "aarch64": [220, 435]}[os.uname().machine]
