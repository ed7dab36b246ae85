"""Whether a sandbox is one: a program in it tries to get out, by ways that do no harm, and tells how far it came."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TOO_MANY = 8  # A sandbox may count processes of its own.
_LOW_NUMBERS = 64  # Process numbers that may exist inside as well, as others.

# TEST-NET-1 and 2001:db8::/32 are for documentation: with a route to them there is one to everywhere. Nothing is sent.
_ATTEMPT = """
import os, socket
def tried(name, attempt):
    try:
        attempt()
    except (OSError, ValueError):
        return
    print("hole", name)
def reached(family, kind, address):
    with socket.socket(family, kind) as caller:
        caller.settimeout(2)
        caller.connect(address)
def forked():
    ends, started = os.pipe(), []
    try:
        for _ in range({most}):
            child = os.fork()
            if child == 0:
                os.close(ends[1])
                os.read(ends[0], 1)
                os._exit(0)
            started.append(child)
    finally:
        for end in ends:
            os.close(end)
        for child in started:
            os.waitpid(child, 0)
tried("network", lambda: reached(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {port})))
tried("network", lambda: reached(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 9)))
tried("network", lambda: reached(socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 9)))
tried("reading", lambda: open({canary!r}).close())
tried("writing", lambda: open({written!r}, "w").close())
if {process} > {low}:
    tried("signals", lambda: os.kill({process}, 0))
tried("processes", forked)
"""

_HOLES = {
    "network": "reaches the network",
    "reading": "reads this machine's files",
    "writing": "writes this machine's files",
    "signals": "reaches this machine's processes",
    "processes": "starts more processes than `processes`",
}


@contextmanager
def attempt(processes: int) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Yield a program that tries to get out, and what tells from its output which hole it found; empty: none.

    It looks for a listener, a file and this process, all of which it is told where they are, and starts more than
    *processes*.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder, socket.socket() as listener:
        canary, written = Path(folder) / "canary", Path(folder) / "written"
        canary.write_text(secrets.token_hex())
        with suppress(OSError):  # A machine without a loopback address has no network to reach there either.
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        port = listener.getsockname()[1] or 9
        program = _ATTEMPT.format(
            most=processes + _TOO_MANY, port=port, canary=str(canary), written=str(written), process=os.getpid(),
            low=_LOW_NUMBERS,
        )  # fmt: skip

        def holes(output: str) -> str:
            found = [line.removeprefix("hole ") for line in output.splitlines()]
            # In a private folder of the same name a file may be written, but not here.
            found = [name for name in found if name != "writing" or written.exists()]
            return " and ".join(dict.fromkeys(_HOLES[name] for name in found if name in _HOLES))

        yield program, holes
