"""Files to train on: chat JSONL with a dataset card, and the licence that the whole is under.

One row is one answered example: ``messages`` as TRL and ``datasets`` read them, and flat columns that say where it
comes from. Rows are streamed and sorted outside memory, so that neither their number nor their order matters.
"""

from __future__ import annotations

import heapq
import json
import re
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from personalake.errors import InputError
from personalake.llm.offline.settings import is_stand_in

COLUMNS = (
    "example_id", "sample", "messages", "task", "persona", "answer", "verified", "language", "licence", "source",
    "source_url", "model", "answer_model",
)  # fmt: skip
"""Columns of an exported row, in order; ``example_id`` first, so that sorting the lines sorts the rows."""

_ROLES = ("user", "assistant")
_TURNS = {"list": [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]}
_TYPES: dict[str, dict[str, Any]] = {"sample": {"dtype": "int64"}, "verified": {"dtype": "bool"}, "messages": _TURNS}
_FEATURES = [{"name": name, **_TYPES.get(name, {"dtype": "string"})} for name in COLUMNS]

SHARD_ROWS = 200_000
_RUN_BYTES = 64 * 1024 * 1024  # Sorted in memory at once.
_FAN_IN = 128  # Files open at once while merging, well below a process's usual limit.
_OURS = re.compile(r"README\.md|train-\d{5}-of-\d{5}\.jsonl")


class Grade(IntEnum):
    """What a licence asks for, from least to most; the strictest of many is the highest."""

    PUBLIC_DOMAIN = 0
    PERMISSIVE = 1
    ATTRIBUTION = 2
    SHARE_ALIKE = 3
    NON_COMMERCIAL = 4
    NO_DERIVATIVES = 5
    UNKNOWN = 6

    @property
    def label(self) -> str:
        """The grade in words."""
        return self.name.lower().replace("_", " ")


_GRADES = (
    (Grade.PUBLIC_DOMAIN, "cc0{v}|unlicense|pddl{v}|(licenseref-)?public-domain|cc-pdm{v}|dl-de-zero{v}|mit-0|0bsd"),
    (Grade.PERMISSIVE, "mit|apache-2.0|bsd-[1-4]-clause|isc|zlib|bsl-1.0|psf-2.0|python-2.0|cdla-permissive-[12].0"),
    (Grade.ATTRIBUTION, "cc-by{v}|odc-by{v}|ogl(-uk|-canada)?{v}|etalab{v}|nlod{v}|dl-de-by{v}"),
    (Grade.SHARE_ALIKE, "cc-by-sa{v}|odbl{v}|gfdl{v}|[al]?gpl{v}|mpl{v}|epl{v}|eupl{v}|cdla-sharing-1.0"),
    (Grade.NON_COMMERCIAL, "cc-by-nc(-sa)?{v}"),
    (Grade.NO_DERIVATIVES, "cc-by(-nc)?-nd{v}"),
)
_PATTERNS = tuple(
    (graded, re.compile(pattern.replace(".", r"\.").replace("{v}", r"(-\d[\w.-]*)?"))) for graded, pattern in _GRADES
)
# The licences that a dataset card knows by name: https://huggingface.co/docs/hub/repositories-licenses
_CARD_LICENCES = re.compile(
    r"apache-2\.0|mit|isc|zlib|bsl-1\.0|bsd-[23]-clause|unlicense|pddl|odc-by|odbl|etalab-2\.0|gfdl|cc0-1\.0|mpl-2\.0|"
    r"[al]?gpl-3\.0|cc-by-(2\.0|2\.5|3\.0|4\.0)|cc-by-(sa|nc-sa)-(3\.0|4\.0)|cc-by-nc-(2\.0|3\.0|4\.0)|cc-by-(nc-)?nd-4\.0"
)


def grade(licence: str | None) -> Grade:
    """Grade one licence: an SPDX id or expression, a Creative Commons address, or a common spelling of either.

    Of ``A OR B`` the freer counts, of ``A AND B`` the stricter; what isn't known is :attr:`Grade.UNKNOWN`.
    """
    alternatives = re.split(r"\s+or\s+", (licence or "").strip().lower())
    return min(max(_grade_of_one(part) for part in re.split(r"\s+and\s+", either)) for either in alternatives)


def _grade_of_one(licence: str) -> Grade:
    name = _plain(licence)
    return next((graded for graded, pattern in _PATTERNS if pattern.fullmatch(name)), Grade.UNKNOWN)


def _plain(licence: str) -> str:
    address = re.search(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)", licence)
    if address:
        kind = {"zero": "cc0", "mark": "cc-pdm"}.get(address[2], f"cc-{address[2]}")
        return f"{kind}-{address[3]}"
    name = re.sub(r"[\s_]+", "-", licence.strip().lower())
    return re.sub(r"-(only|or-later)$", "", name.split("-with-")[0])


