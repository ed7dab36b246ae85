from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from personalake import lease as module
from personalake.errors import LeaseHeldError, StoreError
from personalake.lease import Lease
from personalake.work import Folder
from tests.cluster import wait_until
from tests.conftest import ROOT

_CONTENDERS = """
import sys, threading
from personalake.errors import LeaseHeldError
from personalake.lease import Lease
from personalake.work import Folder

def contend():
    try:
        with Lease(Folder(sys.argv[1]), "a contender", beat_s=0.1) as lease:
            say("held")
            end.wait()
            lease.check()
    except LeaseHeldError as error:
        say("lost" if "lost" in str(error) else "refused")
    except BaseException as error:
        say(f"failed: {error}")

def say(what):
    sys.stdout.write(what + "\\n")
    sys.stdout.flush()

end, threads = threading.Event(), [threading.Thread(target=contend) for _ in range(int(sys.argv[2]))]
say("ready")
sys.stdin.readline()
for thread in threads:
    thread.start()
sys.stdin.readline()
end.set()
for thread in threads:
    thread.join()
"""


@contextmanager
def contenders(address: str, processes: int = 1, threads: int = 1) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that contend once they get a line, say what came of it, and hold until they get another."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    command = [sys.executable, "-c", _CONTENDERS, address, str(threads)]
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            started.append(process)
        assert {said(process) for process in started} == {"ready"}
        yield started


def tell(process: subprocess.Popen[str]) -> None:
    """Let the contender go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> str:
    """What the contender said last."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def one_of_twenty_holds(address: str) -> None:
    """Let four threads in each of five processes contend at once, and fail unless exactly one holds the lease."""
    with contenders(address, processes=5, threads=4) as started:
        for process in started:
            tell(process)
        told = Counter(said(process) for process in started for _ in range(4))
        assert told == {"held": 1, "refused": 19}


