"""The prompts that the package ships, those that a user puts in their place, and what makes two versions different."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from personalake.errors import InputError
from personalake.prompts.render import placeholders


@dataclass(frozen=True)
class Prompt:
    """A version of a prompt: the templates of its two messages and the schema of the reply."""

    name: str
    system: str
    user: str
    response_schema: dict[str, Any] | None = None

    @property
    def template(self) -> str:
        """The messages before substitution, as JSON."""
        return json.dumps({"system": self.system, "user": self.user}, ensure_ascii=False, sort_keys=True)

    @property
    def instructions(self) -> str:
        """Its own words, before substitution: what must not come back in a reply."""
        return f"{self.system}\n{self.user}"

    @property
    def schema_json(self) -> str | None:
        """The schema of the reply as JSON, null for free text."""
        return None if self.response_schema is None else json.dumps(self.response_schema, sort_keys=True)

    @property
    def prompt_id(self) -> str:
        """sha256 of everything that shapes the messages."""
        return hashlib.sha256(json.dumps([self.template, self.schema_json]).encode()).hexdigest()


def shipped(
    name: str,
    response_schema: dict[str, Any],
    file: str | None,
    known: Mapping[str, Collection[str]],
    needed: Collection[tuple[str, str]],
) -> Prompt:
    """The prompt *name* that the package ships, or the user's own *file* in its place.

    *known* is what a template may name, by group; *needed* what its user message must have. Raises
    :class:`InputError` for a file that can't be read or doesn't keep to that.
    """
    if file is None:
        raw = yaml.safe_load((resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"))
    else:
        raw = _own(file)
    system, user = (str(raw.get(part) or "").strip() for part in ("system", "user"))
    where = file or name
    for group, value in (*placeholders(system), *placeholders(user)):
        if value not in known.get(group, ()):
            every = ", ".join(f"{{{{{g}.{v}}}}}" for g, values in known.items() for v in values)
            raise InputError(f"knows no {{{{{group}.{value}}}}}", where=where, cure=f"known: {every}")
    missing = [f"{{{{{g}.{v}}}}}" for g, v in needed if (g, v) not in set(placeholders(user))]
    if missing:
        what = f"its user message lacks {missing[0]}: without it the model would not see what to work on, or its fence"
        raise InputError(what, where=where, cure="see the package's own prompt")
    return Prompt(name, system, user, response_schema)


def _own(file: str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise InputError(f"the prompt can't be read: {said}", where=file, cure="name a YAML file") from error
    if not isinstance(raw, dict) or set(raw) - {"system", "user"} or "user" not in raw:
        raise InputError("is no prompt", where=file, cure="give the texts `system` and `user`, and nothing else")
    return raw
