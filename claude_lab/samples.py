"""A value that fits a JSON schema: what the fake puts into a tool's input and into structured output.

Known are the keywords that pydantic and the API's own documentation use; references are followed within the schema.
Divergence 1: `not`, `if`, `contains`, `dependentRequired` and references to other documents are not looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from claude_lab.patterns import written
from claude_lab.schemas import Schema, together, told

DEEP = 4
"""From this depth on a value is as small as its schema allows, so that recursive schemas come to an end."""
DEEPEST = 40
ROOM = 2_000
"""A value is put together from at most about so many parts, whatever its schema asks for."""
LONGEST = 10_000
"""No string is longer, in characters."""
HINTS = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "uniqueItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""The keywords that give a type away where none is named."""
FORMATS = {
    "date-time": "2026-01-0#T12:00:00Z",
    "date": "2026-01-0#",
    "time": "12:00:0#Z",
    "duration": "P#D",
    "email": "user#@example.com",
    "hostname": "host#.example.com",
    "ipv4": "192.0.2.#",
    "ipv6": "2001:db8::#",
    "uri": "https://example.com/#",
    "uuid": "00000000-0000-4000-8000-00000000000#",
    "binary": "",
    "json-pointer": "/#",
    "regex": "#",
}
"""A string of each format; `#` is a digit."""


