"""From a row of anybody's persona set, however its columns are called, to a row of `personas`.

A field is looked for where the settings say, else where a published set has it, else under the usual names. What else
describes the person becomes an attribute, and so does what fits no closed vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from personalake.accept import content_id
from personalake.corpus.fields import at
from personalake.corpus.language import detect_language
from personalake.corpus.lists import Licences
from personalake.corpus.records import RefusedError
from personalake.personas.shape import quality, text_hash
from personalake.personas.values import (
    MOST_CHARS,
    age_band,
    attribute,
    clean,
    expertise,
    language,
    listed,
    region,
    string,
)
from personalake.settings import PersonasSettings

USUAL: dict[str, tuple[str, ...]] = {
    "text": ("persona", "text"),
    "relation": ("relation",),
    "occupation": ("occupation",),
    "domain": ("domain",),
    "expertise": ("expertise",),
    "interests": ("interests",),
    "age_band": ("age", "age_band", "age_group"),
    "region": ("region", "country", "locale"),
    "language": ("language", "lang", "locale"),
    "licence": ("licence", "license"),
    "url": ("url",),
    "source": ("source",),
}
"""Where the fields of a persona are looked for, in this order, in a set that isn't known."""


@dataclass(frozen=True)
class PublishedSet:
    """A set that is known by one of its columns: its own names of fields, and the columns that are no attributes."""

    known_by: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    left_out: frozenset[str] = frozenset()


PUBLISHED = (
    # Persona Hub's samples of synthetic data: the card of huggingface.co/datasets/proj-persona/PersonaHub, and
    # code/openai_synthesize.py of github.com/tencent-ailab/persona-hub. Its persona.jsonl has `persona` alone.
    PublishedSet(
        ("input persona",),
        {"text": ("input persona",)},
        frozenset(("input persona", "synthesized text", "description", "user_prompt")),
    ),
    # Persona Hub's elite personas: the same card. A persona that is nobody's best in a field has "None" there.
    PublishedSet(
        ("general domain (top 1 percent)",),
        {"domain": ("general domain (top 1 percent)", "general domain (top 0.1 percent)")},
    ),
    # FinePersonas: the cards of huggingface.co/datasets/argilla/FinePersonas-v0.1 (`labels`) and
    # FinePersonas-v0.1-clustering-100k (`summary_label`, a JSON list in a string). They name the topics of a cluster.
    PublishedSet(
        ("labels", "summary_label"),
        {"interests": ("labels", "summary_label")},
        frozenset(("model_name_embeddings", "embedding", "nn_indices", "nn_scores", "projection", "cluster_label")),
    ),
    # Nemotron-Personas of all countries: the cards of huggingface.co/datasets/nvidia/Nemotron-Personas-USA and others;
    # of the longer edition, docs/concepts/person_sampling.md of github.com/NVIDIA-NeMo/DataDesigner. `persona` is the
    # sentence about the whole person, the other narratives are about one side of it, or long.
    PublishedSet(
        ("hobbies_and_interests_list",),
        {"interests": ("hobbies_and_interests_list",), "region": ("country", "locale")},
        frozenset((
            "persona", "professional_persona", "sports_persona", "arts_persona", "travel_persona", "culinary_persona",
            "family_persona", "finance_persona", "healthcare_persona", "religious_persona", "linguistic_persona",
            "detailed_persona", "cultural_background", "religious_background", "linguistic_background",
            "skills_and_expertise", "hobbies_and_interests", "career_goals_and_ambitions",
        )),
    ),
    # Synthetic-Persona-Chat: the CSV files of huggingface.co/datasets/google/Synthetic-Persona-Chat. A row has two
    # personas who talk with each other; the first is taken.
    PublishedSet(
        ("user 1 personas",),
        {"text": ("user 1 personas",)},
        frozenset(("user 1 personas", "user 2 personas", "Best Generated Conversation")),
    ),
)  # fmt: skip
_UNKNOWN = PublishedSet((), {})

# Names and addresses are no attributes that personas are chosen by, whosever they are.
_IDENTIFYING = frozenset((
    "id", "uuid", "persona_id", "text_hash", "name", "first_name", "middle_name", "last_name", "email", "email_address",
    "phone", "phone_number", "national_id", "street_name", "street_number", "unit", "birth_date",
))  # fmt: skip
MOST_ATTRIBUTES = 32

_MOST_PLANS = 1_000
_NAMES_SHOWN = 12
T = TypeVar("T")


class Plan(NamedTuple):
    """What rows with the same columns are made of."""

    wanted: tuple[str, ...]
    """Where their text is looked for."""
    found: Mapping[str, tuple[str, ...]]
    """By field, the columns among these that they have."""
    others: Mapping[str, str]
    """Columns that may become attributes, and how those are called."""
    needed: frozenset[str]
    """All of these columns that count, of nested ones the outermost: what the rest is like has no effect."""


