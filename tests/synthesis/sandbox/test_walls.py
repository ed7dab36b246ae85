"""Attacks on the machine around the sandbox: its network, files, environment and processes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from personalake.synthesis.sandbox import execute as sandbox
from tests.synthesis.sandbox.sandboxes import SMALL, needs_sandbox, take_filter_away

pytestmark = needs_sandbox
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["filtered", "unfiltered"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as it is, and once without the filter of system calls: the namespaces shall hold by themselves."""
    if request.param == "unfiltered":
        take_filter_away(monkeypatch)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_a_socket_reaches_no_listener_outside(family: str, listener: socket.socket) -> None:
    name = f"\0sandbox-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        abstract.setblocking(False)
        address = listener.getsockname() if family == "AF_INET" else name
        ran = sandbox.run(f"import socket\nsocket.socket(socket.{family}).connect({address!r})", SMALL)
        assert ran.outcome == "failed"
        assert ran.why.startswith(("PermissionError", "ConnectionRefusedError", "OSError"))
        for listening in (listener, abstract):
            with pytest.raises(BlockingIOError):
                listening.accept()


def test_no_kind_of_socket_can_be_opened() -> None:
    program = (
        "import socket\n"
        "for family in range(46):\n"
        "    for kind in (1, 2, 3, 5):\n"
        "        try:\n            socket.socket(family, kind)\n"
        "        except PermissionError:\n            pass\n"
        "        else:\n            print('open', family, kind)\n"
        "socket.socketpair()"  # Within itself it may; event loops do.
    )
    ran = sandbox.run(program, SMALL)
    assert (ran.outcome, ran.stdout) == ("ok", "")


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    "place",
    [
        "/written",
        "/home/written",
        "/var/written",
        "/tmp/../written",
        "/dev/written",
        "/usr/written",
        "/python/written",
    ],
)
def test_nothing_is_written_outside_of_tmp(place: str) -> None:
    program = f"import os\nos.makedirs(os.path.dirname({place!r}), exist_ok=True)\nopen({place!r}, 'w')"
    ran = sandbox.run(program, SMALL)
    assert ran.outcome == "failed"
    assert "Read-only file system" in ran.stderr
    assert not os.path.exists(place)  # False too where this user may not look.


@pytest.mark.usefixtures("either")
def test_what_is_written_to_tmp_stays_in_the_sandbox(tmp_path: Path) -> None:
    for folder in (tmp_path, ROOT, Path.home()):
        place = folder / "written-by-a-sandbox"
        sandbox.run(
            f"import os\nos.makedirs({str(folder)!r}, exist_ok=True)\nopen({str(place)!r}, 'w').write('x')", SMALL
        )
        assert not place.exists()
    name = f"/tmp/written-by-a-sandbox-{os.getpid()}"
    assert sandbox.run(f"open({name!r}, 'w').write('x')", SMALL).outcome == "ok"
    assert not Path(name).exists()
    assert sandbox.run("import os; print(os.listdir('/tmp'))", SMALL).stdout == "[]\n"


@pytest.mark.usefixtures("either")
def test_files_of_this_machine_are_not_there(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    for place in ("/etc/passwd", "/proc/self/environ", "/proc/1/environ", str(canary), str(ROOT / "pyproject.toml")):
        ran = sandbox.run(f"print(open({place!r}).read())", SMALL)
        assert ran.why.startswith("FileNotFoundError"), place


def test_there_is_nothing_but_the_interpreter() -> None:
    program = "import os\nfor top in sorted(os.listdir('/')): print(top)\nprint(sum(1 for _ in os.walk('/home')))"
    tops = set(sandbox.run(program, SMALL).stdout.split())
    assert tops <= {"python", "lib", "lib64", "dev", "tmp", "usr", "0"}
    walk = "import json, os\nprint(json.dumps([f'{at}/{name}' for at, _, names in os.walk('/') for name in names]))"
    files = json.loads(sandbox.run(walk, SMALL.model_copy(update={"output_kb": 4096})).stdout)
    outside = [file for file in files if not file.startswith(("/python/", "/usr/share/zoneinfo/"))]
    assert len(outside) <= 3, outside  # The loader, /dev/null and /dev/urandom.
    assert not [file for file in files if "site-packages" in file]


def test_the_environment_and_the_parents_memory_hold_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "sk-canary-in-the-environment")
    program = (
        "import os, ctypes, subprocess\n"
        "print(dict(os.environ))\n"
        "libc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\nprint(libc.getenv(b'CANARY_KEY'))\n"
        "print(os.getuid(), os.uname().nodename, os.getcwd())"
    )
    ran = sandbox.run(program, SMALL)
    assert ran.outcome == "ok"
    assert "canary" not in ran.stdout.lower()
    assert ran.stdout.endswith("65534 sandbox /tmp\n")


@pytest.mark.usefixtures("either")
def test_its_parent_and_this_process_outlive_its_kills() -> None:
    program = (
        "import os, signal\n"
        f"for pid in (os.getppid(), {os.getpid()}, -1):\n"
        "    try:\n        os.kill(pid, signal.SIGKILL)\n"
        "    except OSError as error:\n        print(type(error).__name__)\n"
        "print('still here')"
    )
    ran = sandbox.run(program, SMALL)
    assert ran.outcome == "ok"
    assert ran.stdout.endswith("still here\n")


@pytest.mark.usefixtures("either")
def test_it_has_no_privilege_to_use() -> None:
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.chroot(b'/tmp'), libc.unshare(0x20000))\n"
        "for attempt in (lambda: os.setuid(0), lambda: os.sethostname('x') if hasattr(os, 'sethostname') else 1 / 0,\n"
        "                lambda: os.nice(-1), lambda: os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))):\n"
        "    try:\n        attempt()\n"
        "    except (OSError, ZeroDivisionError):\n        pass\n"
        "    else:\n        print('it could')\n"
        "import resource\n"
        "for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):\n"
        "    try:\n        resource.setrlimit(limit, (-1, -1))\n"
        "    except (OSError, ValueError):\n        pass\n"
        "    else:\n        print('it raised', limit)\n"
    )
    assert sandbox.run(program, SMALL).stdout == "-1 -1 -1\n"


@pytest.mark.parametrize("ending", ["", "time.sleep(1000)", "os.kill(os.getpid(), 9)", "while True: pass"])
def test_a_grandchild_does_not_outlive_the_sandbox(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_filter_away(monkeypatch)  # Else it couldn't even be born.
    mark = f"daemon-{os.getpid()}-{abs(hash(ending))}"
    program = (
        "import ctypes, os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        ctypes.CDLL(None).prctl(1, 0)\n"  # Not to be killed when its parent dies.
        f"        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(1000)', {mark!r}])\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        f"time.sleep(0.2)\nprint('born', flush=True)\n{ending}"
    )
    ran = sandbox.run(program, SMALL)
    assert ran.stdout == "born\n"
    assert ran.seconds < 6
    assert _gone(mark)


def _gone(mark: str) -> bool:
    """Whether no process has *mark* in its command line, now or within the 5 s that a loaded machine may take."""
    for _ in range(100):
        lines = [_command_line(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        if not any(mark in line for line in lines):
            return True
        time.sleep(0.05)
    return False


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
