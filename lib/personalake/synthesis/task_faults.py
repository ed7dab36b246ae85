"""What no single key of a task file can tell: how its steps, fields, templates and export refer to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from personalake.errors import nearest
from personalake.prompts.render import placeholders

if TYPE_CHECKING:
    from personalake.synthesis.tasks import Step, Task

_LANGUAGE_NAMES = ("language.code", "language.name")


def faults(task: Task) -> Iterator[str]:
    """Yield each fault of *task*, in the words of the file."""
    brought: dict[str, str] = {}
    for at, step in enumerate(task.steps):
        same = [other for other in task.steps[:at] if other.id == step.id]
        if any(_but_role(other) != _but_role(step) or other.role == step.role for other in same):
            yield f"step `{step.id}`: two steps have this id"
        yield from _reply_faults(step)
        for field in step.fields:
            if brought.setdefault(field, step.id) != step.id:
                yield f"step `{step.id}`: the field `{field}` is that of the step `{brought[field]}`"
        yield from _sees_faults(task, step, at)
        yield from _dialogue_faults(task, step)
        yield from _template_faults(task, step)
        yield from _later_faults(step)
    if task.steps[0].answers or len({step.id for step in task.steps}) == 1:
        yield "`steps`: a first step (without `sees`) and then one that sees it (with `sees`) are needed"
    for step in task.steps[1:]:
        if not step.answers and step.id != task.steps[0].id:
            yield f"step `{step.id}`: only the first step stands alone; name the steps that this one `sees`"
    yield from _verify_faults(task)
    yield from _export_faults(task, brought)
    named = {name for step in task.steps for group, name in placeholders(step.instructions) if group == "vary"}
    for axis, weights in task.vary.items():
        if not weights:
            yield f"`vary.{axis}`: no values"
        if axis not in named:
            yield f"`vary.{axis}`: drawn, but no step names {{{{vary.{axis}}}}}"


def _but_role(step: Step) -> Step:
    return step.model_copy(update={"role": "", "samples": 1})


def _reply_faults(step: Step) -> Iterator[str]:
    for key, kind, given in (("tags", "tagged", step.tags), ("schema", "json", step.json_schema)):
        if given and step.reply != kind:
            yield f"step `{step.id}`: `{key}` belongs to `reply: {kind}`"
        if step.reply == kind and not given:
            yield f"step `{step.id}`: `reply: {kind}` needs `{key}`"
    if len({*step.tags}) < len(step.tags):
        yield f"step `{step.id}`: a tag stands twice"
    if step.json_schema:
        yield from (f"step `{step.id}`: `schema`{fault}" for fault in _schema_faults(step.json_schema, ""))


def _schema_faults(node: Mapping[str, Any], place: str) -> Iterator[str]:
    """What strict structured output refuses: an object that is open, or of which a part may be missing."""
    if not place and node.get("type") != "object":
        yield ": an object is expected, each of whose properties is a field"
        return
    if node.get("type") == "object":
        properties = node.get("properties")
        if not isinstance(properties, dict) or not properties:
            yield f"{place}: an object needs `properties`"
            return
        if node.get("additionalProperties") is not False:
            yield f"{place}: `additionalProperties: false` is missing, which strict output asks for"
        if left := sorted({*properties} - {*node.get("required", ())}):
            yield f"{place}: `required` lacks {left[0]!r}; let it be null where it may be absent"
        for name, part in properties.items():
            yield from _schema_faults(part if isinstance(part, dict) else {}, f"{place}.{name}")
    if node.get("type") == "array":
        items = node.get("items")
        if not isinstance(items, dict):
            yield f"{place}: an array needs `items`"
        else:
            yield from _schema_faults(items, f"{place}[]")


def _dialogue_faults(task: Task, step: Step) -> Iterator[str]:
    seen = {field for other in task.steps if other.id in step.sees for field in other.fields}
    if unseen := [field for field in step.dialogue if field not in seen]:
        yield f"step `{step.id}`: `dialogue` names {unseen[0]!r}, which is no field of a step that it `sees`"
    if not step.user and not len(step.dialogue) % 2:
        yield f"step `{step.id}`: `user` is missing, or a `dialogue` that ends with a user's turn"


def _later_faults(step: Step) -> Iterator[str]:
    for key, given in (("extract", step.extract is not None), ("samples", step.samples > 1), ("persona", step.persona)):
        if given and not step.answers:
            yield f"step `{step.id}`: `{key}` belongs to a later step (one that `sees` earlier steps)"


def _sees_faults(task: Task, step: Step, at: int) -> Iterator[str]:
    ids = [other.id for other in task.steps]
    for seen in step.sees:
        if seen not in ids:
            yield f"step `{step.id}`: `sees` names the unknown step `{seen}` ({nearest(seen, ids)})"
        elif seen not in ids[:at] or seen == step.id:
            yield f"step `{step.id}`: `sees` names `{seen}`, which doesn't come before it"
        elif [other.samples for other in task.steps if other.id == seen] != [1]:
            yield f"step `{step.id}`: `sees` names `{seen}`, of which there are several answers"


def _template_faults(task: Task, step: Step) -> Iterator[str]:
    shows = task.source == "hub" and (step.persona or not step.answers)
    seen = [field for other in task.steps if other.id in step.sees for field in other.fields]
    known = {*_LANGUAGE_NAMES, *(f"vary.{axis}" for axis in task.vary), *(f"fields.{field}" for field in seen)}
    known |= {"persona.text"} if shows else set()
    for key, template in (("system", step.system), ("user", step.user)):
        for group, name in placeholders(template):
            if f"{group}.{name}" not in known:
                yield f"step `{step.id}`: `{key}` {_unknown(task, step, group, name, known)}"
    used = {f"{group}.{name}" for group, name in placeholders(step.instructions)}
    if shows and "persona.text" not in used:
        yield f"step `{step.id}`: `user` must name {{{{persona.text}}}}"
    for other in step.sees:
        fields = {f"fields.{field}" for each in task.steps if each.id == other for field in each.fields}
        said = {f"fields.{field}" for field in step.dialogue}
        if fields and fields.isdisjoint(used | said):
            yield f"step `{step.id}`: `user` must name {' or '.join(f'{{{{{field}}}}}' for field in sorted(fields))}"


def _unknown(task: Task, step: Step, group: str, name: str, known: set[str]) -> str:
    shown = f"{{{{{group}.{name}}}}}"
    if f"{group}.{name}" == "persona.text" and step.answers and task.source == "hub":
        return f"names {shown}; an answering step never sees the persona"
    if group == "persona" and task.source == "none":
        return f"names {shown}, which `source: none` doesn't show"
    bringing = next((other.id for other in task.steps if name in other.fields), None) if group == "fields" else None
    cure = f"list {bringing!r} under `sees`" if bringing else nearest(f"{group}.{name}", known)
    return f"has the unknown placeholder {shown} ({cure})"


def _verify_faults(task: Task) -> Iterator[str]:
    if task.verify is None:
        return
    name, steps = task.verify.step, task.verified
    if not steps:
        yield f"`verify.step` names no later step `{name}` ({nearest(name, [step.id for step in task.steps[1:]])})"
    elif any(step.extract is None for step in steps):
        yield f"`verify.step`: `{name}` has no `extract`, so it has no answer to compare"
    elif len(steps) < task.verify.kinds:
        yield f"`verify.kinds`: {len(steps)} role answers `{name}`, and {task.verify.kinds} shall agree; give `roles`"


def _export_faults(task: Task, brought: Mapping[str, str]) -> Iterator[str]:
    fields = task.export.sft
    for name in fields:
        if name not in brought:
            yield f"`export.sft` names the unknown field `{name}` ({nearest(name, brought)})"
            return
    if len(fields) % 2:
        yield "`export.sft`: a user's turn and an assistant's, in turn: the last turn is the assistant's"
    for asked, answered in zip(fields[::2], fields[1::2], strict=False):
        user, assistant = task.bringing(asked), task.bringing(answered)
        if assistant.persona or user.id not in assistant.sees:
            yield (
                f"`export.sft`: [{asked}, {answered}] is no user's turn and its answer; "
                "give a field and that of a step that `sees` it, and no persona"
            )
