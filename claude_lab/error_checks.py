"""Checks of refusals: every documented 4xx that a request can earn by itself, with the API's own envelope."""

from __future__ import annotations

from typing import Any

from claude_lab.bad_bodies import BODIES, ERRORS, QUOTED, RAW, REFERENCE, USER, VERSIONS
from claude_lab.bad_contents import BUDGET, CONTENTS, OLDER
from claude_lab.exchange import OLD, Api, Exchange, answered, equal, expect, rule


def envelope(answer: Exchange, status: int, kind: str, said: str = "") -> None:
    """Expect an error in the API's envelope; `said` is a part of its message."""
    equal(answer.status, status, "the status")
    error = answer.json.get("error")
    expect(answer.json.get("type") == "error" and isinstance(error, dict), f"the body is {answer.json!r:.100}")
    equal(error.get("type"), kind, "error.type")
    expect(said.lower() in error.get("message", "").lower(), f"the message is {error.get('message')!r:.160}")


def refused_body(name: str, what: str, change: dict[str, Any], said: str, source: str) -> None:
    """Register the check of one 400."""

    def run(api: Api) -> None:
        envelope(api.ask(**change), 400, "invalid_request_error", said)

    rule(source, name, f"{what} is a 400.")(run)


for row in (*BODIES, *CONTENTS):
    refused_body(*row)


def refused_bytes(name: str, what: str, raw: bytes) -> None:
    """Register the check of a body that cannot be read."""

    def run(api: Api) -> None:
        envelope(api.send("POST", "/v1/messages", raw=raw), 400, "invalid_request_error")

    rule(ERRORS, name, f"{what} is a 400, in the envelope.")(run)


for row_of_bytes in RAW:
    refused_bytes(*row_of_bytes)


@rule(ERRORS)
def errors_come_in_the_envelope(api: Api) -> None:
    """An error's body is `{"type": "error", "error": {"type", "message"}, "request_id"}`."""
    body = api.ask(max_tokens=-1).json
    equal((set(body), set(body["error"])), ({"type", "error", "request_id"}, {"type", "message"}), "the fields")


@rule(ERRORS)
def errors_repeat_the_request_id(api: Api) -> None:
    """The `request_id` of the body is that of the head."""
    answer = api.ask(max_tokens=-1)
    equal(answer.json.get("request_id"), answer.headers.get("request-id"), "request_id")


@rule(ERRORS)
def errors_are_json_even_when_streaming(api: Api) -> None:
    """A refused streaming request is answered with JSON, not with a stream."""
    equal(api.stream(max_tokens=-1).headers.get("content-type"), "application/json", "content-type")


@rule(ERRORS)
def a_key_is_required(api: Api) -> None:
    """Without a key: 401, `authentication_error`."""
    envelope(api.ask(headers={"authorization": None}), 401, "authentication_error")


@rule(ERRORS)
def a_key_is_not_empty(api: Api) -> None:
    """With an empty key: 401."""
    envelope(api.ask(headers={"authorization": "Bearer", "x-api-key": ""}), 401, "authentication_error")


@rule("SDK 1.x: request headers")
def keys_come_as_x_api_key(api: Api) -> None:
    """A key in `x-api-key` opens the gate."""
    answered(api.ask(headers={"authorization": None, "x-api-key": api.key}))


@rule("SDK 2.x: request headers")
def keys_come_as_bearer(api: Api) -> None:
    """A key as bearer token opens the gate."""
    answered(api.ask())


@rule("API docs: versioning")
def a_version_is_required(api: Api) -> None:
    """Without `anthropic-version`: 400."""
    envelope(api.ask(headers={"anthropic-version": None}), 400, "invalid_request_error", "anthropic-version")


@rule("API docs: versioning")
def versions_are_known(api: Api) -> None:
    """With an unknown version: 400."""
    envelope(api.ask(headers={"anthropic-version": "2001-01-01"}), 400, "invalid_request_error", "anthropic-version")


@rule("API docs: beta headers")
def betas_look_like_betas(api: Api) -> None:
    """A beta name that cannot be one: 400."""
    envelope(api.ask(headers={"anthropic-beta": "nonsense"}), 400, "invalid_request_error", "anthropic-beta")


@rule(ERRORS)
def unknown_models_are_404(api: Api) -> None:
    """An unknown model: 404, `not_found_error`, and the message is its name."""
    envelope(api.ask(model="claude-opus-4-7-20251101"), 404, "not_found_error", "model: claude-opus-4-7-20251101")


@rule(ERRORS)
def unknown_paths_are_404(api: Api) -> None:
    """An unknown path: 404, in the envelope."""
    envelope(api.send("GET", "/v1/nothing"), 404, "not_found_error")


@rule(ERRORS)
def other_methods_are_405(api: Api) -> None:
    """`GET /v1/messages`: 405, in the envelope."""
    envelope(api.send("GET", "/v1/messages"), 405, "invalid_request_error")


@rule(ERRORS)
def large_bodies_are_413(api: Api) -> None:
    """A body of more than 32 MB: 413, `request_too_large`."""
    envelope(api.send("POST", "/v1/messages", raw=b" " * (33 << 20)), 413, "request_too_large")


@rule(ERRORS)
def long_prompts_are_refused(api: Api) -> None:
    """A prompt longer than the window: 400, "prompt is too long"."""
    body: dict[str, Any] = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "word " * 400_000}]}
    envelope(api.ask(**body), 400, "invalid_request_error", "prompt is too long")


@rule(VERSIONS)
def the_old_version_takes_temperature(api: Api) -> None:
    """Under 2023-06-01 `temperature` is a legal field."""
    answered(api.ask(temperature=0.5, headers={"anthropic-version": OLD}))


@rule(VERSIONS)
def the_old_version_bounds_temperature(api: Api) -> None:
    """Under 2023-06-01 a `temperature` of 9 is a 400."""
    answer = api.ask(temperature=9, headers={"anthropic-version": OLD})
    envelope(answer, 400, "invalid_request_error", "temperature")


@rule("API docs: thinking")
def thinking_takes_no_temperature(api: Api) -> None:
    """Under 2023-06-01 a `temperature` other than 1 while thinking is a 400."""
    body: dict[str, Any] = {"model": OLDER, "max_tokens": 2_000, "thinking": BUDGET, "temperature": 0.5}
    answer = api.ask(**body, headers={"anthropic-version": OLD})
    envelope(answer, 400, "invalid_request_error", "`temperature` may only be set to 1 when thinking is enabled")


@rule(VERSIONS)
def the_old_version_takes_citations(api: Api) -> None:
    """Under 2023-06-01 citations on user text are legal."""
    answered(api.ask(messages=QUOTED, headers={"anthropic-version": OLD}))


@rule(REFERENCE)
def roles_may_repeat(api: Api) -> None:
    """Two user messages in a row are one turn, and legal."""
    answered(api.ask(messages=[USER, USER]))


@rule(REFERENCE)
def blocks_and_strings_are_alike(api: Api) -> None:
    """Content as a string, and as one text block, count the same."""
    sizes = [
        api.ask(messages=[{"role": "user", "content": content}]).usage["input_tokens"]
        for content in ("Hi", [{"type": "text", "text": "Hi"}])
    ]
    equal(sizes[1], sizes[0], "input_tokens")


@rule(ERRORS)
def nothing_forbidden_changes_the_plain_request(api: Api) -> None:
    """The plain request that all of these change is itself answered."""
    answered(api.ask())