@dataclass(slots=True)
class Sampler:
    """Makes values; `root` is what references point into, `words` what strings say."""

    root: Schema
    words: str
    room: int = ROOM

    def of(self, schema: Any, deep: int = 0, nth: int = 0) -> Any:
        """Return a value that fits; `nth` tells the items of a list apart."""
        flat = self.flat(schema, deep)
        if "const" in flat or flat.get("enum"):
            held = flat["const"] if "const" in flat else flat["enum"][nth % len(flat["enum"])]
            self.room -= len(json.dumps(held)) // 20
            return held
        return MAKERS[kind_of(flat)](self, flat, deep, nth)

    def flat(self, schema: Any, deep: int, seen: tuple[str, ...] = ()) -> Schema:
        """Return a schema without references and combinations: what it comes down to."""
        self.room -= 1
        if not isinstance(schema, Mapping) or self.room < 0:
            return {}
        made = together(
            {name: held for name, held in schema.items() if held is not None or name == "const"}, told(schema)
        )
        for part in self.parts(schema, deep, seen):
            made = together(made, part)
        return made

    def parts(self, schema: Schema, deep: int, seen: tuple[str, ...]) -> Iterable[Schema]:
        """Yield what a schema refers to, and the option it takes of each combination."""
        ref = schema.get("$ref")
        if isinstance(ref, str) and ref not in seen:
            yield self.flat(self.found(ref), deep, (*seen, ref))
        for part in schema.get("allOf") or ():
            yield self.flat(part, deep, seen)
        for name in ("anyOf", "oneOf"):
            if options := schema.get(name):
                yield self.flat(chosen(options, deep), deep, seen)

    def found(self, ref: str) -> Any:
        """Return what a reference within the schema points at; an empty schema where it points at nothing."""
        at: Any = self.root
        for step in ref.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            at = at.get(name, {}) if isinstance(at, Mapping) else {}
        return at if ref.startswith("#") else {}

    def object(self, flat: Schema, deep: int, nth: int) -> Any:
        """Return an object: the required properties, or all where none is; more where it must have more."""
        known = flat.get("properties") or {}
        least = min(whole(flat, "minProperties", 0), ROOM)
        names = list(flat.get("required", known if deep < DEEP else ()))
        if least > len(names):
            given = set(names)
            names += [name for name in known if name not in given][: least - len(names)]
        names += [f"key{index}" for index in range(len(names), least)]
        if deep > DEEPEST or self.room < 0:
            return {}
        more = flat.get("additionalProperties", {})
        return {name: self.of(known.get(name, more), deep + 1, nth) for name in names}

    def array(self, flat: Schema, deep: int, nth: int) -> Any:
        """Return a list: as long as it must be, or of one item."""
        heads = flat.get("prefixItems") or ()
        items = flat.get("items", {})
        usual = max(len(heads), 1 if "items" in flat and items is not False and deep < DEEP else 0)
        count = min(max(usual, whole(flat, "minItems", 0)), whole(flat, "maxItems", ROOM))
        made: list[Any] = []
        for index in range(min(count, ROOM)):
            if deep > DEEPEST or self.room < 0:
                break
            made.append(self.of(heads[index] if index < len(heads) else items, deep + 1, index))
        return made

    def number(self, flat: Schema, deep: int, nth: int) -> Any:
        """Return a number within its bounds, and on its grid where it has one."""
        integer = flat.get("type") in ("integer", ["integer"])
        low, high = bound(flat, "inimum", max), bound(flat, "aximum", min)
        step = exact(flat["multipleOf"]) if "multipleOf" in flat else None
        if integer:
            step = Fraction((step or Fraction(1)).numerator)
        value = between(low, high, nth) if step is None else step * on_grid(flat, low, high, step, nth)
        return int(value) if integer or abs(value) > 2**53 else float(value)

    def string(self, flat: Schema, deep: int, nth: int) -> Any:
        """Return a string: of its format or pattern where it has one, and as long as it may be."""
        text = f"{self.words} {nth}" if nth else self.words
        text = FORMATS.get(str(flat.get("format")), text).replace("#", str(1 + nth % 9))
        if isinstance(flat.get("pattern"), str):
            text = written(flat["pattern"]) or text
        least = min(whole(flat, "minLength", 0), LONGEST)
        if text and len(text) < least:
            text = (text * (least // len(text) + 1))[:least]
        self.room -= least // 20
        return text.ljust(least, "x")[: whole(flat, "maxLength", LONGEST)]


def chosen(options: Sequence[Any], deep: int) -> Any:
    """Return the option to take: the first that is not null; deep down null, or one that refers to nothing."""
    nulls = [option for option in options if isinstance(option, Mapping) and option.get("type") == "null"]
    others = [option for option in options if not isinstance(option, Mapping) or option.get("type") != "null"]
    rest = others or nulls
    if deep < DEEP:
        return rest[0]
    plain = [option for option in rest if not isinstance(option, Mapping) or "$ref" not in option]
    return (nulls or plain or rest)[0]


def kind_of(flat: Schema) -> str:
    """Return the type of what a schema asks for: as it says, else as its keywords give away."""
    said = flat.get("type")
    if isinstance(said, list):
        said = next((kind for kind in said if kind != "null"), "null")
    if isinstance(said, str) and said in MAKERS:
        return said
    return next((kind for kind, names in HINTS.items() if any(name in flat for name in names)), "string")


def whole(flat: Schema, name: str, usual: int) -> int:
    """Return a keyword that holds a size; what is none counts as left out."""
    held = flat.get(name)
    return int(held) if isinstance(held, (int, float)) else usual


def exact(value: float) -> Fraction:
    """Return a number as it is written, so that 0.1 is a tenth."""
    return Fraction(str(value))


def bound(flat: Schema, ending: str, tightest: Callable[[Iterable[Fraction]], Fraction]) -> Fraction | None:
    """Return the lower or the upper bound of a number, open or closed, or None."""
    found = [exact(held) for name, held in flat.items() if name.endswith(ending)]
    return tightest(found) if found else None


def between(low: Fraction | None, high: Fraction | None, nth: int) -> Fraction:
    """Return a number strictly between two bounds, if there is one; different ones for different `nth`."""
    if low is None and high is None:
        return Fraction(3, 2) + nth
    if low is None or high is None:
        return low + 1 + nth if low is not None else (high or Fraction(0)) - 1 - nth
    return low + (high - low) / (2 + nth)


def on_grid(flat: Schema, low: Fraction | None, high: Fraction | None, step: Fraction, nth: int) -> int:
    """Return how many steps make a number within its bounds."""
    first = None if low is None else math.ceil(low / step)
    last = None if high is None else math.floor(high / step)
    if first is not None and "exclusiveMinimum" in flat and first * step <= exact(flat["exclusiveMinimum"]):
        first += 1
    if last is not None and "exclusiveMaximum" in flat and last * step >= exact(flat["exclusiveMaximum"]):
        last -= 1
    start = 1 if first is None or first <= 1 else first
    if last is not None and start + nth > last:
        return max(last - nth, first) if first is not None else last - nth
    return start + nth


MAKERS: dict[str, Callable[[Sampler, Schema, int, int], Any]] = {
    "object": Sampler.object,
    "array": Sampler.array,
    "integer": Sampler.number,
    "number": Sampler.number,
    "string": Sampler.string,
    "boolean": lambda sampler, flat, deep, nth: nth % 2 == 0,
    "null": lambda sampler, flat, deep, nth: None,
}
"""What makes a value of each type."""


def sample(schema: Schema, words: str = "example") -> Any:
    """Return a value that fits a schema, the same for the same schema and words; strings say the words."""
    return Sampler(schema, words).of(schema)
