"""An endpoint for a whole file of tests; each sets it as it needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from personalake.llm.offline import OfflineSettings, serving


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The endpoint's address."""
    with serving(OfflineSettings(flaws=0)) as base_url:
        yield base_url
