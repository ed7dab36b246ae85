"""The prompts that the package ships, and what makes two prompt versions different."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml


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
    def schema_json(self) -> str | None:
        """The schema of the reply as JSON, null for free text."""
        return None if self.response_schema is None else json.dumps(self.response_schema, sort_keys=True)

    @property
    def prompt_id(self) -> str:
        """sha256 of everything that shapes the messages."""
        return hashlib.sha256(json.dumps([self.template, self.schema_json]).encode()).hexdigest()


def shipped(name: str, response_schema: dict[str, Any]) -> Prompt:
    """The prompt *name* that the package ships."""
    raw = yaml.safe_load((resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"))
    return Prompt(name, raw["system"], raw["user"], response_schema)