@dataclass(frozen=True)
class LicenceVerdict:
    """The strictest licence of many, and what it was computed from: ``(licence, grade, rows)``, strictest first."""

    grade: Grade
    licence: str | None
    counts: tuple[tuple[str | None, Grade, int], ...]

    @property
    def withheld(self) -> tuple[tuple[str | None, Grade, int], ...]:
        """What stops an export unless it is accepted: non-commercial, no derivatives, unknown."""
        return tuple(item for item in self.counts if item[1] >= Grade.NON_COMMERCIAL)

    def require(self, accept: bool, where: str) -> None:
        """Raise :class:`InputError` where a row's licence is unknown, or forbids sale or change, and isn't accepted."""
        if self.withheld and not accept:
            named = ", ".join(f"{name or 'none stated'} ({graded.label}): {n}" for name, graded, n in self.withheld)
            rows = sum(n for _, _, n in self.withheld)
            raise InputError(
                f"{rows} rows go back to sources that may not be free to use: {named}",
                where=where,
                cure="--accept-licence exports them all the same",
            )


def strictest(licences: Mapping[str | None, int]) -> LicenceVerdict:
    """Return the strictest of *licences* (licence to number of rows).

    Where several share that grade, versions of one Creative Commons licence count as the newest; otherwise the verdict
    names none of them (``licence`` is null), since no one licence covers the whole.
    """
    counts = sorted(
        ((licence, grade(licence), rows) for licence, rows in licences.items()),
        key=lambda item: (-item[1], -item[2], item[0] or ""),
    )
    top = counts[0][1] if counts else Grade.UNKNOWN
    names = sorted({_plain(licence) for licence, graded, _ in counts if graded == top and licence})
    families = {re.sub(r"-\d\.\d$", "", name) for name in names}
    covers = len(names) == 1 or (len(families) == 1 and names[0].startswith("cc-by"))
    return LicenceVerdict(top, names[-1] if covers and top is not Grade.UNKNOWN else None, tuple(counts))


@dataclass(frozen=True)
class About:
    """What a card says of an export that its rows don't: ``prompts`` maps prompt names to their ids."""

    task: str
    description: str
    prompts: Mapping[str, str]
    cost_microusd: int
    version: str


@dataclass
class Facts:
    """An export in figures; ``skipped`` rows had no assistant's turn."""

    about: About
    rows: int = 0
    skipped: int = 0
    shards: int = 0
    licences: Counter[str | None] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)


def write_chat(
    rows: Iterable[pa.RecordBatch] | Iterable[Mapping[str, Any]],
    folder: Path,
    about: About,
    *,
    turns: Sequence[str],
    accept_licence: bool = False,
    shard_rows: int = SHARD_ROWS,
) -> Facts:
    """Write answered examples as chat JSONL with a card into *folder*, replacing an export that is there.

    A row has ``task, example_id, sample, persona, fields (map), answer (final answer), verified, model, answer_model,
    language, licence, source, url``; *turns* are the fields that a user and an assistant say in turn. Rows that lack
    one are skipped. The same rows give the same bytes in whatever order they come. The folder appears whole
    or not at all.

    Raises :class:`InputError` for licences that aren't accepted, and for a folder that holds anything but an export.
    """
    kept = folder.with_name(f".{folder.name}.old")
    if kept.exists() and not folder.exists():  # A run stopped between the two renames.
        kept.rename(folder)
    _refuse_foreign(folder)
    draft = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        (draft / "runs").mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=str(folder), cure="name another `export.path`"
        ) from error
    try:
        facts = Facts(about)
        runs = _sorted_runs(_lines(rows, turns, facts), draft / "runs")
        strictest(facts.licences).require(accept_licence, str(folder))
        facts.shards = -(-facts.rows // shard_rows)
        with closing(_merged(runs, draft / "runs")) as lines:
            for shard in range(facts.shards):
                name = f"train-{shard:05d}-of-{facts.shards:05d}.jsonl"
                _write(islice(lines, shard_rows), draft / name)
        shutil.rmtree(draft / "runs")
        (draft / "README.md").write_text(card(facts), encoding="utf-8")
        shutil.rmtree(kept, ignore_errors=True)
        if folder.exists():
            folder.rename(kept)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(kept, ignore_errors=True)
    return facts


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    foreign = sorted(entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name))
    if foreign:
        raise InputError(
            f"holds {foreign[0]!r}, which is no part of an export", where=str(folder), cure="name another `export.path`"
        )


