"""Attacks on the proof that asserts have held, by the code that they are about."""

from __future__ import annotations

import pytest

from personalake.synthesis.sandbox import execute as sandbox
from tests.synthesis.sandbox.sandboxes import SMALL, needs_sandbox

pytestmark = needs_sandbox


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit()",
        "raise SystemExit(0)",
        "def f(x):\n    import os\n    os._exit(0)",
        "def f(x):\n    exit(0)",
        "def f(x):\n    import os\n    os.kill(os.getpid(), 9)",
        "def f(x):\n    import os, sys\n    os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])",
        "def f(x):\n    print('0' * 32 + 'tested\\t5', flush=True)\n    import os\n    os._exit(0)",
        "import os\nfor n in range(1, 20):\n    try: os.write(n, b'tested\\t5')\n    except OSError: pass\nos._exit(0)",
        "import os\nos.closerange(0, 256)",
        "import atexit, os\natexit.register(os._exit, 0)",
        "import builtins\nbuiltins.AssertionError = SystemExit",
        "import builtins\nbuiltins.BaseException = builtins.Exception = KeyError",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *_, **__: None",
        "import builtins\nbuiltins.type = builtins.isinstance = builtins.str = lambda *_: 'ok'",
        "import builtins\nbuiltins.abs = lambda _: 2",
        "import sys\nsys.excepthook = sys.stdout = sys.stderr = None",
        "import sys\nsys.modules.clear()",
        "import os\nos._exit = os.write = os.read = lambda *_: 0",
        "import sys, traceback\ntraceback.print_exception = lambda *_: sys.exit(0)",
        "import sys\nclass Out:\n    def flush(self): raise SystemExit(0)\n    write = flush\nsys.stdout = Out()",
        "def f(x):\n    while True: __counted__()",
        "def f(x):\n    __counted__()\n    return 3",
        "import sys\ndef skip(frame, what, _):\n    if what == 'line':\n        frame.f_lineno = 3\n    return skip\n"
        "sys.settrace(skip)",
        "import sys\nfor up in range(3):\n    try:\n        sys._getframe(up).f_locals.clear()\n"
        "        sys._getframe(up).f_globals.clear()\n    except (ValueError, RuntimeError, TypeError):\n        pass",
    ],
)
def test_who_gets_around_an_assert_has_not_passed(code: str) -> None:
    held = "f" if "def f" in code else "double"
    tests = f"def double(x): return x\nprint('in the tests')\nassert abs({held}(1)) == 2\nassert True"
    ran = sandbox.test(code, tests, SMALL)
    assert ran.outcome in {"failed", "timed_out"}, ran
    assert ran.why


@pytest.mark.parametrize(
    "forging",
    [
        "for pipe in range(3, 9):\n        try:\n            os.write(1, os.read(pipe, 32) + b'tested\\t1')\n"
        "            os._exit(0)\n        except OSError:\n            pass",
        "frame = sys._getframe()\n    while 'tell' not in frame.f_locals:\n        frame = frame.f_back\n"
        "    frame.f_locals['tell']('tested', 1)\n    os._exit(0)",
    ],
)
@pytest.mark.parametrize("head", ["def f(x):", "if True:"])
def test_a_report_forged_by_who_knows_how_is_found_out(head: str, forging: str) -> None:
    ran = sandbox.test(f"import os, sys\n{head}\n    {forging}", "assert f(1) == 2", SMALL)
    assert (ran.outcome, ran.why) == ("failed", "it passes tests that nobody can pass, too")


def test_changes_to_what_is_built_in_do_not_reach_the_tests() -> None:
    code = "import builtins\nbuiltins.all = lambda _: True\nbuiltins._ = str"
    assert sandbox.test(code, "assert not all([False])\nassert _(1) == '1'", SMALL).outcome == "ok"


def test_a_closed_output_does_no_harm_to_asserts_that_hold() -> None:
    assert sandbox.test("import os, sys\nos.close(1)\nsys.stderr.close()", "assert True", SMALL).outcome == "ok"


def test_standard_input_is_empty_not_the_proof() -> None:
    ran = sandbox.run("import sys\nprint(repr(sys.stdin.read()))\ninput()", SMALL)
    assert ran.stdout == "''\n"
    assert ran.why.startswith("EOFError")
