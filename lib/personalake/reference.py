"""`conf/README.md`, written from the settings' own descriptions: `python -m personalake.reference > conf/README.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from personalake.settings import Settings
from personalake.synthesis.checks import CHECKS
from personalake.synthesis.tasks import Task

_HEAD = """# Settings

One YAML file, and `--set a.b=value` on top of it (YAML values: `--set 'corpus.paths=[a, b]' llm.in_flight=8`). Unknown
keys are refused with the nearest known one. Relative paths are relative to the current folder; `tasks/`, `models.yaml`
and `taxonomy.yaml` are looked up beside the settings file.

| file | what it is |
| --- | --- |
| `local.yaml` | the bundled pages, the embedded endpoint, tables in `.lake/` |
| `openai.yaml` | any endpoint that speaks the OpenAI protocol |
| `models.yaml` | what models can be asked and what they cost |
| `taxonomy.yaml` | the fields that a persona can belong to |
| `tasks/*.yaml` | what personas write: one file a task, no code |

This page is generated from the settings' own descriptions: `python -m personalake.reference > conf/README.md`.
"""


_TASKS = """# Task files

A task is one YAML file: a persona of the hub is asked for the first step, and each later step sees what it names of the
earlier ones. `{{group.name}}` is replaced once, and all other braces are plain text: `{{persona.text}}`,
`{{vary.AXIS}}`, `{{language.name}}`, `{{language.code}}`, and `{{fields.FIELD}}` of the steps that a step `sees`. A
step that answers never sees the persona. A step may name several `roles` (`roles: {solver_cot: 4, solver_pot: 2}`)
instead of one `role` and its `samples`. `personalake try FILE` asks a few personas, and shows all of it.

Checks: CHECKS.
"""


def reference() -> str:
    """The page: a table for each group of settings, in their order."""
    return (
        "\n".join(
            [_HEAD, *_group(Settings, ""), _TASKS.replace("CHECKS", _checks()), *_group(Task, "", "Task file: ")]
        ).rstrip()
        + "\n"
    )


def _checks() -> str:
    return ", ".join(f"`{name}`" for name in ("length: LEAST..MOST", *CHECKS))


def _group(model: type[BaseModel], prefix: str, where: str = "") -> Iterator[str]:
    plain = [(name, field) for name, field in model.model_fields.items() if _inner(field) is None]
    if plain:
        title = f"`{prefix.rstrip('.')}`: {_summary(model)}" if prefix else "at the top"
        title = f"{where}{title}"
        yield f"## {title[0].upper()}{title[1:]}\n\n| setting | default | what it does |\n| --- | --- | --- |"
        for name, field in plain:
            default = _default(field)
            yield f"| `{prefix}{field.alias or name}` | {default} | {field.description} |"
        yield ""
    for name, field in model.model_fields.items():
        inner = _inner(field)
        if inner is not None:
            yield from _group(inner[0], f"{prefix}{field.alias or name}{inner[1]}.", where)


def _inner(field: FieldInfo) -> tuple[type[BaseModel], str] | None:
    """The group that a field holds, and how its place is written: by itself, `[]` in a list, `.NAME` in a map."""
    annotation: Any = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    for inner in get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, {list: "[]", dict: ".NAME"}.get(get_origin(annotation), "")
    return None


def _summary(model: type[BaseModel]) -> str:
    text = " ".join((model.__doc__ or "").partition("\n\n")[0].split()).rstrip(".").replace("``", "`")
    return text[0].lower() + text[1:]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "":
        return "none"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
