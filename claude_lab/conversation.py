"""What may be asked of the server: a message or a conversation, with tools, thinking and cache breakpoints.

What the API would refuse is refused here, before it costs a request: roles, empty turns, results without their call.
Blocks and tools of kinds unknown here go through as they are, as the API grows.

Lists are fitted by `FITS`, which stops at the first problem: pydantic would make an error of each of their elements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from reprlib import Repr
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, model_validator

from claude_lab import clauses
from claude_lab.bodies import CACHE, COUNTED, MOST, NEW
from claude_lab.shapes import Problem, Shape, array, boolean, join, mapping, nullable, one_of, string, text_or

MAX_TOKENS = 128_000
MOST_UNKNOWN = 10
"""So many fields that are none of ours are named at most."""
LONGEST = 1000
"""Characters of a refusal at most, whatever it quotes."""
BRIEF = Repr()
BRIEF.maxstring = BRIEF.maxother = BRIEF.maxlong = 80
Json = dict[str, Any]
PASSED = ("tools", "tool_choice", "thinking", "stop_sequences")
"""What goes upstream under its own name, if it was given."""
BETWEEN = (
    clauses.not_empty,
    clauses.user_first,
    clauses.documents_by_user,
    clauses.tools_named,
    clauses.tools_answered,
    clauses.stops,
    clauses.thinking_fits,
    clauses.breakpoints,
)
"""What must hold between fields, whatever the model."""


def having(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Return the shape of an object that has at least these fields."""

    def shape(value: Any, path: str) -> Problem | None:
        if not isinstance(value, Mapping):
            return Problem(path, "Input should be an object")
        for name, inner in {**required, **(optional or {})}.items():
            if name in value and (problem := inner(value[name], join(path, name))):
                return problem
        missing = next((name for name in required if name not in value), None)
        return Problem(join(path, missing), "Field required") if missing else None

    return shape


TEXT = having({"type": one_of("text"), "text": string(at_least=1)}, {"cache_control": CACHE})
KINDS: dict[str, Shape] = {
    "text": TEXT,
    "image": having({"source": mapping}),
    "document": having({"source": mapping}),
    "thinking": having({"thinking": string(), "signature": string()}),
    "tool_use": having({"id": string(at_least=1), "name": string(at_least=1), "input": mapping}),
    "tool_result": having({"tool_use_id": string(at_least=1)}, {"is_error": boolean}),
}


def block(value: Any, path: str) -> Problem | None:
    """Fit a content block: of a known kind with what it needs, or of another kind."""
    problem = having({"type": string(at_least=1)}, {"cache_control": CACHE})(value, path)
    return problem or (KINDS[value["type"]](value, path) if value["type"] in KINDS else None)


def tool(value: Any, path: str) -> Problem | None:
    """Fit a tool: a name, and a schema unless the vendor runs it."""
    ours = not isinstance(value, Mapping) or value.get("type", "custom") in ("custom", None)
    schema: dict[str, Shape] = {"input_schema": mapping} if ours else {}
    return having({"name": string(at_least=1, at_most=128), **schema}, {"cache_control": CACHE})(value, path)


FITS = having(
    {
        "messages": array(
            having({"role": one_of("user", "assistant", "system"), "content": text_or(array(block, at_most=MOST))}),
            at_least=1,
            at_most=MOST,
        )
    },
    {
        "system": text_or(array(TEXT, at_most=MOST)),
        "tools": array(tool, at_most=MOST),
        "tool_choice": COUNTED["tool_choice"],
        "thinking": COUNTED["thinking"],
        "stop_sequences": nullable(array(string(at_least=1), at_most=MOST)),
    },
)
"""What a request to the API looks like."""


def found(body: Any, path: str) -> Any:
    """Return what lies at a path such as `messages.0.role`, or None."""
    for step in path.split("."):
        if isinstance(body, list) and step.isdigit() and int(step) < len(body):
            body = body[int(step)]
        else:
            body = body.get(step) if isinstance(body, Mapping) else None
    return body


def refusal(request: Json) -> str | None:
    """Return what the API would say against a request, or None."""
    said = misfit(request) or unwritable(request) or disagreement(request)
    return None if said is None else brief(said)


def brief(said: str) -> str:
    """Return a sentence that can be sent: not too long, and no half character of what it quotes."""
    return said[:LONGEST].encode("utf-8", "replace").decode()


