"""The endpoint as a process of its own (or a thread, for tests and notebooks), and its command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ...errors import PersonalakeError
from .faults import FaultPlan
from .options import add_arguments, limit_options, settings_of
from .plans import plan_of
from .settings import CHAT_MODEL, OfflineSettings

if TYPE_CHECKING:
    from ...settings import OfflineSettings as OfflineGroup

START_S = 60.0
STOP_S = 5.0
MODULE = "personalake.llm.offline"


class OfflineEndpoint:
    """A child process that serves for as long as this one lives; use as a context manager.

    It ends when its stdin closes, and so even after ``kill -9`` of this process; Ctrl-C doesn't reach it, so that
    replies in flight can be finished. *api_key_env* names the variable whose value is the only key accepted; *limits*
    are the fields of ``POST /limits`` (see :data:`.settings.LIMIT_FIELDS`).
    """

    def __init__(  # noqa: PLR0913 (each is an option of the child's)
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        flaws: float = 0.04,
        rpm: int = 0,
        tpm: int = 0,
        api_key_env: str | None = None,
        faults: FaultPlan | None = None,
        batch_seconds: float = 0.0,
        limits: Mapping[str, object] | None = None,
    ) -> None:
        options: dict[str, object] = {"host": host, "port": port, "flaws": flaws, "rpm": rpm, "tpm": tpm}
        options["batch-seconds"] = batch_seconds
        if api_key_env:
            options["api-key-env"] = api_key_env
        if faults:
            options["faults"] = json.dumps(faults.to_json())
        self._options = [f"--{name}={value}" for name, value in options.items()] + limit_options(limits or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._base_url = ""

    @classmethod
    def of(cls, settings: OfflineGroup) -> OfflineEndpoint:
        """The endpoint that a run's settings describe."""
        faults = plan_of({"latency": settings.latency_ms}, "offline.latency_ms")
        return cls(host=settings.host, port=settings.port, flaws=settings.flaws, faults=faults)

    @property
    def base_url(self) -> str:
        """The address for clients, ``http://HOST:PORT/v1``; waits until the child has one.

        Raises :class:`PersonalakeError` where it doesn't come up.
        """
        if not self._base_url:
            self._base_url = self._address()
        return self._base_url

    def __enter__(self) -> OfflineEndpoint:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the child, which takes a second or two to come up: what a caller has to do meanwhile, it may do."""
        root = str(Path(__file__).resolve().parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "--stop-with-stdin", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )

    def _address(self) -> str:
        process, line = self._process, b""
        if process is not None and process.stdout is not None:
            ready, _, _ = select.select([process.stdout], [], [], START_S)
            line = process.stdout.readline() if ready else b""
        if not line:
            self.close()
            raise PersonalakeError(
                "the embedded endpoint did not start", where="llm.offline", cure=f"try it alone: python -m {MODULE}"
            )
        return str(json.loads(line)["base_url"])

    def ledger(self, *, ids: bool = True) -> dict[str, Any]:
        """Return what the endpoint received, answered and billed (see :class:`.ledger.Ledger`)."""
        return cast("dict[str, Any]", self._admin("ledger" if ids else "ledger?ids=0"))

    def set_faults(self, plan: FaultPlan) -> None:
        """Replace the fault plan while the endpoint runs."""
        self._admin("faults", json.dumps(plan.to_json()).encode())

    def set_limits(self, **changes: object) -> None:
        """Change limits and capacity while the endpoint runs (see :data:`.settings.LIMIT_FIELDS`)."""
        self._admin("limits", json.dumps(changes).encode())

    def reset_ledger(self) -> None:
        """Forget what was received so far."""
        self._admin("ledger/reset", b"")

    def _admin(self, path: str, data: bytes | None = None) -> object:
        url = self.base_url.removesuffix("v1") + path
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the endpoint is never behind a proxy
        with opener.open(url, data=data, timeout=30) as response:
            return json.load(response)

    def close(self) -> None:
        """End the child; safe to call again."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def serving(settings: OfflineSettings | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve from a thread of this process and give the base URL; for tests and notebooks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    app = importlib.import_module(f"{MODULE}.app")
    starting = app.start(settings or OfflineSettings(), host, 0)
    runner, port = asyncio.run_coroutine_threadsafe(starting, loop).result(START_S)
    try:
        yield _url(host, port)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_S)
        loop.close()


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM (or until stdin closes, for a child); return the exit code."""
    try:
        settings = settings_of(args)
        asyncio.run(_serve(settings, args.host, args.port, stop_with_stdin=args.stop_with_stdin))
    except PersonalakeError as error:
        sys.stderr.write(f"personalake serve-offline: {error}\n")
        return error.exit_code
    except OSError as error:
        where = f"{args.host}:{args.port}"
        sys.stderr.write(f"personalake serve-offline: can't listen on {where}: {error.strerror or error}\n")
        return 2
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m personalake.llm.offline``."""
    parser = argparse.ArgumentParser(prog="personalake serve-offline", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    return serve(parser.parse_args(argv))


async def _serve(settings: OfflineSettings, host: str, port: int, *, stop_with_stdin: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if stop_with_stdin:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)
    runner, bound = await importlib.import_module(f"{MODULE}.app").start(settings, host, port)
    gc.freeze()  # what is loaded by now stays: walking it again and again costs a tenth of a request
    url = _url(host, bound)
    sys.stdout.write(json.dumps({"base_url": url}) + "\n")
    sys.stdout.flush()
    if not stop_with_stdin:
        sys.stderr.write(f"{CHAT_MODEL} (rules, not a model) answers at {url}; Ctrl-C stops it\n")
    await stop.wait()
    await runner.cleanup()


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4_096):
        pass
    loop.call_soon_threadsafe(stop.set)


def _url(host: str, port: int) -> str:
    """The address that other machines can use where the server listens on all."""
    if host in ("0.0.0.0", "::"):
        host = _own_address()
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _own_address() -> str:
    """Return this machine's address on its default route; a UDP connect sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
