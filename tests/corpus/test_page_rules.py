"""What a page is refused for, what is taken out of it, and what its address and its own words say of it."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.corpus.address import canonical, within
from personalake.corpus.ingest import page_row
from personalake.corpus.lists import Lists
from personalake.corpus.records import Record
from personalake.corpus.scrub import scrub
from personalake.corpus.signals import licence_of, opted_out
from personalake.errors import InputError
from personalake.settings import CorpusSettings

GOOD = (
    "The lock keeper walks along the towpath every morning and writes the level of the water into a book.\n"
    "Nobody but her has ever read it to its end, though the harbour master once asked for the page of the flood.\n"
    "She keeps the older volumes in the attic, wrapped in oilcloth against the damp that rises from the canal."
)
ALL = ("key", "email", "iban", "ip", "phone")


def outcome(
    text: str = GOOD, url: str | None = "https://a.example/x", html: bytes | None = None, **settings: Any
) -> dict[str, Any]:
    chosen = CorpusSettings.model_validate({"min_chars": 20, **settings})
    record = Record("x", 0, text=None if html else text, html=html, url=url)
    return page_row(record, chosen, Lists.of(chosen))


def reason(text: str = GOOD, **more: Any) -> str | None:
    row = outcome(text, **more)
    return str(row["reason"]) if row["kind"] == "reject" else None


TEASER = "a teaser of an article {} on the lives of people who live near the water and go on…"
RULES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "boilerplate": (
        [
            "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " + GOOD,
            "Please enable JavaScript to view our page.",
        ],
        {"boilerplate": False},
    ),
    "symbols": (["#wow #such #tags " + "word " * 12], {"symbols": None, "repeated_words": None}),
    "few_letters": (["12:30 14:45 19.99 $ 100 % 2024-01-01 | 3 | 4 | 5 -- 6 abc"], {"letters": None}),
    "cut_lines": (["\n".join(map(TEASER.format, "abcdefgh"))], {"cut_lines": None}),
    "repetition": (
        ["\n".join([GOOD.split("\n", maxsplit=1)[0]] * 6), "buy now " * 60],
        {"repeated_lines": None, "repeated_words": None},
    ),
}


@pytest.mark.parametrize("name", list(RULES))
def test_each_rule_has_its_reason_and_its_switch(name: str) -> None:
    texts, off = RULES[name]
    for text in texts:
        assert reason(text) == name
        assert reason(text, quality=off) is None
    assert reason(GOOD) is None


def test_lists_are_refused_where_the_settings_say_so() -> None:
    text = "\n".join(f"- {word} and {other}" for word, other in zip(GOOD.split()[:12], GOOD.split()[12:], strict=False))
    assert (reason(text), reason(text, quality={"lists": 0.9})) == (None, "list")


def test_a_long_text_about_javascript_is_no_notice() -> None:
    assert reason("Please enable JavaScript, says the page. " + GOOD * 3, quality={"repeated_lines": None}) is None


def test_no_rule_is_against_a_script(tmp_path: Path) -> None:
    for text in (
        "ตัวเลขและประวัติศาสตร์ของคลองสายนี้ถูกบันทึกไว้ในสมุดเล่มเก่าของผู้ดูแลประตูน้ำ",
        "नहर की देखभाल करने वाली महिला हर सुबह पानी का स्तर एक किताब में लिखती है।",
        "闸门管理员每天早晨沿着纤道行走并把水位记在一本册子里从未有人读完过那些旧卷宗存放在阁楼上",
    ):
        assert reason(text) is None


def test_languages_domains_words_and_licences_that_are_not_wanted(tmp_path: Path) -> None:
    hosts, words = tmp_path / "hosts", tmp_path / "words"
    hosts.write_text("# a list\n0.0.0.0 bad.example\nworse.example # why\n")
    words.write_text("Oilcloth\nharbour master\n")
    lists: dict[str, Any] = {"blocked_domains": [str(hosts)]}
    assert reason(url="https://sub.bad.example/x", **lists) == "blocked_domain"
    assert reason(url="https://WORSE.example./", **lists) == "blocked_domain"
    assert reason(url="https://notbad.example/", **lists) is None
    assert reason(blocked_words=[str(words)]) == "blocked_word"
    assert reason(GOOD.replace("oilcloth", "cloth"), blocked_words=[str(words)]) == "blocked_word"
    assert reason(GOOD.replace("oilcloth", "oilcloths").replace("harbour", ""), blocked_words=[str(words)]) is None
    assert reason(languages=["de"]) == "language"
    assert reason(languages=["de", "en"]) is None
    assert reason(licences=["CC-BY*"]) == "licence"
    assert reason(licences=["CC-BY*"], licence="cc-by-sa-4.0") is None


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("crawl/a.warc.gz", "CC-BY-4.0"),
        ("crawl/own/b.jsonl", "CC0-1.0"),
        ("crawler/c.jsonl", None),
        (f"{os.getcwd()}/crawl/d.jsonl", "CC-BY-4.0"),
        ("s3://bucket/web/e.parquet", "MIT"),
        ("main.web.pages", "ODC-By-1.0"),
    ],
)
def test_a_page_that_states_no_licence_has_that_of_where_it_comes_from(path: str, licence: str | None) -> None:
    given = {"crawl": "CC-BY-4.0", "./crawl/own/": "CC0-1.0", "s3://bucket/web": "MIT", "main.web.pages": "ODC-By-1.0"}
    chosen = CorpusSettings.model_validate({"min_chars": 20, "licence": given})
    for base in ("", os.getcwd()):
        row = page_row(Record(path, 0, text=GOOD), chosen, Lists.of(chosen, base))
        assert row["licence"] == licence
    assert outcome(licence="MIT")["licence"] == "MIT"


def test_a_list_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"corpus\.blocked_domains: the list nowhere can't be read: No such file"):
        Lists.of(CorpusSettings.model_validate({"blocked_domains": ["nowhere"]}))


PERSONAL = [
    ("write to Ann.O'x+y@mail.example.org today", "email"),
    ("schreibt an jörg@müller.de bitte", "email"),
    ("call +44 20 7946 0958 after six", "phone"),
    ("Tel.: 030 / 901 820 99", "phone"),
    ("the server at 8.8.8.8 answered", "ip"),
    ("the server at 2001:4860:4860::8888 answered", "ip"),
    ("to DE89 3704 0044 0532 0130 00 by Friday", "iban"),
    ("to GB82WEST12345698765432 by Friday", "iban"),
    ("key AKIAIOSFODNN7EXAMPLE in the log", "key"),
    ("token ghp_" + "a1B2" * 9 + " leaked", "key"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "key"),
]
HARMLESS = [
    "version 10.2.3.4 of 127.0.0.1 and 1.2.3",
    "DE89 3704 0044 0532 0130 01 has a wrong checksum",
    "order 12345678901 on 2024-01-02 10:30, ISBN 978-3-16-148410-0",
    "a ratio of 1:2:3:4 and std::vector::size",
    "meet @ noon, 3 + 4 = 7, sk-eleton, the hotel 1234567",
]


@pytest.mark.parametrize(("text", "kind"), PERSONAL)
def test_what_points_at_a_person_is_taken_out(text: str, kind: str) -> None:
    clean, count = scrub(text, ALL)
    assert count == 1
    assert f"<{kind.upper()}>" in clean
    assert clean.split()[0] == text.split(maxsplit=1)[0] or kind in ("phone", "key")
    assert scrub(text, set(ALL) - {kind}) == (text, 0)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert scrub(text, ALL) == (text, 0)


@given(st.text())
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    once, _ = scrub(text, ALL)
    assert scrub(once, ALL)[0] == once


def test_a_page_is_scrubbed_before_anything_is_kept() -> None:
    row = outcome(f"{GOOD} Write to keeper@lock.example or call +44 20 7946 0958.")
    assert row["text"].endswith("Write to <EMAIL> or call <PHONE>.")
    assert row["scrubbed"] == 2
    assert outcome(f"{GOOD} keeper@lock.example", scrub=[])["scrubbed"] == 0


@pytest.mark.parametrize(
    ("headers", "html", "said"),
    [
        ({"x-robots-tag": "noindex, noai"}, b"", "X-Robots-Tag"),
        ({"tdm-reservation": "1"}, b"", "tdm-reservation"),
        ({}, b'<meta name="robots" content="noai, noimageai">', "robots says noai"),
        ({}, b"<META content='1' NAME=tdm-reservation />", "reserves"),
        ({"x-robots-tag": "noimageai", "tdm-reservation": "0"}, b'<meta name="tdm-reservation" content="0">', None),
        ({}, b"<p>a text about noai and tdm-reservation: 1</p>", None),
        ({}, b'<meta name="description" content="what is noaino?">', None),
    ],
)
def test_a_page_says_whether_it_may_be_mined(headers: dict[str, str], html: bytes, said: str | None) -> None:
    found = opted_out(headers, html)
    assert (found is None) if said is None else (found is not None and said in found)


def test_an_opt_out_is_obeyed_unless_the_settings_say_otherwise() -> None:
    html = b'<meta name="robots" content="noai"><p>' + GOOD.encode()
    assert reason(html=html) == "opted_out"
    assert reason(html=html, respect_opt_outs=False) is None


@pytest.mark.parametrize(
    ("html", "licence"),
    [
        (b'<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/deed.de">', "CC-BY-SA-4.0"),
        (b'<link href="http://creativecommons.org/publicdomain/zero/1.0/" rel="license">', "CC0-1.0"),
        (b"<a href=//creativecommons.org/licenses/by-nc-nd/3.0/us/ class=x rel='nofollow license'>", "CC-BY-NC-ND-3.0"),
        (b'<a href="https://creativecommons.org/licenses/by/4.0/">what CC BY is</a>', None),
        (b"", None),
    ],
)
def test_the_licence_that_a_page_names(html: bytes, licence: str | None) -> None:
    assert licence_of(html) == licence
    row = outcome(html=html + b"<p>" + GOOD.encode(), licence="MIT")
    assert row["licence"] == (licence or "MIT")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/b/?a=1&b=2",
        "HTTP://EXAMPLE.org:80/a/../b/?b=2&a=1#frag",
        "https://example.org:443/b/?utm_source=x&a=1&UTM_Medium=y&b=2&fbclid=z",
        "https://example.org/b/?a=1&b=2&PHPSESSID=0123",
    ],
)
def test_addresses_of_one_page_have_one_spelling(url: str) -> None:
    assert canonical(url) == "https://example.org/b/?a=1&b=2"


@pytest.mark.parametrize("url", [None, "", "mailto:a@b.example", "not a url", "http://[::1", "ftp://a.example/"])
def test_what_is_no_web_address_has_none(url: str | None) -> None:
    assert canonical(url) is None
    assert within(url, frozenset({"other.example"})) is None


@given(st.text(max_size=80))
def test_no_address_raises(url: str) -> None:
    canonical("https://" + url)
    within("https://" + url, frozenset({"x"}))


def test_a_future_date_is_kept_as_it_was_said() -> None:
    then = dt.datetime(2999, 1, 1, tzinfo=dt.timezone.utc)
    settings = CorpusSettings.model_validate({})
    row = page_row(Record("x", 0, text=GOOD, fetched_at=then), settings, Lists.of(settings))
    assert row["fetched_at"] == then
