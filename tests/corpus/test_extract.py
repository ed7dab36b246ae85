"""HTML gives its title, its main text and its declared language, in whatever charset it comes."""

from __future__ import annotations

import pytest

from personalake.corpus.extract import decode, extract
from personalake.corpus.records import RefusedError

SENTENCE = "A lock keeper walks along the towpath every morning and writes the level of the water into a book. "


def page(body: str, head: str = "") -> bytes:
    head = f"<head><title> The\n lock </title>{head}</head>"
    return f"<!doctype html><html lang='en-GB'>{head}<body>{body}</body></html>".encode()


def test_text_comes_without_scripts_styles_and_navigation() -> None:
    body = (
        "<header><nav><ul><li><a href=/>Home</a></li></ul></nav></header><style>p{color:red}</style>"
        f"<main><h1>The lock</h1><p>{SENTENCE * 3}</p><script>track()</script></main><footer>Imprint</footer>"
    )
    found = extract(page(body))
    assert (found.title, found.language) == ("The lock", "en-GB")
    assert SENTENCE.strip() in found.text
    for word in ("Home", "color", "track", "Imprint"):
        assert word not in found.text


def test_a_page_that_is_mostly_a_list_of_links_keeps_its_list() -> None:
    links = "".join(f"<li><a href=/{n}>Guide number {n} to the canals of the north</a></li>" for n in range(40))
    found = extract(page(f"<article><h1>Guides</h1><p>Read these.</p><ul>{links}</ul></article>"))
    assert "Guide number 39 to the canals" in found.text


def test_a_list_and_a_table_without_links_are_text() -> None:
    items = "".join(f"<li>{n} cups of flour</li>" for n in range(5))
    body = f"<h1>Bread</h1><ul>{items}</ul><table><tr><th>Oven</th><td>220 °C</td></tr></table><p>{SENTENCE * 3}</p>"
    text = extract(page(f"<article>{body}</article>")).text
    assert "4 cups of flour" in text
    assert "220 °C" in text


def test_navigation_that_no_element_names_is_left_out() -> None:
    links = "".join(f"<li><a href=/{n}>Reach {n} of the canal</a></li>" for n in range(12))
    body = f"<div class=sidebar><ul class=menu>{links}</ul></div><main><h1>The lock</h1><p>{SENTENCE * 8}</p></main>"
    text = extract(page(body)).text
    assert SENTENCE.strip() in text
    assert "Reach 7" not in text


def test_a_page_that_lies_wholly_in_a_form_is_read() -> None:
    assert SENTENCE.strip() in extract(page(f"<form action=/><div><p>{SENTENCE * 5}</p></div></form>")).text


def test_chinese_text_is_kept_whole() -> None:
    text = "守闸人每天清晨沿着纤道行走，把水位记在本子上。" * 10
    assert text in extract(page(f"<article><p>{text}</p></article>")).text


@pytest.mark.parametrize(
    ("html", "charset", "expected"),
    [
        ("\ufeffcafé".encode(), "iso-8859-1", "café"),
        ("\ufeffcafé".encode("utf-16-le"), None, "café"),
        ("\ufeffcafé".encode("utf-16-be"), None, "café"),
        ("café".encode(), "utf-8", "café"),
        ("café".encode("latin-1"), "ISO-8859-1", "café"),
        ("“café”".encode("cp1252"), "iso-8859-1", "“café”"),
        ("<meta charset='windows-1251'>вода".encode("cp1251"), None, "<meta charset='windows-1251'>вода"),
        ("<meta charset='utf-8'>水位水位".encode("gb18030"), "gb2312", "<meta charset='utf-8'>水位水位"),
        ("<p>水位を毎朝記録する".encode("shift_jis"), "utf-8", "<p>水位を毎朝記録する"),
        ("<p>水位を毎朝記録する".encode("euc_jp"), "no-such-charset", "<p>水位を毎朝記録する"),
        (b"<p>caf\xc3\xa9 \xff" + b"word " * 100, "utf-8", "<p>café \ufffd" + "word " * 100),
    ],
)
def test_the_charset_is_the_first_that_fits(html: bytes, charset: str | None, expected: str) -> None:
    assert decode(html, charset) == expected


@pytest.mark.parametrize("html", [b"", b"<html>", b"<html><body> \n</body></html>", b"\x00"])
def test_a_page_without_text_is_refused(html: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        extract(html)
    assert refused.value.reason == "empty_body"


def test_a_deeply_nested_page_is_read_without_delay() -> None:
    assert SENTENCE.strip() in extract(page("<div>" * 15_000 + f"<p>{SENTENCE}")).text


def test_a_bomb_of_nested_elements_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        extract(page("<div><a href=x>" * 200_000))
    assert refused.value.reason == "too_deep"


def test_many_unclosed_paragraphs_are_no_bomb() -> None:
    assert SENTENCE.strip() in extract(page(f"<p>{SENTENCE}" * 30_000)).text
