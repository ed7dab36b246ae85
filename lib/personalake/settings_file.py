"""The settings file: read, overridden from the command line, checked; what doesn't hold is said in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from personalake.errors import SettingsError, nearest
from personalake.settings import Settings


def load(path: str, overrides: Iterable[str] = ()) -> tuple[Settings, Path]:
    """Read the settings file at *path*, lay `a.b=c` overrides over it, and check the whole.

    Returns the settings and the folder of the file: tasks and models are looked up beside it. Relative paths in
    the settings are relative to the current folder, as for any command-line tool. Raises :class:`SettingsError`.
    """
    file = Path(path)
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            "no such settings file", where=path, cure="conf/local.yaml is the one to start from"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", where=path) from error
    except yaml.YAMLError as error:
        raise SettingsError(
            f"is not YAML: {_one_line(error)}", where=path, cure="indent with spaces, two a level"
        ) from error
    if not isinstance(raw, dict):
        raise SettingsError("holds no settings", where=path, cure="it starts with lines such as `store: {path: .lake}`")
    for override in overrides:
        _lay_over(raw, override)
    try:
        return Settings.model_validate(raw), file.resolve().parent
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(e) for e in error.errors()), where=path) from error


def _lay_over(raw: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted.strip():
        raise SettingsError(f"--set {override!r} has no `=`", cure="write --set a.b=value")
    try:
        value = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {override!r}: {_one_line(error)}", cure="quote the value for the shell") from error
    node = raw
    *parents, last = dotted.strip().split(".")
    for name in parents:
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        if not isinstance(child, dict):
            raise SettingsError(f"--set {override!r}: {name!r} is a value, not a group", cure="see conf/README.md")
        node = child
    if dotted.strip() in ("llm.api_key.env", "llm.api_key.file"):
        node.clear()  # The two exclude each other, so naming one on the command line replaces the other.
    node[last] = value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _explain(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "settings"
    if error["type"] == "extra_forbidden":
        return f"unknown setting `{place}` ({nearest(str(error['loc'][-1]), _known_at(error['loc'][:-1]))})"
    if error["type"] == "missing":
        return f"`{place}` is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"`{place}`: {message[0].lower()}{message[1:]}{shown}"


def _known_at(place: tuple[int | str, ...]) -> list[str]:
    """The keys known at *place*: walks the models along the path, through lists and maps."""
    model: Any = Settings
    for part in place:
        if isinstance(part, int) or not hasattr(model, "model_fields"):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if field is None:
            continue  # A key of a map such as `llm.roles.writer`: the model stays the map's value type.
        model = _model_in(field.annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 (a type annotation can be any object)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
