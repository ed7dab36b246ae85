"""Tasks as data: what a persona is asked to write, who answers it, what is checked, what is exported.

A task is one YAML file. Writing steps see the persona; answering steps see what earlier steps brought and never the
persona, so that an answer can't know who asked. Everything is checked when the file is read, before anything is paid.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from personalake.errors import InputError, SettingsError, nearest
from personalake.prompts.render import FALLBACK_LANGUAGE, turns_of
from personalake.synthesis.checks import canonical
from personalake.synthesis.extract import EXTRACTORS
from personalake.synthesis.task_faults import faults

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Weight = Annotated[int, Field(ge=1)]


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
    """One request of a task: the first is asked of a persona, a later one ``sees`` what earlier ones brought.

    One that several ``roles`` answer is a step a role once the file is read: each asks a model of its own.
    """

    id: Name = Field(description="Name of the step; of a text reply, also of the field that it becomes.")
    role: Name = Field(description="Role that is asked; the settings map it to a model (`llm.roles`).")
    reply: Literal["text", "tagged", "json"] = Field(
        "text",
        description="Kind of reply: `text` is one field; `tagged` has each of `tags` as `<tag>...</tag>`, for LaTeX "
        "and code; `json` obeys `schema`, and each of its properties is a field.",
    )
    tags: list[Name] = Field(default_factory=list, description="Fields of a tagged reply.")
    json_schema: dict[str, Any] | None = Field(
        None, alias="schema", description="JSON schema of a json reply: an object, closed, all of it required."
    )
    sees: list[Name] = Field(
        default_factory=list, description="Earlier steps whose fields it may name: `{{fields.F}}`."
    )
    persona: bool = Field(
        False, description="Whether a later step sees the persona, too: who speaks again in a dialogue."
    )
    system: str = Field("", description="System message: the static rules, first, so that providers can cache them.")
    dialogue: list[Name] = Field(
        default_factory=list,
        description="Fields that go before as turns of a conversation, the first of them a user's: what is answered.",
    )
    user: str = Field("", description="User message: what changes, the persona last. None where a dialogue ends so.")
    checks: list[Annotated[str, BeforeValidator(canonical)]] = Field(
        default_factory=list,
        description="Checks of each field of the reply, in order; the first that refuses one names the reason.",
    )
    extract: Extract | None = Field(None, description="What is taken out of an answer.")
    samples: int = Field(1, ge=1, description="Answers asked for per example, of a later step.")

    @property
    def answers(self) -> bool:
        """Whether it comes later: it sees what earlier steps brought, and most of the time no persona."""
        return bool(self.sees)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that its reply brings."""
        if self.reply == "tagged":
            return tuple(self.tags)
        return tuple((self.json_schema or {}).get("properties", {})) if self.reply == "json" else (self.id,)

    @property
    def instructions(self) -> str:
        """Its own words, before substitution: what must not come back in a reply."""
        return f"{self.system}\n{self.user}"


class Verify(_Part):
    """What makes an example verified: answers of several kinds of solver that agree."""

    step: Name = Field(description="The step whose answers are held against each other: it has `extract`.")
    kinds: int = Field(2, ge=1, description="Kinds of solver (a model, with its prompt) that have to agree.")


class Export(_Part):
    """What is exported."""

    sft: list[Name] = Field(
        min_length=2,
        description="The fields that are the turns of a dialogue: a user's, an assistant's answer to it, and so on.",
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
    steps: list[Step] = Field(min_length=2, description="The step that a persona writes, then those that follow it.")
    verify: Verify | None = Field(None, description="What makes an example verified.")
    export: Export = Field(description="What is exported.")

    @model_validator(mode="before")
    @classmethod
    def _a_step_a_role(cls, raw: Any) -> Any:  # noqa: ANN401 (what YAML brings)
        """Make of a step with `roles` (role: samples) one step for each of them."""
        steps = raw.get("steps") if isinstance(raw, dict) else None
        return {**raw, "steps": [each for step in steps for each in _by_role(step)]} if isinstance(steps, list) else raw

    @model_validator(mode="after")
    def _holds(self) -> Task:
        for fault in faults(self):
            raise ValueError(fault)
        return self

    @property
    def first(self) -> Step:
        """The step that is asked of a persona, or of nobody (`source: none`)."""
        return self.steps[0]

    @property
    def later(self) -> tuple[Step, ...]:
        """The steps behind the first one."""
        return tuple(self.steps[1:])

    def bringing(self, field: str) -> Step:
        """The step whose reply brings *field*; KeyError where none does."""
        for step in self.steps:
            if field in step.fields:
                return step
        raise KeyError(field)

    @property
    def verified(self) -> tuple[Step, ...]:
        """The steps, one a role, whose answers are held against each other."""
        return tuple(step for step in self.later if self.verify and step.id == self.verify.step)

    def name(self, step: Step) -> str:
        """Return what tells *step* from all others: its id, and its role where several answer it."""
        several = sum(each.id == step.id for each in self.steps) > 1
        return f"{step.id}.{step.role}" if several else step.id

    def needs(self, step: Step) -> tuple[Step, ...]:
        """The later steps that have to be answered before *step* can be asked."""
        return tuple(each for each in self.later if each.id in step.sees)

    def language_for(self, persona_language: str | None) -> str:
        """Return the ISO code that an example is asked in: the task's own, else the persona's, else English."""
        return (persona_language or FALLBACK_LANGUAGE) if self.language == "persona" else self.language

    def template(self, step: Step) -> str:
        """Return the messages of *step* before substitution, as JSON: the ``template`` of a row in ``prompts``."""
        return _canonical_json([{"role": role, "content": text} for role, text in turns_of(step, step.dialogue)])

    def prompt_name(self, step: Step) -> str:
        """Return the ``name`` of its row in ``prompts``."""
        return f"{self.task}/{step.id}"

    def schema_text(self, step: Step) -> str | None:
        """Return the JSON schema of a step's reply, as text; null where it has none."""
        return _canonical_json(step.json_schema) if step.json_schema else None

    def prompt_id(self, step: Step) -> str:
        """Return the version of the prompt of *step*: sha256 of all that shapes its messages but the row itself.

        Weights, checks and samples are no part of it: they decide which rows there are, not what is said.
        """
        shape = {
            "name": self.prompt_name(step),
            "template": self.template(step),
            "response_schema": self.schema_text(step),
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


def _by_role(step: Any) -> list[Any]:  # noqa: ANN401 (what YAML brings)
    roles = step.get("roles") if isinstance(step, dict) else None
    if not isinstance(roles, dict) or not roles or "role" in step or "samples" in step:
        return [step]
    rest = {key: value for key, value in step.items() if key != "roles"}
    return [{**rest, "role": role, "samples": samples} for role, samples in roles.items()]


def _canonical_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_KEYS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Task,
    ("steps",): Step,
    ("steps", "extract"): Extract,
    ("verify",): Verify,
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
