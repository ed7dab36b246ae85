"""What the page says, and what no text on it can do; one long file, since all read it through the same parser."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from importlib import resources

import pytest

from personalake.report.html import (
    Drop,
    DuplicateSample,
    ExampleSample,
    Growth,
    PersonaSample,
    RejectSample,
    ReportFacts,
    Samples,
    StageFacts,
    Totals,
    Turn,
    render,
)

VOID = {"meta", "link", "br", "hr", "img", "input"}
BLOCKS = {"td", "th", "li", "p", "dt", "dd", "h1", "h2", "h3", "h4", "caption", "summary"}
LOADING = {"src", "srcset", "action", "data", "poster", "background", "formaction", "xlink:href", "ping", "srcdoc"}
HOSTILE = (
    "<script>alert(1)</script>\"><img src=x onerror='alert(2)'>' {{ 7 * 191 }}{% raw %} </style> & "
    "\u202egnp.exe\u2066\x00\ud800"
)


class Page(HTMLParser):
    """The page's elements, its text and its links; fails on the first tag that doesn't close what was opened."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())
        if tag in BLOCKS:
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All that is read, white space folded and digit groups closed."""
        return " ".join("".join(self.words).replace("\u202f", "").split())

    def having(self, name: str) -> list[str]:
        """Return the values of attribute *name* wherever it stands."""
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


def empty(**changes: object) -> ReportFacts:
    """Return the facts of a run that did nothing."""
    whole = ReportFacts(
        store=".lake",
        run_id="r1",
        started_at=datetime(2026, 3, 1, tzinfo=timezone.utc),
        seconds=0.0,
        status="done",
        version="0.1.0",
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # the tests name the fields


def hostile() -> ReportFacts:
    """Return facts in which every text tries to get out of its place."""
    bad = HOSTILE
    return empty(
        store=bad,
        run_id=bad,
        version=bad,
        message=bad,
        models=(bad,),
        settings=bad,
        warnings=(bad,),
        semantic_dedup=bad,
        stages_of=bad,
        languages=((bad, 3),),
        domains=((bad, 3),),
        diversity=((bad, ({bad: bad, "more": bad},)),),
        growth=(Growth(bad, ((1, 2.0), (2, 3.0))),),
        waste=((bad, 0.1),),
        stages=(
            StageFacts(
                name=bad,
                step=bad,
                source="x",
                row=bad,
                item=bad,
                requests=9,
                answered=2,
                items=4,
                kept=1,
                item_rejects=2,
                dropped=(Drop(bad, 1, bad), Drop(bad, 1)),
            ),
        ),
        samples=Samples(
            personas=(
                PersonaSample(
                    text=bad,
                    title=bad,
                    url=bad,
                    licence=bad,
                    relation=bad,
                    evidence=bad,
                    occupation=bad,
                    domain=bad,
                    language=bad,
                    model=bad,
                ),
            ),
            duplicates=(
                DuplicateSample(dropped=bad, kept=f"{bad} x", similarity=0.9, kind=bad, method=bad, language=bad),
            ),
            examples=(
                ExampleSample(
                    task=bad,
                    turns=(Turn(bad, f"${bad}$ ```{bad}```"), Turn("user", bad)),
                    persona=bad,
                    answer=bad,
                    variation=((bad, bad),),
                    language=bad,
                    licence=bad,
                    model=bad,
                ),
            ),
            rejects=(RejectSample(stage=bad, reason=bad, raw=bad, detail=bad, where=bad, language=bad),),
        ),
    )


def linked(url: str) -> list[str]:
    """Return the addresses outside the page that the page of one persona from *url* links to."""
    page = Page(render(empty(samples=Samples(personas=(PersonaSample(text="A baker.", title="Bread", url=url),)))))
    return [target for target in page.having("href") if not target.startswith("#") and target != "data:,"]


def test_a_page_in_many_languages_is_balanced_html(facts: ReportFacts) -> None:
    assert Page(render(facts)).elements[0] == ("html", {"lang": "en"})


def test_hostile_texts_add_no_element_no_attribute_and_no_style() -> None:
    page = Page(render(hostile()))
    assert not {"script", "img", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    assert [tag for tag, _ in page.elements].count("style") == 1
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]


def test_hostile_texts_are_shown_as_they_are() -> None:
    text = Page(render(hostile())).text
    assert text.count("<script>alert(1)</script>") > 30
    assert "{{ 7 * 191 }}{% raw %}" in text
    assert "1337" not in text


def test_characters_that_hide_or_reorder_text_are_spelt_out_everywhere() -> None:
    html = render(hostile())
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert "[U+202E]gnp.exe[U+2066][U+0000][U+D800]" in html
    html.encode("utf-8")


def test_nothing_is_loaded_from_anywhere(facts: ReportFacts) -> None:
    html = render(facts)
    page = Page(html)
    assert not LOADING & {name for _, attrs in page.elements for name in attrs}
    assert {attrs["href"] for tag, attrs in page.elements if tag == "link"} == {"data:,"}
    assert {target for target in re.findall(r"url\(([^)]*)\)|@import", html) if not target.startswith("#p-")} == set()
    assert any("default-src 'none'" in content for content in page.having("content"))


@pytest.mark.parametrize("url", ["https://pages.example.org/bread?a=1&b=%E9%9C%9C", "http://pages.example.org/"])
def test_a_web_address_becomes_a_link(url: str) -> None:
    assert linked(url) == [url]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://example.org/a",
        "//example.org/a",
        "https:///a",
        "https://a b.example/",
        "https://exa\u202emple.org/",
        "java\nscript:alert(1)",
        "https://[::1",
        "https://example.org\\@evil.example/",
        "file:///etc/passwd",
        "https://example.org/" + "a" * 3000,
        "",
    ],
)
def test_any_other_address_stays_text(url: str) -> None:
    assert linked(url) == []


def test_links_leave_no_trace_and_pass_on_no_rank(facts: ReportFacts) -> None:
    outward = [attrs for _, attrs in Page(render(facts)).elements if (attrs.get("href") or "").startswith("http")]
    assert len(outward) == 4
    assert {attrs["rel"] for attrs in outward} == {"noopener nofollow"}


@pytest.mark.parametrize("stand_in", [True, False])
def test_the_banner_is_there_exactly_where_rules_wrote_texts(facts: ReportFacts, stand_in: bool) -> None:
    page = Page(render(replace(facts, stand_in=stand_in)))
    assert ("These texts are stand-ins" in page.text) is stand_in
    assert ("llm.api_key.env=" in page.text) is stand_in
    assert ("stand-in" in page.having("id")) is stand_in


def test_a_sample_by_the_embedded_endpoint_is_named_a_stand_in(facts: ReportFacts) -> None:
    models = [sample.model for sample in facts.samples.personas] + [sample.model for sample in facts.samples.examples]
    assert Page(render(facts)).text.count("stand-in text ") == models.count("offline-rules") > 0


def test_totals_of_run_and_store_stand_side_by_side(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "Pages kept 589 12589" in text
    assert "Prompt tokens 962189 18400112" in text
    assert "Cost $0.37 $7.21" in text
    assert "in no final table $0.0042 $0.061" in text


def test_each_stage_shows_what_went_in_was_kept_and_was_dropped_for_which_reason(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "infer: 589 in, 1497 kept, 118 dropped, 3 waiting" in text
    assert "dedup: 1497 in, 1338 kept, 159 repeats, 0 dropped" in text
    assert "first_person It speaks of itself as “I” or “we”; a persona is told in the third person. 27 22.9%" in text


def test_a_given_explanation_wins_and_an_unknown_reason_is_shown_by_its_name(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "length The solution was cut before its answer. 4" in text
    assert "answer_is_a_riddle Answer is a riddle. 3" in text


def test_identities_are_shown_with_their_numbers(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "589 requests = 575 answered + 11 rejected + 3 deferred: ✓ holds" in text
    assert "1497 items = 1338 accepted + 159 duplicates + 0 rejected: ✓ holds" in text
    assert "does not" not in text


def test_figures_that_do_not_add_up_are_said_so_at_the_top(facts: ReportFacts) -> None:
    wrong = (facts.stages[0], replace(facts.stages[1], answered=574), *facts.stages[2:])
    text = Page(render(replace(facts, stages=wrong))).text
    assert "The figures don't add up in infer." in text
    assert "589 requests = 574 answered + 11 rejected + 3 deferred: ✕ does not hold" in text


def test_dropped_rows_without_a_reason_are_counted_too() -> None:
    stage = StageFacts(
        name="ingest", row="a record", item="a page", items=10, kept=4, item_rejects=6, dropped=(Drop("too_short", 4),)
    )
    assert "not recorded No reason is on record for these. 2 33.3%" in Page(render(empty(stages=(stage,)))).text


def test_a_distribution_names_twelve_and_sums_the_rest(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "Japanese (ja) 148 11.1%" in text
    assert "3 others 24 1.8%" in text
    assert "tok" not in text.split("Languages")[1].split("Domains")[0]


def test_diversity_stands_by_group_with_what_its_figures_mean(facts: ReportFacts) -> None:
    text = Page(render(facts)).text
    assert "any other source 686 0.515 0.873 0.944 2.20 0.69 0.271" in text
    assert "Compression: bytes over compressed bytes" in text


def test_a_hub_that_grew_shows_by_how_much_from_its_first_run_to_its_last(facts: ReportFacts) -> None:
    page = Page(render(facts))
    assert "Different personas: about 402 after run 1, 1338 after run 6" in page.text
    lines = [attrs["d"] for tag, attrs in page.elements if tag == "path" and attrs.get("class") == "line"]
    assert lines[0] == "M0.00 69.96L250.00 42.38L500.00 26.76L750.00 11.03L1000.00 0.00"
    assert len(lines) == 2


def test_what_is_not_measured_has_no_section(facts: ReportFacts) -> None:
    assert 'id="diversity"' not in render(replace(facts, diversity=(), growth=()))
    assert 'id="growth"' not in render(replace(facts, growth=()))
    assert 'id="growth"' in render(replace(facts, diversity=()))


def test_semantic_dedup_is_named_even_where_it_was_not_run() -> None:
    assert "Semantic dedup: not run." in Page(render(empty())).text


def test_words_that_differ_between_dropped_and_kept_are_marked(facts: ReportFacts) -> None:
    html = render(facts)
    assert "<mark>rural</mark>" in html
    assert "<mark>海</mark>" in html
    assert "similarity 0.941" in Page(html).text


def test_texts_state_their_language_and_take_their_own_direction(facts: ReportFacts) -> None:
    persona = [attrs for tag, attrs in Page(render(facts)).elements if attrs.get("class") == "persona"]
    assert [attrs.get("lang") for attrs in persona] == ["en", "de", "ja", "ar", "hi", "fr"]
    assert {attrs["dir"] for attrs in persona} == {"auto"}


def test_a_language_that_is_no_tag_is_left_out() -> None:
    assert set(Page(render(hostile())).having("lang")) == {"en"}


def test_mathematics_and_code_stay_text_and_are_set_apart(facts: ReportFacts) -> None:
    html = render(facts)
    assert '<code class="math" dir="ltr" translate="no">$\\frac{1}{6}\\,\\text{m}$</code>' in html
    assert "a paddle costs $5 to $10." in html


def test_a_run_that_did_nothing_has_a_page_too() -> None:
    text = Page(render(empty())).text
    assert "No stage has run." in text
    assert "0 samples There is nothing to show yet." in text


def test_stages_of_zero_rows_have_bars_of_no_width() -> None:
    stages = (
        StageFacts(name="ingest", row="a record", item="a page"),
        StageFacts(name="infer", row="a page", item="a persona", sent=1),
    )
    page = Page(render(empty(stages=stages, languages=(("en", 0),))))
    assert "infer 0 requests" in page.text
    assert "nan" not in page.text


@pytest.mark.parametrize(("status", "said"), [("done", "✓ done"), ("deferred", "run it again"), ("failed", "✕ failed")])
def test_the_status_is_said_in_words(status: str, said: str) -> None:
    assert said in Page(render(empty(status=status))).text


def test_every_heading_and_region_is_named_and_every_reference_leads_somewhere(facts: ReportFacts) -> None:
    page = Page(render(facts))
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    assert set(page.having("aria-labelledby")) <= set(ids)
    assert {target[1:] for target in page.having("href") if target.startswith("#")} <= set(ids)
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.elements}
    tables = [tag for tag, _ in page.elements if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)


def test_twenty_long_samples_stay_under_half_a_megabyte(facts: ReportFacts) -> None:
    long = "Ein <langer> Text & \"mehr\" davon, $x^2$ und '霧'. " * 4_000
    samples = Samples(
        personas=tuple(replace(facts.samples.personas[0], text=long, evidence=long, title=long) for _ in range(6)),
        duplicates=tuple(
            DuplicateSample(dropped=long, kept=long.upper(), similarity=1.0, kind="page") for _ in range(4)
        ),
        examples=tuple(
            ExampleSample(task="math", turns=(Turn("user", long), Turn("assistant", long)), persona=long)
            for _ in range(5)
        ),
        rejects=tuple(RejectSample(stage="infer", reason="schema", raw=long, detail=long) for _ in range(5)),
    )
    html = render(replace(facts, samples=samples, settings=long))
    assert len(html.encode()) < 500_000
    assert "more characters)" in html


def test_the_same_facts_give_the_same_page(facts: ReportFacts) -> None:
    assert render(facts) == render(replace(facts))


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "paper"),
        ("ink", "card"),
        ("soft", "paper"),
        ("soft", "card"),
        ("soft", "note-ground"),
        ("ink", "note-ground"),
        ("link", "paper"),
        ("link", "card"),
        ("link", "note-ground"),
        ("alarm", "alarm-ground"),
        ("alarm", "card"),
        ("ink", "alarm-ground"),
        ("ink", "mark-ground"),
        ("good", "paper"),
        ("waiting", "paper"),
    ],
)
def test_text_has_the_contrast_that_wcag_aa_asks_for(scheme: str, ink: str, ground: str) -> None:
    colours = _colours(scheme)
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _colours(scheme: str) -> dict[str, str]:
    style = (resources.files("personalake.report") / "templates" / "style.css").read_text("utf-8")
    light, dark, paper = (
        dict(re.findall(r"--([a-z-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    return {**light, **{"light": {}, "dark": dark, "print": paper}[scheme]}


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_store_of_a_billion_personas_is_drawn_too() -> None:
    totals = Totals(personas=1_015_863_523, cost_usd=1_234_567.8)
    text = Page(render(empty(store_totals=totals))).text
    assert "1015863523" in text
    assert "$1234568" in text
