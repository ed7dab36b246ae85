"""What the settings name, read and checked before Spark starts: models, tasks, taxonomy, the corpus's files."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from personalake import own_personas
from personalake.corpus.files import PERSONAS, CorpusFile, list_files
from personalake.corpus.lists import Lists
from personalake.errors import InputError, SettingsError
from personalake.llm.models import Models, Question
from personalake.personas import acceptance, expand, infer, judge
from personalake.personas.shape import OTHER
from personalake.prompts import Prompt
from personalake.settings import Settings
from personalake.synthesis.tasks import Step, Task, load_task

STAGES = ("ingest", "infer", "dedup", "expand", "synthesize", "export", "report")
"""The stages in their order."""


@dataclass(frozen=True)
class Inputs:
    """What the settings name, read and checked before Spark starts."""

    settings: Settings
    models: Models
    domains: tuple[str, ...]
    infer_prompt: Prompt
    expand_prompt: Prompt
    tasks: tuple[tuple[Task, int], ...]
    files: tuple[CorpusFile, ...] = field(repr=False)
    persona_files: tuple[CorpusFile, ...] = field(repr=False, default=())

    def question(self, role: str, schema_name: str = "", schema: dict[str, Any] | None = None) -> Question:
        """What is asked of the model that plays *role*."""
        llm = self.settings.llm
        settings = llm.role(role)
        model = str(settings.model)
        return Question(
            label=llm.label or model,
            role=settings,
            abilities=self.models.of(model),
            schema_name=schema_name,
            response_schema=schema,
            extra_body=llm.extra_body,
        )

    def question_of(self, step: Step) -> Question:
        """What is asked in a *step* of a task."""
        return self.question(step.role, step.id if step.json_schema else "", step.json_schema)


def read_inputs(settings: Settings, folder: Path, stages: tuple[str, ...] = STAGES) -> Inputs:
    """Read what *settings* name (beside them in *folder*); raises :class:`SettingsError` or :class:`InputError`."""
    models = Models.load(Path(settings.llm.models) if settings.llm.models else folder / "models.yaml")
    tasks = tuple((load_task(task_file(t.task, folder)), t.target) for t in settings.synthesize.tasks)
    names = [task.task for task, _ in tasks]
    if len(set(names)) != len(names):
        raise SettingsError("two task files bear the same name", where="synthesize.tasks", cure="rename one")
    files, own = _files(settings) if "ingest" in stages else ((), ())
    domains = _domains(folder / "taxonomy.yaml")
    prompts = (
        infer.prompt(settings.infer, domains),
        expand.prompt(settings.expand, settings.infer, domains),
    )
    if settings.accept.judge is not None:
        judge.prompt(settings.accept.judge)  # Said now rather than once it is asked.
    acceptance.Lists.of(settings.accept)  # said now rather than by a task
    return Inputs(settings, models, domains, *prompts, tasks, files, own)


def _files(settings: Settings) -> tuple[tuple[CorpusFile, ...], tuple[CorpusFile, ...]]:
    """The files of the corpus, and those of the user's own personas."""
    pages, own = ([os.path.expanduser(p) for p in paths] for paths in (settings.corpus.paths, settings.personas.paths))
    if not pages and not own and not settings.corpus.tables and not settings.personas.tables:
        what = "none of `corpus.paths`, `corpus.tables`, `personas.paths` and `personas.tables` names anything to read"
        raise SettingsError(what, cure="--set 'corpus.paths=[FOLDER]'")
    files = tuple(list_files(pages, prefix=settings.corpus.prefix)) if pages else ()
    Lists.of(settings.corpus)  # said now rather than by a task
    persona_files = tuple(list_files(own, PERSONAS)) if own else ()
    both = {file.path for file in files} & {file.path for file in persona_files}
    both |= set(settings.corpus.tables) & set(settings.personas.tables)
    if both:
        what = "is named as a file of pages and as one of personas"
        raise SettingsError(what, where=min(both), cure="leave it out of `corpus` or of `personas`")
    own_personas.check_columns(persona_files, settings.personas)
    return files, persona_files


def task_file(name: str, folder: Path, where: str = "synthesize.tasks") -> Path:
    """The file of the task *name*, which may be a path; raises :class:`InputError`."""
    file = Path(name) if name.endswith((".yaml", ".yml")) else folder / "tasks" / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in (folder / "tasks").glob("*.yaml")))
        raise InputError(f"no task file {file}", where=where, cure=f"known: {known}, or the path of your own")
    return file


def _domains(file: Path) -> tuple[str, ...]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))["domains"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError("holds no list `domains`", where=str(file), cure="copy it from the project's conf/") from error
    if not isinstance(found, list) or not all(isinstance(name, str) and name.strip() for name in found):
        raise InputError("`domains` must be a list of names", where=str(file), cure="copy it from the project's conf/")
    names = [" ".join(name.split()) for name in found]
    known = Counter(name.casefold() for name in (*names, OTHER))
    twice = [name for name in names if known[name.casefold()] > 1]
    if twice:
        raise InputError(
            f"{twice[0]!r} stands twice (`{OTHER}` is always there)", where=f"{file}, domains", cure="name each once"
        )
    return tuple(names)