def a_killed_holder_gives_way(address: str) -> None:
    """Kill a holder, and fail unless its lease is free at once."""
    with contenders(address) as (holder,):
        tell(holder)
        assert said(holder) == "held"
        with pytest.raises(LeaseHeldError, match=f"a contender, process {holder.pid}"), Lease(Folder(address), "next"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with Lease(Folder(address), "next") as lease:
            lease.check()


def a_silent_holder_gives_way_after_its_expiry(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a holder, take its lease from another machine once it expires, and fail unless the holder finds out."""
    with contenders(address) as (holder,):
        tell(holder)
        assert said(holder) == "held"
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeldError, match="a contender"), Lease(Folder(address), "here", expires_s=0.0):
            pass  # Alive on this machine: it may go on.
        monkeypatch.setattr(module, "_machine", lambda: "another machine")
        stopped = time.monotonic()
        with ExitStack() as stack:
            wait_until(lambda: _taken(address, stack), "the lease", 30)
            assert time.monotonic() > stopped + 0.5
            holder.send_signal(signal.SIGCONT)
            tell(holder)
            assert said(holder) == "lost"


def _taken(address: str, stack: ExitStack) -> bool:
    with contextlib.suppress(LeaseHeldError):
        stack.enter_context(Lease(Folder(address), "next", expires_s=1.5, beat_s=0.1))
        return True
    return False


def _held(folder: Path, *, age_s: float = 0.0, **changes: object) -> Path:
    """A holder's claim that is *age_s* seconds old."""
    holder = {"host": socket.gethostname(), "machine": "another", "pid": 1, "born": "0", "application": "other"}
    (folder / "lease").mkdir(exist_ok=True)
    claim = folder / "lease" / "00000000000000000001-other.json"
    claim.write_text(json.dumps({**holder, "since": 0.0, **changes}))
    claim.with_suffix(".beat").touch()
    for file in (claim, claim.with_suffix(".beat")):
        os.utime(file, times=(time.time() - age_s,) * 2)
    return claim


def test_a_store_has_one_holder_at_a_time_and_the_lease_goes_with_it(tmp_path: Path) -> None:
    with Lease(Folder(str(tmp_path)), "one") as lease:
        lease.check()
        with pytest.raises(LeaseHeldError, match="one, process") as caught, Lease(Folder(str(tmp_path)), "two"):
            pass
        assert caught.value.exit_code == 4
        lease.check()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_dead_holder_on_this_machine_gives_way_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _held(tmp_path, machine=module._machine(), pid=gone.pid, born="123")
    with Lease(Folder(str(tmp_path)), "next") as lease:
        lease.check()


def test_a_number_used_again_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    _held(tmp_path, machine=module._machine(), pid=1, born="not when process 1 started")
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_what_this_process_left_behind_gives_way_and_what_it_holds_does_not(tmp_path: Path) -> None:
    _held(tmp_path, machine=module._machine(), pid=os.getpid(), born=module._born(os.getpid()))
    with Lease(Folder(str(tmp_path)), "next"), pytest.raises(LeaseHeldError), Lease(Folder(str(tmp_path)), "third"):
        pass


def test_a_holder_elsewhere_gives_way_only_after_its_expiry(tmp_path: Path) -> None:
    _held(tmp_path, host="elsewhere", age_s=100)
    with pytest.raises(LeaseHeldError, match="elsewhere"), Lease(Folder(str(tmp_path)), "next"):
        pass
    _held(tmp_path, host="elsewhere", age_s=130)
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_beat_keeps_an_old_claim_alive_and_a_time_ahead_of_the_clock_does_not(tmp_path: Path) -> None:
    claim = _held(tmp_path, age_s=9_000)
    os.utime(claim.with_suffix(".beat"))
    with pytest.raises(LeaseHeldError), Lease(Folder(str(tmp_path)), "next"):
        pass
    _held(tmp_path, age_s=-9_000)
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_machines_own_clock_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _held(tmp_path, age_s=5)
    monkeypatch.setattr(time, "time", lambda: 9e9)
    with pytest.raises(LeaseHeldError), Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_later_attempt_at_the_same_application_takes_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _held(tmp_path, attempt=["1410901177871_0001", 2])
    for container in ("e17_1410901177871_0001_02_000001", "1410901177871_0002_03_000001"):
        monkeypatch.setenv("CONTAINER_ID", f"container_{container}")
        with pytest.raises(LeaseHeldError), Lease(Folder(str(tmp_path)), "next"):
            pass
    monkeypatch.setenv("CONTAINER_ID", "container_e17_1410901177871_0001_03_000001")
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_lease_that_was_taken_away_is_noticed_and_the_new_holder_keeps_his(tmp_path: Path) -> None:
    with Lease(Folder(str(tmp_path)), "first") as lease:
        (own,) = (tmp_path / "lease").glob("*.json")
        own.unlink()
        theirs = _held(tmp_path)
        with pytest.raises(LeaseHeldError, match="lost its lease"):
            lease.check()
    assert sorted((tmp_path / "lease").iterdir()) == [theirs.with_suffix(".beat"), theirs]


def test_a_holder_whose_beats_do_not_arrive_counts_its_lease_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Folder.write

    def fail(self: Folder, name: str, content: bytes) -> None:
        if name.endswith(".beat"):
            raise StoreError("no answer")
        write(self, name, content)

    with Lease(Folder(str(tmp_path)), "first", expires_s=0.3, beat_s=0.05) as lease:
        monkeypatch.setattr(Folder, "write", fail)
        wait_until(lambda: _lost(lease), "the loss", 10)
        monkeypatch.undo()
        with pytest.raises(LeaseHeldError, match="lost its lease"):
            lease.check()


def _lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseHeldError:
        return True
    return False


def test_of_twenty_that_start_at_once_exactly_one_holds(tmp_path: Path) -> None:
    one_of_twenty_holds(str(tmp_path))


def test_a_holder_that_was_killed_gives_way_at_once(tmp_path: Path) -> None:
    a_killed_holder_gives_way(str(tmp_path))


def test_a_holder_that_was_stopped_keeps_its_lease_on_this_machine_and_loses_it_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_silent_holder_gives_way_after_its_expiry(str(tmp_path), monkeypatch)


def test_two_never_hold_at_once_however_their_writes_and_listings_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, at_work, most, turns = random.Random(7), [0], [0], [0]
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)

    def late(name: str) -> None:
        real = getattr(Folder, name)

        def call(*arguments: Any) -> Any:
            time.sleep(chance.choice((0, 0, 0.001, 0.005)))
            return real(*arguments)

        monkeypatch.setattr(Folder, name, call)

    def contend(until: float) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(LeaseHeldError), Lease(Folder(str(tmp_path)), "one of four"):
                at_work[0] += 1
                most[0] = max(most[0], at_work[0])
                time.sleep(0.002)
                at_work[0] -= 1
                turns[0] += 1

    for name in ("write", "files", "read", "delete_file"):
        late(name)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(contend, [time.monotonic() + 2] * 4))
    assert most == [1]
    assert turns[0] > 10