def misfit(request: Json) -> str | None:
    """Return the first place that has not the shape it should, or None."""
    problem = FITS(request, "")
    if problem is None:
        return None
    got = found(request, problem.path)
    return f"{problem}." if got is None else f"{problem}; got {BRIEF.repr(got)}."


def disagreement(request: Json) -> str | None:
    """Return what does not hold between fields, or None."""
    return next((said for rule in BETWEEN if (said := rule(request, NEW))), None)


def unwritable(request: Json) -> str | None:
    """Return why a request cannot be written as JSON, or None."""
    try:
        json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        return "The request is nested too deep to be sent; send flatter blocks and schemas."
    except ValueError:
        return "The request has half a character or a number that JSON cannot hold; send whole text and finite numbers."
    return None


def system_prompt(value: Any) -> Any:
    """Pass a system prompt on. Raises ValueError for what is none."""
    if not isinstance(value, (str, list, type(None))):
        raise ValueError(f"{BRIEF.repr(value)} is no system prompt; send a text, or a list of text blocks.")
    return value


def a_list(value: Any) -> Any:
    """Pass a list on, and None. Raises ValueError for what is none."""
    if not isinstance(value, (list, type(None))):
        raise ValueError(f"{BRIEF.repr(value)} is no list; send one.")
    return value


System = Annotated[SkipValidation[str | list[Json] | None], BeforeValidator(system_prompt)]
Objects = Annotated[SkipValidation[list[Json] | None], BeforeValidator(a_list)]
Texts = Annotated[SkipValidation[list[str] | None], BeforeValidator(a_list)]


class ChatRequest(BaseModel):
    """What to ask: a `message`, or `messages` for a conversation (the message comes last); not both empty.

    `cache` sets a cache breakpoint for so long at the end of the system prompt and at the end of the last turn; blocks
    may carry `cache_control` of their own besides. There is no `temperature`: the API has none any more.
    """

    model_config = ConfigDict(extra="forbid")

    message: str = ""
    messages: Objects = None
    max_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS, strict=True)
    system: System = None
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    tools: Objects = None
    tool_choice: Json | None = None
    thinking: Json | None = None
    stop_sequences: Texts = None
    cache: Literal["5m", "1h"] | None = None

    @model_validator(mode="before")
    @classmethod
    def name_a_few_unknown(cls, body: Any) -> Any:
        """Leave no more fields that are none of ours than are worth naming: each is an error."""
        if not isinstance(body, dict) or len(body) <= MOST_UNKNOWN:
            return body
        known = {name: value for name, value in body.items() if name in cls.model_fields}
        return known | dict(islice((each for each in body.items() if each[0] not in known), MOST_UNKNOWN))

    @model_validator(mode="after")
    def ask_something(self) -> ChatRequest:
        """Refuse a request without a question, and what the API would refuse."""
        if not self.message.strip() and not self.messages:
            raise ValueError("The message is empty; send some text in `message`, or a conversation in `messages`.")
        if said := refusal(self.upstream("")):
            raise ValueError(said)
        return self

    def upstream(self, model: str) -> Json:
        """Return the Messages API request."""
        said = list(self.messages or ())
        if self.message.strip():
            said.append({"role": "user", "content": self.message})
        request: Json = {"model": self.model or model, "max_tokens": self.max_tokens, "messages": said}
        if self.system:
            request["system"] = self.system
        request |= {name: value for name in PASSED if (value := getattr(self, name)) is not None}
        return marked(request, self.cache) if self.cache else request


def marked(request: Json, ttl: str) -> Json:
    """Return a request with cache breakpoints at the end of its system prompt and of its last turn."""
    mark = {"type": "ephemeral", "ttl": ttl}
    *before, last = request["messages"]
    changed = {**request, "messages": [*before, {**last, "content": ending(last.get("content"), mark)}]}
    return changed | ({"system": ending(request["system"], mark)} if "system" in request else {})


def ending(content: Any, mark: Json) -> Any:
    """Return content whose last block is marked; thinking cannot be, and what is no content stays as it is."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
    if not isinstance(blocks, list) or not blocks or not isinstance(blocks[-1], dict):
        return content
    if blocks[-1].get("type") in ("thinking", "redacted_thinking"):
        return content
    return [*blocks[:-1], {**blocks[-1], "cache_control": mark}]
