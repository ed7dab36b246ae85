"""The rules that a strict ``json_schema`` response format must keep (OpenAI's structured outputs guide)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .refusals import RefusalError, invalid, missing, wrong_type

DEEPEST = 10
MOST_PROPERTIES = 5_000
MOST_ENUM_VALUES = 1_000
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_KEYWORDS_LIST = """
type properties required additionalProperties items enum const anyOf $ref $defs definitions title description
pattern format multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems
"""
_KEYWORDS = frozenset(_KEYWORDS_LIST.split())


class Canonical:
    """The JSON text of a schema, kept for the last one asked for: a run sends the same schema with every request.

    Comparing two parsed schemas costs a fifth of writing one out.
    """

    def __init__(self) -> None:
        self._schema: object = None
        self._text = "null"

    def text(self, schema: object) -> str:
        """Return *schema* as JSON with sorted keys."""
        if schema != self._schema:
            self._schema, self._text = schema, json.dumps(schema, sort_keys=True)
        return self._text


CANONICAL = Canonical()


def check_format(shape: Mapping[str, Any]) -> None:
    """Raise the 400 that a ``response_format`` of type json_schema deserves, if any."""
    where = "response_format.json_schema"
    named = shape.get("json_schema")
    if named is None:
        raise missing(where)
    if not isinstance(named, dict):
        raise wrong_type(where, "an object", named)
    for key in named:
        if key not in ("name", "description", "schema", "strict"):
            raise invalid(f"Unknown parameter: '{where}.{key}'.", f"{where}.{key}", "unknown_parameter")
    name = named.get("name")
    if name is None:
        raise missing(f"{where}.name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"Invalid '{where}.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$', at most 64."
        raise invalid(message, f"{where}.name", "invalid_value")
    schema, strict = named.get("schema"), named.get("strict")
    if strict not in (None, True, False):
        raise wrong_type(f"{where}.strict", "a boolean", strict)
    if schema is None and strict:
        raise missing(f"{where}.schema")
    if schema is not None and not isinstance(schema, dict):
        raise wrong_type(f"{where}.schema", "an object", schema)
    if strict:
        problem = _problem(CANONICAL.text(schema))
        if problem:
            raise _bad_schema(name, problem)


def _bad_schema(name: str, problem: str) -> RefusalError:
    return invalid(f"Invalid schema for response_format '{name}': {problem}", "response_format")


@lru_cache(maxsize=256)
def _problem(text: str) -> str | None:
    schema = json.loads(text)
    if schema.get("type") != "object" or "anyOf" in schema:
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    counts = {"properties": 0, "enum": 0}
    problem = _node_problem(schema, (), schema, 0, counts)
    if problem is None and counts["properties"] > MOST_PROPERTIES:
        return f"the schema has {counts['properties']} properties, at most {MOST_PROPERTIES} are allowed."
    if problem is None and counts["enum"] > MOST_ENUM_VALUES:
        return f"the schema has {counts['enum']} enum values, at most {MOST_ENUM_VALUES} are allowed."
    return problem


def _node_problem(
    node: object, path: tuple[str, ...], root: Mapping[str, Any], depth: int, counts: dict[str, int]
) -> str | None:
    context = f"In context={path!r}, "
    if not isinstance(node, dict):
        return f"{context}schema must be an object."
    if depth > DEEPEST:
        return f"{context}the schema is nested more than {DEEPEST} levels deep."
    unknown = next((keyword for keyword in node if keyword not in _KEYWORDS), None)
    if unknown is not None:
        return f"{context}'{unknown}' is not permitted."
    if "$ref" in node and not _refers(str(node["$ref"]), root):
        return f"{context}reference '{node['$ref']}' can't be resolved."
    counts["enum"] += len(node.get("enum", ()))
    parts = [
        ((*path, group, name), part) for group in ("$defs", "definitions") for name, part in node.get(group, {}).items()
    ]
    parts += [((*path, "anyOf", str(index)), part) for index, part in enumerate(node.get("anyOf", ()))]
    problem = next(filter(None, (_node_problem(part, at, root, depth + 1, counts) for at, part in parts)), None)
    if problem or "$ref" in node or "anyOf" in node:
        return problem
    return _type_problem(node, path, root, depth, counts)


def _type_problem(
    node: Mapping[str, Any], path: tuple[str, ...], root: Mapping[str, Any], depth: int, counts: dict[str, int]
) -> str | None:
    context = f"In context={path!r}, "
    declared = node.get("type")
    kinds = declared if isinstance(declared, list) else [declared]
    if declared is None and not ("enum" in node or "const" in node):
        return f"{context}schema must have a 'type' key."
    if declared is not None and any(kind not in _TYPES for kind in kinds):
        return f"{context}'{declared}' is not a valid type."
    if "object" in kinds:
        return _object_problem(node, path, root, depth, counts)
    if "array" in kinds:
        if "items" not in node:
            return f"{context}array schema missing items."
        return _node_problem(node["items"], (*path, "items"), root, depth + 1, counts)
    return None


def _object_problem(
    node: Mapping[str, Any], path: tuple[str, ...], root: Mapping[str, Any], depth: int, counts: dict[str, int]
) -> str | None:
    context = f"In context={path!r}, "
    if node.get("additionalProperties") is not False:
        return f"{context}'additionalProperties' is required to be supplied and to be false."
    properties, required = node.get("properties", {}), node.get("required")
    counts["properties"] += len(properties)
    if not isinstance(required, list) or set(required) != set(properties):
        odd = sorted(set(properties) ^ set(required if isinstance(required, list) else ()))
        return (
            f"{context}'required' is required to be supplied and to be an array including every key in properties."
            f" Missing or extra '{odd[0] if odd else ''}'."
        )
    parts = [((*path, "properties", name), part) for name, part in properties.items()]
    return next(filter(None, (_node_problem(part, at, root, depth + 1, counts) for at, part in parts)), None)


def _refers(reference: str, root: Mapping[str, Any]) -> bool:
    node: Any = root
    if not reference.startswith("#"):
        return False
    for part in reference[1:].split("/"):
        if part:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
    return True
