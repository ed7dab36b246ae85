from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from personalake.errors import InputError, SettingsError
from personalake.llm.models import Abilities, Question
from personalake.settings import RoleSettings
from personalake.synthesis.synthesize import first_request
from personalake.synthesis.tasks import Task, load_task

TASKS = Path(__file__).parents[2] / "conf" / "tasks"
RAW: dict[str, Any] = {
    "task": "riddle",
    "description": "Riddles with their answers.",
    "source": "hub",
    "language": "persona",
    "vary": {"tone": {"dry": 1, "warm": 2}},
    "steps": [
        {
            "id": "riddle",
            "role": "writer",
            "reply": "text",
            "system": "You write a riddle. Keep \\frac{{a}}{{b}}.",
            "user": "{{vary.tone}} {{language.name}} <persona>{{persona.text}}</persona>",
            "checks": [{"length": "10..500"}, "no_leak"],
        },
        {
            "id": "answer",
            "role": "solver",
            "sees": ["riddle"],
            "user": "{{fields.riddle}}",
            "extract": {"answer": "boxed"},
            "samples": 2,
        },
    ],
    "export": {"sft": ["riddle", "answer"]},
}


def saved(tmp_path: Path, raw: object, name: str = "riddle.yaml") -> Path:
    path = tmp_path / name
    path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path


def test_a_task_file_is_read_whole(tmp_path: Path) -> None:
    task = load_task(saved(tmp_path, RAW))
    assert (task.task, task.source, task.language) == ("riddle", "hub", "persona")
    assert task.vary == {"tone": {"dry": 1, "warm": 2}}
    assert task.first.id == "riddle"
    assert [step.id for step in task.later] == ["answer"]
    assert task.bringing("riddle").checks == ["length: 10..500", "no_leak"]
    assert task.bringing("answer").extract is not None
    assert (task.bringing("answer").samples, task.bringing("answer").reply) == (2, "text")
    assert task.export.sft == ["riddle", "answer"]


