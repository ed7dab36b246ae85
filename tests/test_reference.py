from __future__ import annotations

from pathlib import Path

from personalake.reference import reference


def test_the_settings_page_is_what_the_settings_say() -> None:
    page = Path(__file__).resolve().parents[1] / "conf" / "README.md"
    assert page.read_text() == reference(), "run: python -m personalake.reference > conf/README.md"
