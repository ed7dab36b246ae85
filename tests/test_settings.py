from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from personalake.api_key import resolve_api_key
from personalake.errors import SettingsError
from personalake.settings import ApiKeySettings, Settings
from personalake.settings_file import load

CONF = Path(__file__).resolve().parents[1] / "conf"


def _file(folder: Path, text: str) -> str:
    path = folder / "settings.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["local.yaml", "openai.yaml"])
def test_the_shipped_settings_hold(name: str) -> None:
    settings, folder = load(str(CONF / name))
    assert settings.synthesize.tasks
    assert folder == CONF


def test_set_lays_values_over_the_file_and_creates_groups(tmp_path: Path) -> None:
    path = _file(tmp_path, "store: {path: a}\n")
    settings, _ = load(path, ["store.path=b", "corpus.paths=[x, y]", "llm.roles.writer.max_tokens=77"])
    assert settings.store.path == "b"
    assert settings.corpus.paths == ["x", "y"]
    assert settings.llm.role("writer").max_tokens == 77


def test_naming_one_place_of_the_key_replaces_the_other(tmp_path: Path) -> None:
    path = _file(tmp_path, "store: {path: a}\nllm: {api_key: {env: A_KEY}}\n")
    settings, _ = load(path, ["llm.api_key.file=/k"])
    assert settings.llm.api_key == ApiKeySettings(env=None, file="/k")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("store: {path: a}\nlm: {}\n", [], "unknown setting `lm` (did you mean 'llm'?)"),
        ("store: {path: a}\nllm: {in_fligth: 3}\n", [], "unknown setting `llm.in_fligth` (did you mean 'in_flight'?)"),
        ("store: {path: a}\nllm: {roles: {w: {temprature: 1}}}\n", [], "did you mean 'temperature'?"),
        ("store: {path: a}\n", ["synthesize.tasks=[{task: math, targt: 1}]"], "did you mean 'target'?"),
        ("store: {path: a}\n", ["llm.in_flight=many"], "`llm.in_flight`: input should be a valid integer"),
        ("store: {path: a}\n", ["llm.in_flight=0"], "`llm.in_flight`"),
        ("store: {path: a}\n", ["nonsense"], "has no `=`"),
        ("store: {path: a}\nseed: 3\n", ["seed.x=1"], "is a value, not a group"),
        ("store: {}\n", [], "give either `path`, or `catalog` and `schema`"),
        ("store: {path: a, catalog: c, schema: s}\n", [], "give either `path`, or `catalog` and `schema`"),
        ("store: {catalog: c, schema: s}\n", [], "`work` (a folder or volume) is required"),
        ("corpus: {paths: [x]}\n", [], "`store` is missing"),
        ("store: {path: a}\nsynthesize: {tasks: [{task: m, target: 1}, {task: m, target: 2}]}\n", [], "named twice"),
        ("store: [unclosed\n", [], "is not YAML"),
        ("- a list\n", [], "holds no settings"),
        ("store: {path: a}", ["llm.requests_per_minute=0"], "`llm.requests_per_minute`"),
        ("store: {path: a}", ["llm.tokens_per_minute=0"], "`llm.tokens_per_minute`"),
        ("store: {path: a}", ["llm.in_flight=0"], "`llm.in_flight`"),
        ("store: {path: a}", ["expand.hops=7"], "`expand.hops`: input should be less than or equal to 6"),
        ("store: {path: a}", ["expand.hops=-1"], "`expand.hops`"),
        ("store: {path: a}", ["expand.fan_out=0"], "`expand.fan_out`"),
        ("store: {path: a}", ["expand.relations=[family, family]"], "a relation stands twice"),
        ("store: {path: a}", ["expand.relations=[teacher]"], "give its words, as `teacher: ...`"),
        ("store: {path: a}", ["expand.relations={teacher: ''}"], "needs a name and words"),
        ("store: {path: a}", ["infer.relations=[]"], "`infer.relations`"),
        ("store: {path: a}", ["infer.relations=[read, read]"], "a relation stands twice"),
        ("store: {path: a}", ["infer.language=English"], "is no ISO 639-1 code such as `en`"),
        ("store: {path: a}", ["infer.attributes={region: {description: where}}"], "no name that each persona has"),
        ("store: {path: a}", ["infer.attributes={shift: {description: when, values: []}}"], "`infer.attributes"),
        ("store: {path: a}", ["hub.target=0"], "`hub.target`"),
        ("store: {path: a}", ["accept.judge={min_score: 6}"], "`accept.judge.min_score`"),
        ("store: {path: a}", ["llm.base_url=host/v1"], "is no address such as https://host/v1"),
        (
            "store: {path: a}\nllm: {endpoints: [{base_url: 'https://a/v1'}, {base_url: 'htp://b'}]}",
            [],
            "`llm.endpoints.1.base_url`: is no address",
        ),
        (
            "store: {path: a}\nllm: {endpoints: [{base_url: 'https://a/v1'}, {base_url: 'https://a/v1'}]}",
            [],
            "an address stands twice",
        ),
        ("store: {path: a}\nllm: {endpoints: [{base_url: offline}]}", [], "can't be one of several"),
        (
            "store: {path: a}\nllm: {base_url: 'https://c/v1', endpoints: [{base_url: 'https://a/v1'}]}",
            [],
            "give either `base_url` or `endpoints`",
        ),
    ],
)
def test_settings_that_do_not_hold_are_refused_in_one_line(
    tmp_path: Path, text: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(_file(tmp_path, text), overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_settings_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: no such settings file"):
        load("nowhere.yaml")


def test_the_hash_covers_what_shapes_rows_and_neither_speed_nor_places() -> None:
    base = Settings.model_validate({"store": {"path": "a"}})
    faster = Settings.model_validate({"store": {"path": "b"}, "llm": {"in_flight": 7, "headers": {"X-Key": "secret"}}})
    other = Settings.model_validate({"store": {"path": "a"}, "infer": {"granularity": "coarse"}})
    assert base.hash == faster.hash != other.hash
    assert "secret" not in str(faster.shaping_rows())


def test_a_key_is_found_in_the_environment_or_in_a_file_and_its_absence_names_the_place(tmp_path: Path) -> None:
    held = tmp_path / "key"
    held.write_text("abc\n")
    assert resolve_api_key(ApiKeySettings(env="K", file=None), {"K": "xyz"}) == "xyz"
    assert resolve_api_key(ApiKeySettings(env=None, file=str(held)), {}) == "abc"
    assert resolve_api_key(ApiKeySettings(env=None, file=None), {}) is None
    with pytest.raises(SettingsError, match="environment variable K isn't set"):
        resolve_api_key(ApiKeySettings(env="K", file=None), {"K": " "})
    with pytest.raises(SettingsError, match="cannot be read"):
        resolve_api_key(ApiKeySettings(env=None, file=str(tmp_path / "none")), {})


def test_who_is_asked_for_vectors_and_with_which_headers_is_kept_in_no_run() -> None:
    endpoint = {"base_url": "http://host/v1", "headers": {"api-key": "secret"}}
    embedding = {"model": "some-model", "endpoint": endpoint}
    settings = Settings.model_validate({"store": {"path": "lake"}, "dedup": {"embedding": embedding}})
    kept = settings.shaping_rows()["dedup"]["embedding"]
    assert kept["model"] == "some-model"
    assert not {"endpoint", "inputs"} & kept.keys()


@pytest.mark.parametrize("embedding", [{}, {"model": "one", "path": "/two"}])
def test_vectors_come_from_an_endpoint_or_from_a_folder(embedding: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give either `model` or `path`"):
        Settings.model_validate({"store": {"path": "lake"}, "dedup": {"embedding": embedding}})
