"""Tasks as data: what a persona is asked to write, who answers it, what is checked, what is exported.

A task is one YAML file. Writing steps see the persona; answering steps see what earlier steps brought and never the
persona, so that an answer can't know who asked. Everything is checked when the file is read, before anything is paid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from personalake.errors import InputError, SettingsError, nearest
from personalake.prompts.render import FALLBACK_LANGUAGE, placeholders
from personalake.synthesis.checks import canonical
from personalake.synthesis.extract import EXTRACTORS

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Weight = Annotated[int, Field(ge=1)]

_LANGUAGE_NAMES = ("language.code", "language.name")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Extract(_Part):
    """What is taken out of a reply."""

    answer: str = Field(description="How the final answer is found: `boxed`, `answer_is`, `final_line` or `choice`.")

    @field_validator("answer")
    @classmethod
    def _known(cls, how: str) -> str:
        if how not in EXTRACTORS:
            raise ValueError(f"unknown extractor `{how}` ({nearest(how, EXTRACTORS)})")
        return how


class Step(_Part):
    """One request of a task: an answering step where it ``sees`` earlier steps, else a writing step."""

    id: Name = Field(description="Name of the step, and of the field that its reply becomes.")
    role: Name = Field(description="Role that is asked; the settings map it to a model (`llm.roles`).")
    reply: Literal["text"] = Field("text", description="Kind of reply.")
    sees: list[Name] = Field(default_factory=list, description="Earlier steps that it answers, as `{{fields.ID}}`.")
    system: str = Field("", description="System message: the static rules, first, so that providers can cache them.")
    user: str = Field(min_length=1, description="User message: what changes, the persona last.")
    checks: list[Annotated[str, BeforeValidator(canonical)]] = Field(
        default_factory=list, description="Checks of the reply, in order; the first that refuses it names the reason."
    )
    extract: Extract | None = Field(None, description="What is taken out of an answer.")
    samples: int = Field(1, ge=1, description="Answers asked for per example, of an answering step.")

    @property
    def answers(self) -> bool:
        """Whether it is an answering step, which never sees the persona."""
        return bool(self.sees)

    @property
    def instructions(self) -> str:
        """Its own words, before substitution: what must not come back in a reply."""
        return f"{self.system}\n{self.user}"


class Export(_Part):
    """What is exported."""

    sft: list[Name] = Field(
        min_length=2, max_length=2, description="The writing step of the user's turn, and the answering step to it."
    )


class Task(_Part):
    """One synthesis task, as its file says."""

    task: Name = Field(description="Name of the task: that of its file.")
    description: str = Field(min_length=1, description="What it brings, in a sentence.")
    source: Literal["hub", "none"] = Field(
        "hub",
        description="What it is written from: the personas of the hub, or `none`: as many examples in the same "
        "languages, no prompt of which shows a persona, to compare with.",
    )
    language: str = Field(
        "persona", pattern=r"^(persona|[a-z]{2,3})$", description="Language: the persona's, or an ISO 639 code."
    )
    vary: dict[Name, dict[str, Weight]] = Field(
        default_factory=dict, description="Axes of variation: each value and its weight, drawn by hash per example."
    )
    steps: list[Step] = Field(min_length=2, description="Writing steps, then answering steps.")
    export: Export = Field(description="What is exported.")

    @model_validator(mode="after")
    def _holds(self) -> Task:
        for fault in _faults(self):
            raise ValueError(fault)
        return self

    @property
    def writing(self) -> tuple[Step, ...]:
        """The steps that see the persona."""
        return tuple(step for step in self.steps if not step.answers)

    @property
    def answering(self) -> tuple[Step, ...]:
        """The steps that see earlier steps, and never the persona."""
        return tuple(step for step in self.steps if step.answers)

    def step(self, step_id: str) -> Step:
        """Return the step with this id; KeyError where there is none."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def language_for(self, persona_language: str | None) -> str:
        """Return the ISO code that an example is asked in: the task's own, else the persona's, else English."""
        return (persona_language or FALLBACK_LANGUAGE) if self.language == "persona" else self.language

    def template(self, step: Step) -> str:
        """Return the messages of *step* before substitution, as JSON: the ``template`` of a row in ``prompts``."""
        turns = [("system", step.system)] if step.system else []
        return _canonical_json([{"role": role, "content": text} for role, text in [*turns, ("user", step.user)]])

    def prompt_name(self, step: Step) -> str:
        """Return the ``name`` of its row in ``prompts``."""
        return f"{self.task}/{step.id}"

    def prompt_id(self, step: Step) -> str:
        """Return the version of the prompt of *step*: sha256 of all that shapes its messages but the row itself.

        Weights, checks and samples are no part of it: they decide which rows there are, not what is said.
        """
        shape = {
            "name": self.prompt_name(step),
            "template": self.template(step),
            "response_schema": None,
            "shots": None,
        }
        return hashlib.sha256(_canonical_json(shape).encode()).hexdigest()


