from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from personalake.errors import LeaseHeldError
from personalake.lease import Lease
from personalake.work import Folder


def _held(folder: Path, **changes: object) -> None:
    holder = {"host": socket.gethostname(), "pid": 1, "born": "0", "application": "other", "since": 0.0, "seen": 0.0}
    (folder / "lease.json").write_text(json.dumps({**holder, **changes}))


def test_a_store_has_one_holder_at_a_time_and_the_lease_goes_with_it(tmp_path: Path) -> None:
    with Lease(Folder(str(tmp_path)), "one") as lease:
        lease.check()
        with pytest.raises(LeaseHeldError, match="one, process") as caught, Lease(Folder(str(tmp_path)), "two"):
            pass
        assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_dead_holder_on_this_host_gives_way_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _held(tmp_path, pid=gone.pid, born="123", seen=9e12)
    with Lease(Folder(str(tmp_path)), "next") as lease:
        lease.check()


def test_a_number_used_again_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    _held(tmp_path, pid=1, born="not when process 1 started", seen=9e12)
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_holder_on_another_host_gives_way_only_after_its_expiry(tmp_path: Path) -> None:
    _held(tmp_path, host="elsewhere", seen=9e12)
    with pytest.raises(LeaseHeldError, match="elsewhere"), Lease(Folder(str(tmp_path)), "next"):
        pass
    _held(tmp_path, host="elsewhere", seen=0.0)
    with Lease(Folder(str(tmp_path)), "next"):
        pass


def test_a_lease_that_was_taken_away_is_noticed_and_the_new_holder_keeps_his(tmp_path: Path) -> None:
    with Lease(Folder(str(tmp_path)), "first") as lease:
        _held(tmp_path, host="elsewhere", seen=9e12)
        with pytest.raises(LeaseHeldError, match="lost its lease"):
            lease.check()
    assert json.loads((tmp_path / "lease.json").read_text())["host"] == "elsewhere"
