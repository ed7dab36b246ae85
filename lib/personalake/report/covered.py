"""What a store's sketches say it covers, as tables of words: the same for `status` and the report."""

from __future__ import annotations

from typing import Any

from personalake.dedup.contained import Share
from personalake.dedup.coverage import COUNT_ERROR, JACCARD_ERROR, Counted, Coverage
from personalake.dedup.sketches import HOSTS, PAGE_NGRAMS, PAGES, PERSONA_NGRAMS, PERSONAS

Tables = tuple[tuple[str, tuple[dict[str, str], ...]], ...]
"""Captions, and rows by their columns."""

_NAMES = {
    PAGES: "texts of pages read",
    HOSTS: "web hosts of pages",
    PAGE_NGRAMS: "runs of five words in pages",
    PERSONAS: "personas kept",
    PERSONA_NGRAMS[1]: "words in personas",
    PERSONA_NGRAMS[2]: "pairs of words in personas",
    PERSONA_NGRAMS[3]: "runs of three words in personas",
}

_GROWTH = (PAGES, HOSTS, PERSONAS, PERSONA_NGRAMS[3])
"""What is told by run: whether another crawl still brings other pages, and other pages still other personas."""


def tables(found: Coverage) -> Tables:
    """Totals; the last runs one by one, where there are several; the sources that overlap most."""
    named = {each.subject: each for each in found.counted}
    counted = [named[subject] for subject in _NAMES if subject in named]
    totals = tuple({"different": _NAMES[one.subject], "about": f"{one.about:,.0f}"} for one in counted)
    made = [(f"Ever landed, counted by sketches (standard error {100 * COUNT_ERROR:.1f} %)", totals)]
    runs = _by_run([one for one in counted if one.subject in _GROWTH], dict(found.repeated))
    if len(runs) > 1:
        made.append(("The last runs: how many they had, and of these new", runs))
    if found.overlaps:
        caption = f"Sources with pages in common, {found.sources:,} in all (J: standard error {JACCARD_ERROR:.2f})"
        rows = tuple(
            {
                "one": pair.one,
                "other": pair.other,
                "J": f"{pair.jaccard:.2f}",
                "pages of one in the other": str(pair.of_one),
                "pages of the other in it": str(pair.of_other),
            }
            for pair in found.overlaps
        )
        made.append((caption, rows))
    return tuple((caption, rows) for caption, rows in made if rows)


def _by_run(counted: list[Counted], repeated: dict[int, Share]) -> tuple[dict[str, str], ...]:
    runs = sorted({run for one in counted for run, _, _ in one.by_run})
    told = []
    for run in runs:
        row = {"run": f"{run}"}
        for one in counted:
            own = {number: f"{about:,.0f} ({new:,.0f} new)" for number, about, new in one.by_run}
            row[_NAMES[one.subject]] = own.get(run, "")
        row["its pages that earlier runs had read"] = str(repeated[run]) if run in repeated else ""
        told.append(row)
    return tuple(told)


def public(found: Coverage) -> dict[str, Any]:
    """The same for `--json`, as numbers; intervals are of 95 %."""
    return {
        "count_error": COUNT_ERROR,
        "jaccard_error": JACCARD_ERROR,
        "different": [
            {
                "subject": one.subject,
                "about": one.about,
                "runs": [{"run": run, "about": about, "new": new} for run, about, new in one.by_run],
            }
            for one in found.counted
        ],
        "pages_read_before": [{"run": run, **share.public()} for run, share in found.repeated],
        "sources": found.sources,
        "overlaps": [
            {
                "one": pair.one,
                "other": pair.other,
                "jaccard": pair.jaccard,
                "of_one": pair.of_one.public(),
                "of_other": pair.of_other.public(),
            }
            for pair in found.overlaps
        ],
    }
