"""JSON schemas: which values are some, as the API looks at them, and what two of them come down to together.

Source: the metaschema of JSON Schema, draft 2020-12, by its keywords; the API names no place inside a bad schema.
Divergence 1: what `pattern` and `format` hold is not looked at.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from claude_lab.shapes import Problem, Shape, anything, array, boolean, join, mapping, nullable, one_of, record, string

Schema: TypeAlias = Mapping[str, Any]

KINDS = ("array", "boolean", "integer", "null", "number", "object", "string")
INVALID = (
    "JSON schema is invalid. It must match JSON Schema draft 2020-12 (https://json-schema.org/draft/2020-12). "
    "Learn more about tool use at https://docs.claude.com/en/docs/tool-use."
)


READ_BACK = "minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|pattern|format"
READ_BACK += "|minItems|maxItems|minLength|maxLength|uniqueItems"
"""The keywords that the SDK moves into the description, as in `{minimum: 18}`; a model reads them there."""
TOLD = re.compile(rf"\{{((?:{READ_BACK}): .*)\}}\s*\Z", re.S)
BETWEEN = re.compile(rf", (?=(?:{READ_BACK}): )")


def finite(value: Any, path: str) -> Problem | None:
    """Fit a number that is one: neither true nor infinite."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return None if good else Problem(path, "Input should be a valid number")


def positive(value: Any, path: str) -> Problem | None:
    """Fit a number above 0."""
    return finite(value, path) or (None if value > 0 else Problem(path, "Input should be greater than 0"))


def size(value: Any, path: str) -> Problem | None:
    """Fit a whole number from 0 on; 2.0 is one."""
    whole = finite(value, path) is None and value >= 0 and value == int(value)
    return None if whole else Problem(path, "Input should be a whole number, 0 or more")


def distinct(inner: Shape) -> Shape:
    """Return the shape of a list of strings that fit, no two alike."""

    def shape(value: Any, path: str) -> Problem | None:
        problem = array(inner)(value, path)
        alike = problem is None and len(set(value)) < len(value)
        return Problem(path, "Items should be distinct") if alike else problem

    return shape


def each(inner: Shape) -> Shape:
    """Return the shape of an object all of whose values fit."""

    def shape(value: Any, path: str) -> Problem | None:
        if problem := mapping(value, path):
            return problem
        found = (inner(item, join(path, name)) for name, item in value.items())
        return next((problem for problem in found if problem), None)

    return shape


def kinds(value: Any, path: str) -> Problem | None:
    """Fit the name of a type, or a list of such names."""
    if isinstance(value, str):
        return one_of(*KINDS)(value, path)
    return array(anything, at_least=1)(value, path) or distinct(one_of(*KINDS))(value, path)


def schema(value: Any, path: str) -> Problem | None:
    """Fit a schema: true, false, or an object whose known keywords hold what they may; others hold anything."""
    return None if isinstance(value, bool) else KEYWORDS(value, path)


KEYWORDS = record(
    {},
    {
        "type": kinds,
        "enum": array(anything),
        "required": distinct(string()),
        "examples": array(anything),
        "multipleOf": positive,
        **dict.fromkeys(("$id", "$schema", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment"), string()),
        **dict.fromkeys(("title", "description", "format", "pattern", "contentEncoding"), string()),
        **dict.fromkeys(("contentMediaType",), string()),
        **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), boolean),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), finite),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), size),
        **dict.fromkeys(("minProperties", "maxProperties"), size),
        **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), each(schema)),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), array(schema, at_least=1)),
        **dict.fromkeys(("items", "contains", "additionalProperties", "propertyNames", "not"), schema),
        **dict.fromkeys(("if", "then", "else", "unevaluatedItems", "unevaluatedProperties", "contentSchema"), schema),
        "dependentRequired": each(distinct(string())),
        "$vocabulary": each(boolean),
    },
    others=anything,
)
"""The keywords and what they hold."""


