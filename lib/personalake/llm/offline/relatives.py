"""Persona-to-persona by rules: others in relation to a persona, of other themes, with a word or two in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .draw import Draw
from .personas import ENCODER, described, item_of, page_of, spoil
from .problems import own_words, role_of
from .sentences import RELATIONS
from .themes import THEMES, Theme, theme_of
from .words import Words, words_of

_LISTED = re.compile(r"^\d+\. ([^:\n]+): ", re.MULTILINE)
_IN_LANGUAGE = re.compile(r"\bthird person, in (\w+)\b")
_CODES = {"German": "de", "Spanish": "es", "French": "fr"}
_OWN_WORDS = 2
_SILENT = 0.12
"""The share of relations in which nobody is found."""

# What people of a theme talk about; other languages make do with the words of the persona given.
_THINGS = {
    "health": "dosage wards vaccination dressings appointments recovery diagnosis allergies rehabilitation triage",
    "food": "sourdough menus seasoning leftovers pastry tastings portions breakfasts preserves ovens",
    "farming": "compost irrigation seedlings hedges drainage harvests pollination pruning weeds manure",
    "nature": "wetlands migration otters hedgerows lichens moths streams footpaths nesting droughts",
    "computing": "backups routers sensors spreadsheets latency passwords firmware outages dashboards cabling",
    "engineering": "gearboxes welding tolerances bearings turbines pumps inspections blueprints girders valves",
    "teaching": "homework timetables reading grading seminars tutoring apprenticeships spelling excursions exams",
    "money": "invoices mortgages audits payroll pensions forecasts receipts insurance overdrafts tenders",
    "law": "contracts hearings tenancy permits appeals bylaws testimony mediation clauses statutes",
    "history": "archives excavations pottery chronicles inscriptions museums fortresses coins genealogy maps",
    "arts": "sketches galleries etchings lighting costumes rehearsals canvases sculpture murals framing",
    "sport": "sprinting injuries fixtures coaching relays stamina referees climbing rowing warmups",
    "travel": "ferries hostels luggage detours platforms itineraries passports sleepers signage moorings",
    "home": "plaster insulation joinery gutters upholstery varnish hinges tiles scaffolding chimneys",
    "science": "telescopes titration specimens calibration microscopes spectra hypotheses catalysts samples orbits",
    "family": "bedtimes playgrounds siblings custody toddlers allowances birthdays grandparents chores adoption",
}
_ANYWAY = "schedules budgets volunteers meetings supplies repairs newcomers routines deadlines neighbours"


def relatives_reply(system: str, user: str, schema: Mapping[str, Any], variant: Draw, flaws: float) -> str:
    """Return a JSON reply with a persona for most of the relations that *user* lists above the fenced persona."""
    parent = page_of(user)
    relations = _LISTED.findall(user.partition("\n===")[0])
    words, item = words_of(parent), item_of(schema)
    said = _IN_LANGUAGE.search(system)
    code = _CODES.get(said[1], "en") if said else words.language
    themes = _others(words, parent)
    personas = []
    for ordinal, relation in enumerate(relations):
        stable = Draw("relative", parent, relation, ordinal)
        if stable.unit("silent") < _SILENT:
            continue
        theme = themes[(ordinal + stable.number("theme")) % len(themes)]
        slots = _slots(parent, words, code, theme, stable)
        pattern = stable.pick("pattern", RELATIONS)
        persona = described(theme, code, pattern, slots, ordinal, item, stable, variant)
        persona["relation"] = relation
        if variant.unit(f"flawed.{ordinal}") < flaws:
            spoil(persona, variant.pick(f"flaw.{ordinal}", ("first person", "placeholder", "contact", "empty")), slots)
        personas.append(persona)
    return ENCODER.encode({"personas": personas})


def _others(words: Words, parent: str) -> list[Theme]:
    """The themes but the parent's own, so that nobody has the parent's occupation."""
    own = theme_of(words.keywords, Draw("parent", parent))
    return [theme for theme in THEMES if theme.name != own.name]


def _slots(parent: str, words: Words, code: str, theme: Theme, stable: Draw) -> list[str]:
    """Six words: one or two of the parent's, then such as people of the theme use."""
    own = stable.order("own", own_words(parent, role_of(parent)))[: 1 + stable.number("share") % _OWN_WORDS]
    if code not in ("en", "other"):
        return words.slots(stable.number("slots"), 6)
    return [*own, *stable.order("things", [*_THINGS[theme.name].split(), *_ANYWAY.split()])][:6]
