"""The command `diversity`: a store's figures by group, or beside another store's; it pays and writes nothing."""

from __future__ import annotations

from pathlib import Path

from personalake.dedup.coverage import coverage
from personalake.diversity import subjects, told
from personalake.diversity.beside import beside
from personalake.diversity.draw import Key, group_sizes, samples
from personalake.diversity.measure import LEAST, diversity
from personalake.diversity.sample import Sample
from personalake.errors import InputError, SettingsError
from personalake.llm.offline.settings import is_stand_in
from personalake.settings import Settings, StoreSettings
from personalake.show import table
from personalake.shown import Shown
from personalake.store import Store, check_address
from personalake.work import absolute

_READING = """distinct-n: different runs of n words, of all such runs. compression: bytes over compressed bytes, higher
where texts repeat each other. self-repetition: mean ln(1 + runs of four words shared with other texts). nearest: mean
similarity to the nearest other text. combinations: of domain, expertise and age band, as a share of those possible."""
_EQUAL = "Groups compare where each has as many tokens (distinct-n, compression, self-repetition) and rows (all else)."
_INTERVALS = f"""Intervals are of 95 %, by redrawing three quarters of both samples: of twenty differences that are no
more than chance, one seems to be. Groups with fewer than {LEAST} rows in either store are left out."""
_STAND_INS = "These texts are stand-ins made by rules: the figures say nothing of what a model would write."


def check(of: str, by: str | None, against: str | None, settings: StoreSettings) -> None:
    """Raise :class:`SettingsError` or :class:`InputError` for what can be told before Spark starts."""
    subjects.check(of, by)
    if against is not None:
        other = _other(settings, against)
        check_address(other)
        if other.path and "://" not in other.path and not Path(absolute(other.path)).exists():
            raise InputError("there is no store", where=against, cure="give the folder of another store's tables")


def _other(settings: StoreSettings, address: str) -> StoreSettings:
    """The settings of the store at *address*: a folder, or `catalog.schema` where this one is in a catalog, too."""
    if settings.path:
        return StoreSettings.model_validate({"path": address})
    catalog, mark, schema = address.partition(".")
    if not mark:
        raise SettingsError(f"{address!r} is no catalog.schema", where="--against", cure="--against main.personas")
    return StoreSettings.model_validate({"catalog": catalog, "schema": schema, "work": settings.work})


def measured(store: Store, settings: Settings, of: str, by: str | None) -> Shown:
    """The figures of *store* by group: at one size, and of all rows."""
    subject = _subject(store, settings, of, by)
    found = diversity(subject.rows, subject.shape, seed=settings.seed, vectors=subject.vectors)
    counted = coverage(store.read("sketches")).counted if of == "hub" else ()
    tables = (*told.at_one_size(found, _noun(of)), *told.of_all(found, _noun(of)), *told.growth(counted))
    data = {"store": store.address, "of": of, **told.public(found), "growth": told.public_growth(counted)}
    if not found.groups[0].rows:
        return Shown(data, f"there are no {_noun(of)} yet")
    return Shown(data, _text(tables, _EQUAL, _READING, *_stand_ins(of, store)))


def compared(store: Store, settings: Settings, of: str, by: str | None, against: str) -> Shown:
    """The figures of *store* and of the one *against*, group by group at equal size, and whether they differ."""
    other = Store(store.spark, _other(settings.store, against))
    here, there = (_samples(each, settings, of, by) for each in (store, other))
    found = beside(here, there, settings.seed)
    if not found:
        what = f"the two stores have no group of {LEAST} {_noun(of)} in common"
        raise InputError(what, where=against, cure="run both further, or group them --by something else")
    data = {"here": store.address, "there": other.address, "of": of, "groups": told.public_side_by_side(found)}
    heading = f"here: {store.address}\nthere: {other.address}"
    notes = (_READING, _INTERVALS, *_stand_ins(of, store, other))
    return Shown(data, f"{heading}\n\n{_text(told.side_by_side(found, _noun(of)), *notes)}")


def _samples(store: Store, settings: Settings, of: str, by: str | None) -> dict[Key, Sample]:
    subject = _subject(store, settings, of, by)
    sizes = group_sizes(subject.rows, subject.shape.by)
    return samples(subject.rows, sizes, subject.shape, settings.seed, vectors=subject.vectors)


def _subject(store: Store, settings: Settings, of: str, by: str | None) -> subjects.Subject:
    embedding = settings.dedup.embedding
    return subjects.subject(store, of, by, None if embedding is None else embedding.name)


def _noun(of: str) -> str:
    return "examples" if of == "examples" else "personas"


def _stand_ins(of: str, *stores: Store) -> tuple[str, ...]:
    models = (row[0] for store in stores for row in store.read(of).select("model").distinct().collect())
    return (_STAND_INS,) if any(map(is_stand_in, models)) else ()


def _text(tables: told.Tables, *notes: str) -> str:
    parts = [f"{caption}\n{table(list(rows))}" for caption, rows in tables]
    return "\n\n".join([*parts, *notes])