def _lines(
    rows: Iterable[pa.RecordBatch] | Iterable[Mapping[str, Any]], turns: Sequence[str], facts: Facts
) -> Iterator[bytes]:
    """Yield the JSON line of each row that has all turns, and count it in *facts*."""
    for item in rows:
        for row in item.to_pylist() if isinstance(item, pa.RecordBatch) else [item]:
            fields = dict(row["fields"] or {})
            said = [fields.get(turn) or "" for turn in turns]
            if not all(map(str.strip, said)):
                facts.skipped += 1
                continue
            facts.rows += 1
            facts.licences[row["licence"]] += 1
            facts.models.update({model for model in (row["model"], row.get("answer_model")) if model})
            facts.languages.update([row["language"]] if row["language"] else [])
            yield json.dumps(_chat(row, said), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _chat(row: Mapping[str, Any], said: Sequence[str]) -> dict[str, Any]:
    turns = [{"role": _ROLES[n % 2], "content": text} for n, text in enumerate(said)]
    given = {**row, "messages": turns, "sample": row.get("sample", 0), "source_url": row["url"]}
    return {name: given.get(name) for name in COLUMNS}


def _sorted_runs(lines: Iterable[bytes], folder: Path) -> list[Path]:
    runs: list[Path] = []
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _RUN_BYTES:
            runs.append(_write(sorted(held), folder / f"{len(runs):07d}"))
            held, size = [], 0
    return [*runs, _write(sorted(held), folder / f"{len(runs):07d}")]


def _merged(runs: list[Path], folder: Path) -> Generator[bytes, None, None]:
    """Yield the lines of sorted files in order, by way of fewer and longer files where they are too many to open."""
    generation = 0
    while len(runs) > _FAN_IN:
        generation += 1
        groups = [runs[at : at + _FAN_IN] for at in range(0, len(runs), _FAN_IN)]
        runs = [_merge(group, folder / f"{generation}-{at:07d}") for at, group in enumerate(groups)]
    with ExitStack() as stack:
        yield from heapq.merge(*(stack.enter_context(run.open("rb")) for run in runs))


def _merge(runs: list[Path], path: Path) -> Path:
    with ExitStack() as stack:
        _write(heapq.merge(*(stack.enter_context(run.open("rb")) for run in runs)), path)
    for run in runs:
        run.unlink()
    return path


def _write(lines: Iterable[bytes], path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(lines)
    return path


_STAND_IN_NOTE = """\
> **Not to be trained on.** Texts of the embedded endpoint are stand-ins: rules wrote them, not a model, so that the
> pipeline can be tried without an endpoint. They show the shape of the data and nothing else."""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"))  # fmt: skip


def card(facts: Facts) -> str:
    """Return the dataset card, a README.md with YAML front matter, of an export with these *facts*."""
    about, verdict = facts.about, strictest(facts.licences)
    stand_in = any(map(is_stand_in, facts.models))
    parts = (
        f"---\n{_front_matter(facts, verdict)}---",
        f"# {_text(about.task)}",
        _text(about.description),
        *([_STAND_IN_NOTE] if stand_in else []),
        f"{facts.rows:,} rows, {facts.shards:,} file(s). Left out without an assistant's turn: {facts.skipped:,}.",
        "## How it was made",
        "Personas were inferred from web pages and deduplicated. Each wrote a prompt; a model that never saw the\n"
        f"persona answered it. Made with personalake {_text(about.version)}; the requests of this task cost "
        f"US$ {about.cost_microusd / 1e6:,.2f}.",
        "`messages` are a user's and an assistant's turns. `persona` is who wrote the prompt; `answer` is the\n"
        "final answer where the task has one, and `verified` whether several kinds of solver agree on it, null where\n"
        "that wasn't asked. Nobody has checked that the answers are right.",
        _table(("model", "rows it had a part in"), _ranked(facts.models)),
        _table(("prompt", "version"), sorted(about.prompts.items())),
        _table(("language", "rows"), _ranked(facts.languages)),
        "## Licences of the sources",
        *_licence_parts(verdict),
    )
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Facts, verdict: LicenceVerdict) -> str:
    licence = verdict.licence
    matter: dict[str, Any] = {"pretty_name": " ".join(facts.about.task.split())}
    if licence and _CARD_LICENCES.fullmatch(licence):
        matter["license"] = licence
    elif verdict.grade is Grade.UNKNOWN:
        matter["license"] = "unknown"
    else:
        matter |= {"license": "other", "license_name": licence or "mixed"}
    languages = sorted(code for code in facts.languages if re.fullmatch(r"[a-z]{2,3}", code))
    if languages:
        matter["language"] = languages
    matter["task_categories"] = ["text-generation"]
    matter["size_categories"] = [next((name for below, name in _SIZES if facts.rows < below), "10B<n<100B")]
    matter["tags"] = ["synthetic", "personas"]
    if facts.rows:
        files = [{"split": "train", "path": "train-*.jsonl"}]
        matter["configs"] = [{"config_name": "default", "data_files": files}]
        matter["dataset_info"] = {"features": _FEATURES}  # A column that opens with nulls has no type to infer.
    return yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)


def _licence_parts(verdict: LicenceVerdict) -> Iterator[str]:
    named = f"`{verdict.licence}` ({verdict.grade.label})" if verdict.licence else verdict.grade.label
    yield (
        f"Strictest: {named}. What the milder ones ask for, such as naming the source, holds as well: each row has\n"
        "its own `licence`, `source` and `source_url`. The terms of the models that wrote the texts come on top;\n"
        "personalake doesn't know them."
    )
    if verdict.withheld:
        yield "**Exported although licences are unknown, or forbid sale or change.** See to it before use."
    rows = [(licence or "none stated", graded.label, n) for licence, graded, n in verdict.counts]
    yield _table(("licence", "asks for", "rows"), rows)


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str | int, ...]]) -> str:
    cells = [[f"{cell:,}" if isinstance(cell, int) else _text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *cells])


def _text(text: str) -> str:
    """Return *text* on one line, with what Markdown and HTML would read as their own taken literally."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")
