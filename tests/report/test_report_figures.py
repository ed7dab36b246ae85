"""Numbers as a reader sees them, and the widths of the funnel."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from personalake.report import figures, plain
from personalake.report.facts import StageFacts
from personalake.report.funnel import bars


def ascii_of(text: str) -> str:
    """Return *text* with a plain space for each thin one."""
    return text.replace(figures.THIN, " ")


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (999, "999"), (1_000, "1 000"), (1_015_863_523, "1 015 863 523"), (-1_234, "-1 234")]
)
def test_digits_are_grouped_by_thin_spaces(value: int, said: str) -> None:
    assert ascii_of(figures.number(value)) == said


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (None, figures.DASH),
        (0.0, "$0"),
        (0.000063, "$0.000063"),
        (0.0001, "$0.0001"),
        (0.0116, "$0.012"),
        (0.1, "$0.10"),
        (0.3736, "$0.37"),
        (1.0, "$1.00"),
        (12.345, "$12.35"),
        (999.0, "$999.00"),
        (1_234_567.8, "$1 234 568"),
    ],
)
def test_money_has_the_digits_that_matter(usd: float | None, said: str) -> None:
    assert ascii_of(figures.money(usd)) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 1_000_000, "<0.1 %"),
        (999_999, 1_000_000, ">99.9 %"),
        (12, 100, "12.0 %"),
        (0, 0, figures.DASH),
    ],
)
def test_a_share_is_whole_or_nothing_only_where_it_is(part: int, whole: int, said: str) -> None:
    assert ascii_of(figures.share(part, whole)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.00 s"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (59.7, "1 min 00 s"),
        (192, "3 min 12 s"),
        (7_500, "2 h 05 min"),
    ],
)
def test_a_duration_is_said_in_its_own_unit(seconds: float, said: str) -> None:
    assert ascii_of(figures.duration(seconds)) == said


def test_a_moment_is_told_in_utc() -> None:
    local = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert figures.instant(local) == "2026-02-28 23:30 UTC"
    assert figures.instant(datetime(2026, 3, 1, 1, 30)) == "2026-03-01 01:30 UTC"


def test_codes_have_plain_words_or_show_their_name() -> None:
    assert plain.reason("not_json") == "The line isn't valid JSON."
    assert plain.reason("brand_new_reason") == "Brand new reason."
    assert plain.reason("") == "No reason was recorded."
    assert (plain.language("ja"), plain.language("tok"), plain.language("")) == ("Japanese (ja)", "tok", "unknown")


STAGES = (
    StageFacts(name="ingest", row="a record", item="a page", items=200, kept=100, duplicates=60, item_rejects=40),
    StageFacts(
        name="infer",
        row="a page",
        item="a persona",
        requests=100,
        answered=90,
        none_found=10,
        rejected=6,
        deferred=4,
        items=400,
        kept=300,
        item_rejects=100,
    ),
    StageFacts(name="synthesize", step="b", source="ingest", row="a page", item="a text", items=40, kept=40),
)


def test_widths_are_true_to_the_counts_over_all_bars() -> None:
    drawn = bars(STAGES)
    assert [bar.total for bar in drawn] == [200, 100, 400, 40]
    for bar in drawn:
        assert [part.width for part in bar.parts] == pytest.approx([100 * part.count / 400 for part in bar.parts])
        assert sum(part.width for part in bar.parts) == pytest.approx(100 * bar.total / 400)


def test_parts_of_a_bar_follow_one_another() -> None:
    for bar in bars(STAGES):
        ends = [part.start + part.width for part in bar.parts]
        assert [part.start for part in bar.parts] == pytest.approx([0, *ends[:-1]])


def test_an_asking_stage_has_a_bar_of_requests_and_one_of_items() -> None:
    asked = bars(STAGES)[1]
    assert (asked.label, asked.unit) == ("infer", "request")
    assert {part.name: part.count for part in asked.parts} == {
        "answered with items": 80,
        "answered: none found": 10,
        "no usable answer": 6,
        "waiting": 4,
    }


def test_a_ribbon_leads_from_what_was_kept_to_the_next_bar() -> None:
    drawn = bars(STAGES)
    assert drawn[1].ribbon == "M0 0H250.00C250.00 50 250.00 50 250.00 100H0Z"
    assert drawn[2].ribbon == "M0 0H200.00C200.00 50 1000.00 50 1000.00 100H0Z"


def test_a_stage_fed_from_elsewhere_has_no_ribbon_and_says_from_where() -> None:
    drawn = bars(STAGES)
    assert (drawn[0].ribbon, drawn[3].ribbon) == ("", "")
    assert drawn[3].note == "a page, taken from ingest"


def test_figures_that_do_not_add_up_are_drawn_whole() -> None:
    wrong = StageFacts(name="dedup", row="a persona", item="a persona", items=10, kept=9, duplicates=9)
    assert bars([wrong])[0].total == 18
