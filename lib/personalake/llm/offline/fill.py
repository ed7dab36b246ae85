"""A value for any JSON schema: enums by hash, strings from keywords, everything within its bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .draw import Draw

DEEPEST = 8
_FORMATS = {
    "date": "2024-05-17",
    "date-time": "2024-05-17T09:30:00Z",
    "time": "09:30:00",
    "duration": "PT45M",
    "email": "someone@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uuid": "6f1c1d52-5c0e-4b52-9d1e-0f6a5f0b7c11",
}


def json_reply(schema: Mapping[str, Any], draw: Draw, words: Sequence[str]) -> str:
    """Return JSON text that satisfies *schema*."""
    return json.dumps(fill(schema, draw, words), ensure_ascii=False)


def fill(schema: Mapping[str, Any], draw: Draw, words: Sequence[str]) -> object:
    """Return a value that satisfies *schema* (the subset that strict structured output supports).

    ``pattern`` is not obeyed; recursion ends where a shallower alternative (null, an empty array) exists.
    """
    return _value(schema, draw, words, schema, "value", 0)


def _value(
    node: Mapping[str, Any], draw: Draw, words: Sequence[str], root: Mapping[str, Any], path: str, depth: int
) -> object:
    node = _resolved(node, root)
    if "const" in node or node.get("enum"):
        return draw.pick(path, node["enum"]) if node.get("enum") else node["const"]
    if node.get("anyOf"):
        return _value(_alternative(node["anyOf"], draw, root, path, depth), draw, words, root, path, depth + 1)
    kind = node.get("type", "object" if "properties" in node else "string")
    if isinstance(kind, list):
        kind = "null" if "null" in kind and depth > DEEPEST else draw.pick(path + "?", [k for k in kind if k != "null"])
    if kind == "object":
        parts: Mapping[str, Any] = node.get("properties", {})
        return {name: _value(part, draw, words, root, f"{path}.{name}", depth + 1) for name, part in parts.items()}
    if kind == "array":
        size = _array_size(node, draw, path, depth)
        item = node.get("items", {"type": "string"})
        return [_value(item, draw, words, root, f"{path}[{index}]", depth + 1) for index in range(size)]
    return _leaf(kind, node, draw, words, path)


def _leaf(kind: str, node: Mapping[str, Any], draw: Draw, words: Sequence[str], path: str) -> object:
    if kind in ("integer", "number"):
        return _number(node, draw, path, whole=kind == "integer")
    if kind == "boolean":
        return draw.pick(path, (False, True))
    return None if kind == "null" else _string(node, draw, words, path)


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        target: Any = root
        for part in str(node["$ref"]).removeprefix("#").split("/"):
            target = target[part] if part else target
        node = target
    return node


def _alternative(
    options: Sequence[Mapping[str, Any]], draw: Draw, root: Mapping[str, Any], path: str, depth: int
) -> Mapping[str, Any]:
    flat = [_resolved(option, root) for option in options]
    leaves = [option for option in flat if option.get("type") not in ("object", "array")]
    if depth > DEEPEST and leaves:
        return next((option for option in leaves if option.get("type") == "null"), leaves[0])
    return draw.pick(path + "|", flat)


def _array_size(node: Mapping[str, Any], draw: Draw, path: str, depth: int) -> int:
    least = int(node.get("minItems", 0 if depth > DEEPEST else 1))
    most = int(node.get("maxItems", least if depth > DEEPEST else least + 2))
    return draw.between(path + "#", min(least, most), min(most, least + 2))


def _number(node: Mapping[str, Any], draw: Draw, path: str, *, whole: bool) -> float | int:
    step = node.get("multipleOf", 1 if whole else 0.5)
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None else high - 100 * step
    if high is None:
        high = low + 100 * step
    first = math.ceil(low / step) + (1 if node.get("exclusiveMinimum") == math.ceil(low / step) * step else 0)
    last = math.floor(high / step) - (1 if node.get("exclusiveMaximum") == math.floor(high / step) * step else 0)
    if last < first:
        return float((low + high) / 2)
    value = draw.between(path, first, last) * step
    return int(value) if whole else float(value)


def _string(node: Mapping[str, Any], draw: Draw, words: Sequence[str], path: str) -> str:
    if node.get("format") in _FORMATS:
        return _FORMATS[node["format"]]
    name = path.rsplit(".", 1)[-1].split("[", maxsplit=1)[0].replace("_", " ")
    some = draw.order(path, list(words[:12]))[:3] or ["nothing in particular"]
    text = f"{name.capitalize()} on {some[0]}" + (f", with {' and '.join(some[1:])}" if some[1:] else "") + "."
    least, most = int(node.get("minLength", 0)), node.get("maxLength")
    text = text.ljust(least, ".")
    return text if most is None else text[: int(most)]
