"""Pairs of texts beside each other, with what only one of the two says marked: HTML for a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

from personalake.dedup.tokens import only_here, tokens
from personalake.dedup.tuning import Pairs

_LEFT = 'style="text-align:left; vertical-align:top; white-space:normal"'
# Not the browser's yellow, on which the light text of a dark theme can't be read.
_MARK = '<mark style="background:#ffd54f; color:#000; border-radius:2px; padding:0 1px">'


def pair_table(texts: Sequence[str], pairs: Pairs, threshold: float) -> str:
    """Return *pairs* of *texts*, most similar first, with a line between those that repeat each other and the others.

    Of each pair, words and characters that the other text has not are marked; of a pair above the line the left text
    is the one that is preferred.
    """
    above = int(pairs.reach(threshold).sum())
    rows = [
        _row(alike, texts[left], texts[right])
        for alike, left, right in zip(pairs.similarity, pairs.left.tolist(), pairs.right.tolist(), strict=True)
    ]
    line = f"↑ {above} at or above {threshold}: one text of a pair goes · {len(rows) - above} below: both stay ↓"
    rows.insert(above, f'<tr><td colspan="3" style="text-align:center"><b>{line}</b></td></tr>')
    head = f"<tr>{''.join(f'<th {_LEFT}>{name}</th>' for name in ('similarity', 'preferred', 'other'))}</tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _row(similarity: float, left: str, right: str) -> str:
    cells = (f"{similarity:.3f}", marked(left, tokens(right)), marked(right, tokens(left)))
    return f"<tr>{''.join(f'<td {_LEFT}>{cell}</td>' for cell in cells)}</tr>"


def marked(text: str, other: set[str]) -> str:
    """Return *text* as HTML, with what the tokens *other* don't have marked."""
    found, done = [], 0
    for low, high in only_here(text, other):
        found += [html.escape(text[done:low]), _MARK, html.escape(text[low:high]), "</mark>"]
        done = high
    return "".join([*found, html.escape(text[done:])])