def valid(value: Any, path: str) -> Problem | None:
    """Fit a schema that is an object; whatever is wrong inside, the API says one sentence."""
    if problem := mapping(value, path):
        return problem
    return Problem(path, INVALID) if schema(value, path) else None


OBJECT = record(
    {"type": one_of("object")},
    {"properties": nullable(mapping), "required": nullable(array(string()))},
    others=anything,
)
"""The top of a tool's schema."""


UNSUPPORTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("integer", "number"), ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    ),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems",),
    "object": ("minProperties", "maxProperties"),
}
"""What strict tools and structured output cannot keep to, by type; `minItems` may be 0 or 1."""


def beyond(found: Schema) -> str | None:
    """Return why one level of a schema is beyond what strict tools and structured output can keep to."""
    kind = found.get("type")
    if not isinstance(kind, str):
        return None
    if kind == "object" and found.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    named = sorted(name for name in UNSUPPORTED.get(kind, ()) if name in found)
    if kind == "array" and found.get("minItems", 0) not in (0, 1):
        named.append("minItems")
    if not named:
        return None
    told = f"property '{named[0]}' is" if len(named) == 1 else f"properties {', '.join(named)} are"
    return f"For '{kind}' type, {told} not supported"


def closed(value: Any, path: str) -> Problem | None:
    """Fit a schema that can be kept to by force: no object takes more properties than named, nothing has bounds."""
    inside = [value]
    while inside:
        found = inside.pop()
        if isinstance(found, Mapping):
            if why := beyond(found):
                return Problem(path, why)
            inside += [held for name, held in found.items() if name not in ("const", "enum", "default", "examples")]
        elif isinstance(found, list):
            inside += found
    return None


def output(value: Any, path: str) -> Problem | None:
    """Fit the schema of structured output."""
    return valid(value, path) or closed(value, path)


def tool_input(value: Any, path: str) -> Problem | None:
    """Fit the schema of a tool's input: an object's; `properties` and `required` may be null."""
    if problem := OBJECT(value, path):
        return problem
    if any(value.get(name) for name in ("oneOf", "allOf", "anyOf")):
        return Problem(path, "input_schema does not support oneOf, allOf, or anyOf at the top level")
    given: Schema = {
        name: held for name, held in value.items() if held is not None or name not in ("properties", "required")
    }
    return valid(given, path)


COMPARED = 1_000
"""So many values of two enumerations are compared."""


def both(one: Any, other: Any) -> Any:
    """Return the one schema that asks for two."""
    return one if one == other else {"allOf": [one, other]}


def common(one: Any, other: Any) -> Any:
    """Return the types, or the values, that both allow, as far as they are compared."""
    first, second = (each if isinstance(each, list) else [each] for each in (one, other))
    if "number" in second and "integer" in first:
        return "integer"
    return [each for each in first[:COMPARED] if each in second[:COMPARED]] or one


JOINED: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("type", "enum"), common),
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "properties": lambda one, other: {
        name: both(one.get(name, other.get(name)), other.get(name, one.get(name))) for name in {**one, **other}
    },
}
"""How two schemas' keywords become one; of others the later counts."""


def together(one: Schema, other: Schema) -> Schema:
    """Return a schema that asks for what two ask for."""
    return {
        **one,
        **{k: JOINED[k](one[k], v) if k in JOINED and one.get(k) is not None else v for k, v in other.items()},
    }


def told(schema: Schema) -> Schema:
    """Return the keywords that a description ends with, as the SDK puts them there."""
    found = TOLD.search(str(schema.get("description", ""))[-1_000:])
    pairs = (part.partition(": ") for part in BETWEEN.split(found[1])) if found else ()
    held = {name: value_of(said) for name, _, said in pairs}
    return held if KEYWORDS(held, "") is None else {}


def value_of(said: str) -> Any:
    """Return the value of a keyword that stands in a description."""
    try:
        return json.loads(said.replace("True", "true"))
    except ValueError:
        return said