def test_a_task_cannot_be_changed_once_read(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_task(saved(tmp_path, RAW)).task = "other"


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(stepps=[]), "unknown key `stepps` (did you mean 'steps'?)"),
        (lambda t: t["steps"][0].update(sytem="x"), "unknown key `steps[0].sytem` (did you mean 'system'?)"),
        (lambda t: t["steps"][1]["extract"].update(anser="x"), "unknown key `steps[1].extract.anser` (did you mean"),
        (lambda t: t["export"].update(rlvr={}), "unknown key `export.rlvr` (known: sft)"),
        (lambda t: t.update(shots={"k": 3}), "unknown key `shots`"),
        (lambda t: t.pop("description"), "`description` is missing"),
        (
            lambda t: t["steps"][1].pop("user"),
            "step `answer`: `user` is missing, or a `dialogue` that ends with a user's",
        ),
        (
            lambda t: t["steps"][1].update(dialogue=["riddel"]),
            "`dialogue` names 'riddel', which is no field of a step that",
        ),
        (lambda t: t.update(source="document"), "`source`: input should be 'hub' or 'none' (given: 'document')"),
        (lambda t: t.update(source="none"), "names {{persona.text}}, which `source: none` doesn't show"),
        (lambda t: t.update(language=False), "`language`: input should be a valid string (given: False, quote it)"),
        (lambda t: t.update(language="german"), "`language`: string should match"),
        (lambda t: t["vary"]["tone"].update(dry=0), "`vary.tone.dry`: input should be greater than or equal to 1"),
        (lambda t: t["vary"]["tone"].update(dry=True), "`vary.tone.dry`: input should be a valid integer"),
        (lambda t: t["vary"].update(tone={}), "`vary.tone`: no values"),
        (lambda t: t["vary"].update(mood={"a": 1}), "`vary.mood`: drawn, but no step names {{vary.mood}}"),
        (lambda t: t["steps"][0].update(reply="yaml"), "`steps[0].reply`: input should be 'text', 'tagged' or 'json'"),
        (lambda t: t["steps"][0].update(reply="json"), "step `riddle`: `reply: json` needs `schema`"),
        (lambda t: t["steps"][0].update(reply="tagged"), "step `riddle`: `reply: tagged` needs `tags`"),
        (lambda t: t["steps"][0].update(tags=["a"]), "step `riddle`: `tags` belongs to `reply: tagged`"),
        (lambda t: t["steps"][0].update(reply="tagged", tags=["a", "a"]), "step `riddle`: a tag stands twice"),
        (lambda t: t["steps"][0].update(reply="json", schema={"type": "array"}), "`schema`: an object is expected"),
        (
            lambda t: t["steps"][0].update(reply="json", schema={"type": "object", "properties": {"a": {}}}),
            "`schema`: `additionalProperties: false` is missing",
        ),
        (
            lambda t: t["steps"][0].update(reply="json", schema=_closed(a={"type": "string"}) | {"required": []}),
            "`schema`: `required` lacks 'a'; let it be null where it may be absent",
        ),
        (
            lambda t: t["steps"][0].update(
                reply="json", schema=_closed(a={"type": "array", "items": {"type": "object"}})
            ),
            "`schema`.a[]: an object needs `properties`",
        ),
        (
            lambda t: t.update(verify={"step": "anser"}),
            "`verify.step` names no later step `anser` (did you mean 'answer'?)",
        ),
        (lambda t: t.update(verify={"step": "answer"}), "`verify.kinds`: 1 role answers `answer`, and 2 shall agree"),
        (
            lambda t: (t["steps"][1].pop("extract"), t.update(verify={"step": "answer", "kinds": 1})),
            "`verify.step`: `answer` has no `extract`",
        ),
        (lambda t: t["steps"][0].update(persona=True), "`persona` belongs to a later step"),
        (
            lambda t: t["steps"][1].update(reply="tagged", tags=["riddle"]),
            "step `answer`: the field `riddle` is that of the step `riddle`",
        ),
        (
            lambda t: t["steps"].append(
                t["steps"][1] | {"id": "more", "sees": ["answer"], "user": "{{fields.answer}}"}
            ),
            "`sees` names `answer`, of which there are several answers",
        ),
        (lambda t: t["steps"].append(t["steps"][0] | {"id": "more"}), "step `more`: only the first step stands alone"),
        (lambda t: t["steps"][0]["checks"].append("no_leek"), "`steps[0].checks[2]`: unknown check `no_leek` (did you"),
        (lambda t: t["steps"][1]["extract"].update(answer="box"), "unknown extractor `box` (did you mean 'boxed'?)"),
        (lambda t: t["steps"][1].update(samples=0), "`steps[1].samples`: input should be greater"),
        (lambda t: t["steps"][0].update(samples=2), "step `riddle`: `samples` belongs to a later step"),
        (lambda t: t["steps"][0].update(extract={"answer": "boxed"}), "`extract` belongs to a later step"),
        (lambda t: t["steps"][1].update(id="riddle"), "step `riddle`: two steps have this id"),
        (
            lambda t: t["steps"][1].update(sees=["ridle"]),
            "`sees` names the unknown step `ridle` (did you mean 'riddle'?)",
        ),
        (
            lambda t: t["steps"][1].update(sees=["riddle", "answer"]),
            "`sees` names `answer`, which doesn't come before it",
        ),
        (lambda t: t["steps"].reverse(), "step `answer`: `sees` names `riddle`, which doesn't come before it"),
        (lambda t: t["steps"][0].update(user="{{persona.txt}}"), "unknown placeholder {{persona.txt}} (did you mean"),
        (lambda t: t["steps"][0].update(user="{{ persona.text }} {{vary.ton}}"), "unknown placeholder {{vary.ton}}"),
        (lambda t: t["steps"][0].update(user="{{fields.answer}}"), "unknown placeholder {{fields.answer}}"),
        (lambda t: t["steps"][0].update(user="{{vary.tone}}"), "step `riddle`: `user` must name {{persona.text}}"),
        (lambda t: t["steps"][1].update(user="Answer!"), "step `answer`: `user` must name {{fields.riddle}}"),
        (lambda t: t["steps"][1].update(system="For {{persona.text}}"), "an answering step never sees the persona"),
        (lambda t: t["steps"][1].update(sees=[]), "unknown placeholder {{fields.riddle}} (list 'riddle' under `sees`)"),
        (lambda t: t["steps"].pop(), "`steps`: list should have at least 2 items"),
        (lambda t: t["export"].update(sft=["riddle"]), "`export.sft`: list should have at least 2 items"),
        (
            lambda t: t["export"].update(sft=["riddle", "anser"]),
            "`export.sft` names the unknown field `anser` (did you",
        ),
        (lambda t: t["export"].update(sft=["answer", "riddle"]), "no user's turn and its answer"),
    ],
)
def test_a_task_that_does_not_hold_is_refused_with_file_and_place(tmp_path: Path, change: Change, message: str) -> None:
    raw = copy.deepcopy(RAW)
    change(raw)
    path = saved(tmp_path, raw)
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        load_task(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_task_without_an_answering_step_is_refused(tmp_path: Path) -> None:
    raw = copy.deepcopy(RAW)
    raw["steps"][1] = {**raw["steps"][0], "id": "answer"}
    with pytest.raises(SettingsError, match="step `answer`: only the first step stands alone"):
        load_task(saved(tmp_path, raw))


def test_a_writing_step_after_an_answering_one_is_refused(tmp_path: Path) -> None:
    raw = copy.deepcopy(RAW)
    raw["steps"].append({**raw["steps"][0], "id": "sequel"})
    with pytest.raises(SettingsError, match="step `sequel`: only the first step stands alone"):
        load_task(saved(tmp_path, raw))


def test_a_task_bears_the_name_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"`task` is 'riddle', the file 'joke\.yaml'"):
        load_task(saved(tmp_path, RAW, "joke.yaml"))


@pytest.mark.parametrize(("raw", "message"), [("a: [", "is no YAML"), ("- a\n", "is no task"), ("", "is no task")])
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, raw: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_task(saved(tmp_path, raw))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml: task file cannot be read: No such file"):
        load_task(tmp_path / "gone.yaml")