def load_task(path: str | Path) -> Task:
    """Read a task file.

    Raises :class:`InputError` where it can't be read, :class:`SettingsError` with file and place where it doesn't hold.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"task file cannot be read: {error.strerror}", where=str(path), cure="name one in `synthesize.tasks`"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"is no YAML: {' '.join(str(error).split())}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise SettingsError("is no task: a mapping with `task`, `steps`, ... is expected", where=str(path))
    try:
        task = Task.model_validate(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise SettingsError("; ".join(_explain(fault) for fault in faults), where=str(path)) from error
    if task.task != path.stem:
        raise SettingsError(
            f"`task` is {task.task!r}, the file {path.name!r}", where=str(path), cure="the two must bear one name"
        )
    return task


def _canonical_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _faults(task: Task) -> Iterator[str]:
    """Yield what no single field can tell: how the parts refer to each other."""
    ids = [step.id for step in task.steps]
    for at, step in enumerate(task.steps):
        if step.id in ids[:at]:
            yield f"step `{step.id}`: two steps have this id"
        if at and not step.answers and task.steps[at - 1].answers:
            yield f"step `{step.id}`: a writing step (no `sees`) after an answering one; put it first"
        yield from _sees_faults(step, ids, at)
        yield from _template_faults(task, step)
        for key, given in (("extract", step.extract is not None), ("samples", step.samples > 1)):
            if given and not step.answers:
                yield f"step `{step.id}`: `{key}` belongs to an answering step (one that `sees` earlier steps)"
    if task.steps[0].answers or not task.steps[-1].answers:
        yield "`steps`: a writing step (without `sees`) and then an answering step (with it) are needed"
    yield from _export_faults(task, ids)
    named = {name for step in task.steps for group, name in placeholders(step.instructions) if group == "vary"}
    for axis, weights in task.vary.items():
        if not weights:
            yield f"`vary.{axis}`: no values"
        if axis not in named:
            yield f"`vary.{axis}`: drawn, but no step names {{{{vary.{axis}}}}}"


def _sees_faults(step: Step, ids: list[str], at: int) -> Iterator[str]:
    for seen in step.sees:
        if seen not in ids:
            yield f"step `{step.id}`: `sees` names the unknown step `{seen}` ({nearest(seen, ids)})"
        elif seen not in ids[:at]:
            yield f"step `{step.id}`: `sees` names `{seen}`, which doesn't come before it"


def _template_faults(task: Task, step: Step) -> Iterator[str]:
    known = {*_LANGUAGE_NAMES, *(f"vary.{axis}" for axis in task.vary)}
    shown = {"persona.text"} if task.source == "hub" else set()
    known |= {f"fields.{seen}" for seen in step.sees} if step.answers else shown
    for key, template in (("system", step.system), ("user", step.user)):
        for group, name in placeholders(template):
            placeholder = f"{group}.{name}"
            if placeholder in known:
                continue
            if group == "persona" and step.answers:
                yield f"step `{step.id}`: `{key}` names {{{{{placeholder}}}}}; an answering step never sees the persona"
            elif group == "persona" and not shown:
                yield f"step `{step.id}`: `{key}` names {{{{{placeholder}}}}}, which `source: none` doesn't show"
            else:
                earlier = group == "fields" and any(name == other.id for other in task.steps)
                cure = f"list {name!r} under `sees`" if earlier else nearest(placeholder, known)
                yield f"step `{step.id}`: `{key}` has the unknown placeholder {{{{{placeholder}}}}} ({cure})"
    used = {f"{group}.{name}" for group, name in placeholders(step.instructions)}
    for needed in sorted(known - used):
        if needed.startswith(("fields.", "persona.")):
            yield f"step `{step.id}`: `user` must name {{{{{needed}}}}}"


def _export_faults(task: Task, ids: list[str]) -> Iterator[str]:
    for name in task.export.sft:
        if name not in ids:
            yield f"`export.sft` names the unknown step `{name}` ({nearest(name, ids)})"
            return
    prompt, answer = map(task.step, task.export.sft)
    if prompt.answers or prompt.id not in answer.sees:
        yield (
            f"`export.sft`: [{prompt.id}, {answer.id}] is no user's turn and its answer; "
            "give a writing step and an answering step that `sees` it"
        )


_KEYS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Task,
    ("steps",): Step,
    ("steps", "extract"): Extract,
    ("export",): Export,
}


def _explain(error: ErrorDetails) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    message = error["msg"].removeprefix("Value error, ")
    given: Any = error.get("input")
    if error["type"] == "extra_forbidden":
        names = tuple(part for part in error["loc"][:-1] if isinstance(part, str))
        return f"unknown key `{place}` ({nearest(str(error['loc'][-1]), _KEYS[names].model_fields)})"
    if error["type"] == "missing":
        return f"`{place}` is missing"
    if not place:
        return message
    shown = ""
    if isinstance(given, bool | int | float | str) and error["type"] != "value_error":
        shown = f" (given: {given!r}{', quote it' if error['type'] == 'string_type' else ''})"
    return f"`{place}`: {message[0].lower()}{message[1:]}{shown}"
