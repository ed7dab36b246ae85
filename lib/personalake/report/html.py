"""Draw a report's facts as one HTML file that loads nothing: no script, no font, no image from anywhere."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from personalake.llm.journal import TRIED
from personalake.llm.offline.settings import is_stand_in
from personalake.report import figures, plain
from personalake.report.facts import (
    Counts,
    Drop,
    DuplicateSample,
    ExampleSample,
    Growth,
    PersonaSample,
    RejectSample,
    ReportFacts,
    Samples,
    StageFacts,
    Status,
    Totals,
    Turn,
)
from personalake.report.funnel import bars
from personalake.report.growth import curve
from personalake.report.passages import Piece, differing, pieces, shorten, visible

__all__ = [
    "Counts",
    "Drop",
    "DuplicateSample",
    "ExampleSample",
    "Growth",
    "PersonaSample",
    "RejectSample",
    "ReportFacts",
    "Samples",
    "StageFacts",
    "Status",
    "Totals",
    "Turn",
    "render",
]

TOP = 12
"""Rows of a distribution that are shown by name; the rest is one row."""

LIMITS = {"name": 300, "persona": 1_000, "passage": 3_000, "pair": 700, "raw": 600, "settings": 20_000, "warnings": 50}
"""Most characters of each kind of text (for ``warnings``: most rows), so that no row can swell the page."""

_MAX_LINK = 2_000
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def render(facts: ReportFacts) -> str:
    """Return the report as HTML; pure, so the same facts give the same page.

    Every text of *facts* is escaped, addresses become links only where they are http or https, and long texts are
    shortened with a note of how much is missing.
    """
    environment = _environment()
    # What was tried in the inner loop cost something, but no row comes from there.
    line = [stage for stage in facts.stages if stage.name != TRIED]
    return environment.get_template("report.html.j2").render(
        facts=facts,
        bars=bars(line),
        line=line,
        broken=[stage.label for stage in facts.stages if not (stage.requests_hold and stage.items_hold)],
        languages=_top([(plain.language(code), count) for code, count in facts.languages]),
        domains=_top([(name or "unknown", count) for name, count in facts.domains]),
        curves=[(growth, curve(growth.points)) for growth in facts.growth],
        limits=LIMITS,
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("personalake.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=figures.number, money=figures.money, duration=figures.duration, instant=figures.instant,
        reason=plain.reason, stage_words=plain.stage, relation=plain.relation, link=_link, host=_host,
        language_tag=_language_tag, passage=_passage, short=_short, similarity=_similarity,
    )  # fmt: skip
    environment.globals.update(share=figures.share, pair=_pair, is_stand_in=is_stand_in)
    # Our own file, so it may go in as it is: the only text that is not escaped.
    environment.globals["style"] = Markup(loader.get_source(environment, "style.css")[0])
    return environment


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _top(counts: list[tuple[str, int]]) -> Counts:
    ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    rest = ordered[TOP:]
    others = ((f"{len(rest)} others", sum(count for _, count in rest)),) if rest else ()
    return (*ordered[:TOP], *others)


def _link(url: str) -> str:
    """Return *url* where it may be followed, else nothing."""
    if len(url) > _MAX_LINK or visible(url) != url or re.search(r"[\s\\]", url):
        return ""
    return url if _host(url) else ""


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _language_tag(code: str) -> str:
    return code if _LANGUAGE_TAG.fullmatch(code) else ""


def _short(text: str, limit: str) -> str:
    shown, left_out = shorten(text, LIMITS[limit])
    return f"{shown} … ({figures.number(left_out)} more characters)" if left_out else shown


def _passage(text: str, limit: str = "passage") -> list[Piece]:
    return pieces(_short(text, limit))


def _pair(sample: DuplicateSample) -> tuple[list[Piece], list[Piece]]:
    return differing(_short(sample.dropped, "pair"), _short(sample.kept, "pair"))


def _similarity(value: float) -> str:
    # Rounded down: 0.9996 is not 1, and a pair just under the threshold must not seem to reach it.
    return "1" if value >= 1 else f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"
