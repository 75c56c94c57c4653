"""What stands in an upstream's events, read with care: texts, counts of tokens, and the inputs of tools."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

MISSHAPEN = (KeyError, TypeError, AttributeError)
"""What reading an event of another shape than the API's raises."""
SAID = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""Where each kind of delta has its content; the others carry none that an answer grows by."""


class Unreadable(ValueError):
    """An upstream's event that has not the shape of the API's."""

    @classmethod
    def told(cls, error: Exception) -> Unreadable:
        """Return it for what reading the event raised."""
        return cls(f"The upstream sent an event of a shape that the API has none of ({type(error).__name__}: {error}).")


class TooLong(Exception):
    """An answer that outgrew the bytes kept of a run before it was written into its log."""


def says(event: Mapping[str, Any]) -> bool:
    """Whether a `content_block_delta` lets the answer grow. Raises one of MISSHAPEN for what is none."""
    delta = event["delta"]
    return bool(delta.get(SAID.get(delta["type"], "")))


def text_of(delta: Mapping[str, Any]) -> str:
    """Return the text of a text delta. Raises TypeError for what is none."""
    text = delta["text"]
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r:.40}")
    return text


def readable(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return a usage without the counts that are none: an account must not cost the answer that was counted."""
    return {
        name: readable(count) if isinstance(count, Mapping) else count
        for name, count in usage.items()
        if count is None or not name.endswith("_tokens") or (isinstance(count, int) and count >= 0)
    }


def input_of(pieces: Iterable[str]) -> Any:
    """Return the input of a tool. Raises Unreadable for what is no JSON, NaN and infinite numbers included."""
    try:
        return json.loads("".join(pieces) or "{}", parse_constant=no_number, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The upstream sent an input for a tool that is no JSON ({error}).") from None


def no_number(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON has not."""
    raise ValueError(f"{name} is no number of JSON")


def finite(text: str) -> float:
    """Return a number. Raises ValueError for one that could not be written again, such as 1e400."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that can be written again")
    return value
