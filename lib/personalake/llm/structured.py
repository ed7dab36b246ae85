"""Structured replies: read, checked against their JSON schema, and asked for once more with the error fed back.

Checked by `fastjsonschema`, which compiles a schema into a function once: a reply costs microseconds, where
`jsonschema`, which walks the schema for each, costs a third of what sending the request does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import fastjsonschema

_FENCED = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_DETAIL = 300


def read_json(reply: str) -> Any:  # noqa: ANN401 (JSON)
    """The JSON of a reply, out of its code fence if it has one; raises ValueError."""
    fenced = _FENCED.match(reply)
    try:
        return json.loads(fenced.group(1) if fenced else reply)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class Checker:
    """Says what is wrong with a reply that should fit *schema*."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        self._check = fastjsonschema.compile(self._schema, use_default=False)

    def wrong(self, reply: str) -> tuple[str, str] | None:
        """The typed reason and a detail for a reply that doesn't fit; null for one that does."""
        try:
            self._check(read_json(reply))
        except ValueError as error:  # What fastjsonschema raises for a misfit is one, too.
            if isinstance(error, fastjsonschema.JsonSchemaValueException):
                return "invalid_schema", _said(_misfit(error))
            return "invalid_json", _said(error)
        return None

    def repaired(self, body: str, reply: str, wrong: str) -> str:
        """The body of the request that asks for the same again, with *reply* and what is *wrong* with it."""
        request = json.loads(body)
        # Where the endpoint takes no schema, the model may never have seen it.
        given = request.get("response_format", {}).get("type") == "json_schema"
        schema = "" if given else f" The schema: {json.dumps(self._schema, ensure_ascii=False)}"
        again = (
            f"That reply can't be used: {wrong}. Give the whole answer again as one JSON object that fits the schema, "
            f"and nothing else.{schema}"
        )
        turns = [{"role": "assistant", "content": reply}, {"role": "user", "content": again}]
        request["messages"] = [*request["messages"], *turns]
        return json.dumps(request, ensure_ascii=False)


def _misfit(error: fastjsonschema.JsonSchemaValueException) -> str:
    """What is wrong, in the schema's words alone: those of the reply may be a page's, and this goes into a prompt."""
    if error.rule == "additionalProperties":
        return f"{error.name} must not contain properties that the schema doesn't name"
    return str(error)


def _said(what: object) -> str:
    return " ".join(str(what).split())[:_DETAIL]
