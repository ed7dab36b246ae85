"""The sandbox that the tests run programs in, or why there is none."""

from __future__ import annotations

import struct

import pytest

from personalake.settings import SandboxSettings
from personalake.synthesis.sandbox import bubblewrap
from personalake.synthesis.sandbox.execute import available

SMALL = SandboxSettings.model_validate({"seconds": 1, "memory_mb": 256, "output_kb": 64, "files_mb": 1})

_FOUND = available(SMALL)
needs_sandbox = pytest.mark.skipif(not _FOUND, reason=f"no sandbox: {_FOUND.reason}")

ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
"""A filter of system calls that refuses none, to see what holds without it."""


def take_filter_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program make any system call, in settings :data:`SMALL`: the namespaces shall hold by themselves."""
    assert available(SMALL)  # Known before: without the filter this would be refused.
    monkeypatch.setattr(bubblewrap, "filter_of", lambda *_, **__: ALLOW_ALL)