class PersonaFields:
    """How rows become rows of `personas` under the user's settings; made once a task."""

    def __init__(self, settings: PersonasSettings, base: str = "") -> None:
        """Relative paths in `personas.licence` are below the folder *base*."""
        self._columns = settings.columns
        self._licences = Licences.of(settings.licence, base)
        self._plans: dict[tuple[str, ...], Plan] = {}

    def plan(self, columns: Iterable[str]) -> Plan:
        """What rows with these *columns* are made of."""
        there = tuple(columns)
        plan = self._plans.get(there)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:  # JSON lines whose keys are data
                self._plans.clear()
            plan = self._plans[there] = self._planned(there)
        return plan

    def _planned(self, there: tuple[str, ...]) -> Plan:
        known = next((each for each in PUBLISHED if not set(there).isdisjoint(each.known_by)), _UNKNOWN)
        names = {
            field: (self._columns[field],) if field in self._columns else known.names.get(field, usual)
            for field, usual in USUAL.items()
        }
        outermost = frozenset(there)
        found = {
            field: tuple(name for name in each if name in outermost or name.partition(".")[0] in outermost)
            for field, each in names.items()
        }
        no_attributes = known.left_out | _IDENTIFYING | set(found["text"])
        titles = ((name, clean(name)[:MOST_CHARS]) for name in there if name not in no_attributes)
        others = {name: title for name, title in titles if title}
        used = (name.partition(".")[0] for each in found.values() for name in each)
        return Plan(names["text"], found, others, outermost.intersection((*others, *used, *known.known_by)))

    def leaves(self, there: Mapping[str, str]) -> list[str]:
        """Those of a Parquet file's leaves (path to physical type) that are needed; none where none could be the text.

        Vectors and nested columns that no setting names aren't: they would be most of a file's bytes.
        """
        plan = self.plan(dict.fromkeys(path.partition(".")[0] for path in there))
        if not plan.found["text"]:
            return []
        named = tuple(f"{name}." for names in plan.found.values() for name in names)
        lists = tuple(f"{name}.{mark}" for name in plan.needed for mark in ("list.", "bag.", "array"))
        return [
            path
            for path, kind in there.items()
            if path in plan.needed
            or f"{path}.".startswith(named)
            or (path.startswith(lists) and kind not in ("FLOAT", "DOUBLE"))
        ]

    def row(self, value: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The row of `personas` that a row of the file or table at *path* becomes, without its place there.

        Raises :class:`RefusedError`: `no_text`, `empty_text`.
        """
        plan = self.plan(value)
        text = _text(value, plan)
        said = set[str]()

        def take(field: str, read: Callable[[object], T | None]) -> T | None:
            for name in plan.found[field]:
                given = at(value, name)
                taken = read(given)
                if taken is not None:
                    if field != "age_band" or taken == given:  # A number of years says more than its band.
                        said.add(name)
                    return taken
            return None

        row: dict[str, Any] = {
            **{field: take(field, string) for field in ("relation", "occupation", "domain", "url")},
            "expertise": take("expertise", expertise),
            "interests": take("interests", listed),
            "age_band": take("age_band", age_band),
            "region": take("region", region),
            "language": take("language", language) or detect_language(text),
            "licence": take("licence", string) or self._licences.at(path),
            "source": take("source", string) or path,
            "persona_id": content_id("own persona", text),
            "text": text,
            "text_hash": text_hash(text),
            "hop": 0,
        }
        row["attributes"] = _attributes(value, plan.others, said)
        row["quality"] = quality(row)
        return row


def no_text(wanted: Iterable[str], there: Iterable[str]) -> str:
    """What to say where no column *there* could be the text."""
    names = [clean(name) for name in there]
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    return f"it has no text in {' or '.join(f'`{name}`' for name in wanted)}; it has: {shown or 'nothing'}"


def _text(value: Mapping[str, Any], plan: Plan) -> str:
    blank = None
    for name in plan.found["text"]:
        given = at(value, name)
        if isinstance(given, list) and all(isinstance(each, str) for each in given):
            given = " ".join(given)  # Persona-Chat's personas are lists of sentences.
        if isinstance(given, str) and (text := clean(given)):
            return text
        if given is None or isinstance(given, str):
            blank = blank or name
    if blank:
        raise RefusedError("empty_text", f"its `{blank}` is empty")
    raise RefusedError("no_text", no_text(plan.wanted, map(str, value)))


def _attributes(value: Mapping[str, Any], others: Mapping[str, str], said: set[str]) -> dict[str, str] | None:
    """The first of the columns *others* that can be attributes and aren't *said* by a field."""
    found: dict[str, str] = {}
    for name, title in others.items():
        if name not in said and (shown := attribute(value[name])):
            found[title] = shown
            if len(found) == MOST_ATTRIBUTES:
                break
    return found or None