def test_the_template_holds_the_messages_before_substitution(tmp_path: Path) -> None:
    task = load_task(saved(tmp_path, RAW))
    assert json.loads(task.template(task.bringing("riddle"))) == [
        {"role": "system", "content": RAW["steps"][0]["system"]},
        {"role": "user", "content": RAW["steps"][0]["user"]},
    ]
    assert json.loads(task.template(task.bringing("answer"))) == [{"role": "user", "content": "{{fields.riddle}}"}]
    assert task.prompt_name(task.bringing("answer")) == "riddle/answer"


def test_a_prompt_has_a_new_id_exactly_when_its_messages_change(tmp_path: Path) -> None:
    def ids(change: Change) -> list[str]:
        raw = copy.deepcopy(RAW)
        change(raw)
        task = load_task(saved(tmp_path, raw))
        return [task.prompt_id(step) for step in task.steps]

    before = ids(lambda raw: None)
    assert len({*before}) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", prompt_id) for prompt_id in before)
    assert ids(lambda raw: raw["steps"][0].update(checks=[])) == before
    assert ids(lambda raw: raw["vary"]["tone"].update(dry=5)) == before
    assert ids(lambda raw: raw["steps"][1].update(samples=7)) == before
    after = ids(lambda raw: raw["steps"][0].update(system="You write a short riddle."))
    assert (after[0] != before[0], after[1]) == (True, before[1])


def test_an_example_is_asked_in_the_tasks_language_or_the_personas_or_english(tmp_path: Path) -> None:
    own = load_task(saved(tmp_path, RAW))
    assert (own.language_for("fr"), own.language_for(None)) == ("fr", "en")
    assert load_task(saved(tmp_path, {**RAW, "language": "sw"})).language_for("fr") == "sw"


@pytest.mark.parametrize(
    ("name", "prompts"),
    [
        (
            "math",
            {
                "problem": "e391b8dd2d1f303c6031eea5d9e2e761230dc8e39253042e56e50e64df6c46f5",
                "solution": "6e6f62872b5a78553e3d7804e08017c6db5bd40a77fc3e31eaa41cff7edef374",
            },
        ),
        (
            "instruction",
            {
                "request": "03df8c887bca0f78fdcc5ee2c6c6a16eb9b287decc35cf77cf1db7325b397464",
                "reply": "fecbe74997caafc7ca49578ba4f5809f38b199703e74bd77d5022b6246eb359d",
            },
        ),
    ],
)
def test_the_shipped_prompts_are_these_versions(name: str, prompts: dict[str, str]) -> None:
    """Pins the bytes of each prompt: a new one makes new requests, so it has to be meant."""
    task = load_task(TASKS / f"{name}.yaml")
    assert {step.id: task.prompt_id(step) for step in task.steps} == prompts


def test_the_shipped_tasks_are_what_the_embedded_endpoint_tells_apart() -> None:
    def asked(task: Task) -> tuple[str, str, str]:
        return task.first.system, task.first.user, task.later[0].system

    math, instruction = (load_task(TASKS / f"{name}.yaml") for name in ("math", "instruction"))
    write, user, solve = asked(math)
    assert "problem" in write
    assert "\\boxed" not in write
    assert user.endswith("<persona>{{persona.text}}</persona>")
    assert "\\boxed{}" in solve
    write, user, reply = asked(instruction)
    assert "problem" not in write.lower()
    assert "\\boxed" not in write + reply
    assert user.endswith("<persona>{{persona.text}}</persona>")
    assert {*math.vary["topic"]} == {"algebra", "geometry", "arithmetic", "probability", "rates", "combinatorics"}
    assert {*math.vary["difficulty"]} == {"school", "high_school", "contest"}


def test_the_task_that_shows_no_persona_differs_from_its_counterpart_in_that_alone() -> None:
    alone, math = (load_task(TASKS / f"{name}.yaml") for name in ("math_alone", "math"))
    assert "persona" not in alone.first.instructions.lower()
    assert (alone.vary, alone.language, alone.later) == (math.vary, math.language, math.later)
    assert {*math.first.checks} - {*alone.first.checks} == {"no_recital"}


def test_who_writes_for_nobody_is_asked_each_for_an_answer_of_its_own() -> None:
    task = load_task(TASKS / "math_alone.yaml")
    task = task.model_copy(update={"vary": {axis: {next(iter(values)): 1} for axis, values in task.vary.items()}})
    question = Question(label="m", role=RoleSettings.model_validate({"model": "m"}), abilities=Abilities())
    writers = [{"persona_id": digit * 64, "text": f"A nurse, {digit}.", "language": "en"} for digit in "0f"]
    one, other = (first_request(writer, task, question, seed=0) for writer in writers)
    assert one["body"] == other["body"]
    assert one["request_key"] != other["request_key"]


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_task_holds(path: Path) -> None:
    task = load_task(path)
    assert set(task.export.sft) <= {field for step in task.steps for field in step.fields}
    assert all(step.checks for step in task.steps)
