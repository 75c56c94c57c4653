"""Checks of what a lab's fake does on cue: faults, limits, padding, continuations. "n/a" where there is no control."""

from __future__ import annotations

import secrets
from itertools import pairwise
from typing import Any

from claude_lab.error_checks import envelope
from claude_lab.exchange import Api, Exchange, equal, expect, rule

FAULTS = "lab: faults"
LIMITS = "API docs: rate limits"
RECORDED = "recorded exchange"


def once(**scenario: Any) -> dict[str, Any]:
    """Return an instant scenario that no earlier run has begun."""
    return {"pace": "instant", "seed": secrets.randbits(40), **scenario}


def broken(api: Api, kind: str, **options: Any) -> Exchange:
    """Ask once, and meet a fault."""
    return api.lab(once(faults=[{"kind": kind, **options}]))


@rule(RECORDED)
def rate_limits_are_429(api: Api) -> None:
    """RateLimited: 429, `rate_limit_error`, `x-should-retry: true`."""
    answer = broken(api, "RateLimited")
    envelope(answer, 429, "rate_limit_error", "rate limit")
    equal(answer.headers.get("x-should-retry"), "true", "x-should-retry")


@rule(LIMITS)
def retry_after_is_sent(api: Api) -> None:
    """A `retry_after` in seconds arrives in its header as it is."""
    equal(broken(api, "RateLimited", retry_after=7).headers.get("retry-after"), "7", "retry-after")


@rule(LIMITS)
def retry_after_may_be_missing(api: Api) -> None:
    """Without `retry_after` there is no such header, as in a recorded 429."""
    answer = broken(api, "Overloaded")
    equal((answer.status, answer.headers.get("retry-after")), (529, None), "the status and the header")


@rule("SDK: retry headers")
def retry_after_ms_is_sent(api: Api) -> None:
    """`retry-after-ms` has its own header."""
    equal(broken(api, "RateLimited", retry_after_ms=250).headers.get("retry-after-ms"), "250", "retry-after-ms")


@rule(RECORDED)
def overload_is_529(api: Api) -> None:
    """Overloaded: 529, `overloaded_error`."""
    envelope(broken(api, "Overloaded"), 529, "overloaded_error", "Overloaded")


@rule("API docs: errors")
def spend_limits_have_a_code(api: Api) -> None:
    """SpendLimited: 429 with the error code under `error.details`."""
    details = broken(api, "SpendLimited").json["error"].get("details") or {}
    equal(details.get("error_code"), "enforced_spend_limit_reached", "error_code")


@rule(FAULTS)
def gateways_answer_html(api: Api) -> None:
    """BadGateway: 502 with a page, not with the envelope."""
    answer = broken(api, "BadGateway")
    equal((answer.status, answer.headers.get("content-type")), (502, "text/html"), "status, content-type")


@rule(FAULTS)
def scripts_are_used_up(api: Api) -> None:
    """After its one scripted fault a scenario answers."""
    scenario = once(faults=["Overloaded"])
    expect(api.lab(scenario, times=2).blocks, "there are no events")


@rule("API docs: streaming messages")
def errors_may_come_in_the_stream(api: Api) -> None:
    """StreamError: 200, some text, then an `error` event, and no `message_stop`."""
    answer = broken(api, "StreamError", after=4)
    equal((answer.status, len(answer.deltas("text_delta"))), (200, 4), "status, text deltas")
    equal(answer.blocks[-1].event, "error", "the last event")
    equal(answer.events[-1]["error"]["type"], "overloaded_error", "its error type")


@rule(FAULTS)
def drops_come_on_time(api: Api) -> None:
    """Drop: so many whole text deltas, and then the connection is gone."""
    answer = broken(api, "Drop", after=5)
    equal((len(answer.deltas("text_delta")), answer.cut), (5, "RemoteProtocolError"), "text deltas, the error")


@rule(FAULTS)
def resets_are_resets(api: Api) -> None:
    """Reset: the connection is reset, not closed."""
    equal(broken(api, "Reset", after=2).cut, "ReadError", "the error")


@rule(FAULTS)
def truncation_is_silent(api: Api) -> None:
    """Truncate: the body ends as HTTP wants it, and `message_stop` is missing."""
    answer = broken(api, "Truncate", after=3)
    equal((answer.cut, answer.of("message_stop")), (None, []), "the error, message_stop")


@rule(FAULTS)
def cuts_fall_inside_characters(api: Api) -> None:
    """A drop inside a character leaves bytes that are no UTF-8."""
    body = broken(api, "Drop", at="inside a character").body
    expect(body.decode(errors="ignore").encode() != body, "the bytes are whole")


@rule(FAULTS)
def cuts_fall_inside_chunks(api: Api) -> None:
    """A drop inside a chunk of HTTP leaves an event unfinished, and an error."""
    answer = broken(api, "Drop", at="inside a chunk")
    equal((answer.body[-1:] == b"\n", answer.cut), (False, "RemoteProtocolError"), "finished, the error")


@rule(FAULTS)
def cuts_fall_before_the_head(api: Api) -> None:
    """A drop before the headers leaves no response at all."""
    equal(broken(api, "Drop", at="before headers").status, 0, "the status")


@rule(FAULTS)
def cuts_fall_after_message_delta(api: Api) -> None:
    """A truncation after `message_delta` loses `message_stop` alone."""
    equal(broken(api, "Truncate", at="after message_delta").events[-1]["type"], "message_delta", "the last event")


@rule(FAULTS)
def duplicates_come_twice(api: Api) -> None:
    """Duplicate: one event comes twice, and the answer is complete."""
    blocks = broken(api, "Duplicate", after=3).blocks
    expect(any(one == two for one, two in pairwise(blocks)), "no event came twice")


@rule(FAULTS)
def line_ends_may_be_crlf(api: Api) -> None:
    """LineEnds: lines end in CR LF, and the standard's reader reads the same events."""
    answer = broken(api, "LineEnds", at="after headers")
    expect(b"\r\n\r\n" in answer.body, "no CR LF")
    equal(answer.events[-1]["type"], "message_stop", "the last event")


@rule(FAULTS)
def stalls_may_ping(api: Api) -> None:
    """Stall: pings come while nothing else does, and then the answer goes on."""
    answer = broken(api, "Stall", seconds=0.2, pings=0.05)
    equal((len(answer.of("ping")), answer.events[-1]["type"]), (5, "message_stop"), "pings, the last event")


@rule(FAULTS)
def raw_steps_are_sent_as_they_are(api: Api) -> None:
    """Raw: any status, headers and body."""
    answer = broken(api, "Raw", status=418, headers={"x-pot": "tea"}, chunks=["short", " and stout"])
    equal((answer.status, answer.headers.get("x-pot"), answer.body), (418, "tea", b"short and stout"), "the response")


@rule(LIMITS)
def limits_refuse_the_next_request(api: Api) -> None:
    """With a limit of two requests a minute the third is a 429 that says when to come back."""
    scenario = once(limits={"requests": 2})
    answer = api.lab(scenario, times=3)
    envelope(answer, 429, "rate_limit_error", "2 requests per minute")
    expect(int(answer.headers.get("retry-after", 0)) > 0, "no retry-after")
    equal(answer.headers.get("anthropic-ratelimit-requests-remaining"), "0", "remaining")


@rule(LIMITS)
def limits_count_down(api: Api) -> None:
    """Each request takes one from `remaining`."""
    scenario = once(limits={"requests": 9})
    left = [int(api.lab(scenario).headers["anthropic-ratelimit-requests-remaining"]) for _ in range(2)]
    equal(left[1], left[0] - 1, "remaining")


@rule(LIMITS)
def limits_count_input_tokens(api: Api) -> None:
    """A prompt beyond the input limit is a 429 of its own."""
    scenario = once(limits={"input_tokens": 5, "requests": None})
    envelope(api.lab(scenario), 429, "rate_limit_error", "input tokens")


@rule(LIMITS)
def ramps_have_a_code(api: Api) -> None:
    """Traffic that grows too fast is refused with `ramp_limit_exceeded`."""
    scenario = once(limits={"requests": 1000, "ramp": 1})
    error = api.lab(scenario, times=2).json["error"]
    equal((error.get("details") or {}).get("error_code"), "ramp_limit_exceeded", "error_code")


@rule(LIMITS)
def limit_headers_can_be_left_out(api: Api) -> None:
    """Some accounts see no limit headers: a scenario can leave them out."""
    answer = api.lab({"pace": "instant", "headers": False})
    expect(answer.blocks, "there are no events")
    expect(not [name for name in answer.headers if name.startswith("anthropic-ratelimit")], "there are some")


@rule(RECORDED)
def events_may_be_padded(api: Api) -> None:
    """With padding, events differ in trailing spaces inside their braces, and `ping` has none."""
    body = api.lab({"pace": "instant", "padding": True}).body
    expect(b"  }\n\n" in body and b'{"type": "ping"}\n' in body, "no spaces")


@rule("lab: one seed, one answer")
def seeds_make_answers_equal(api: Api) -> None:
    """Equal seeds give equal bytes."""
    bodies = [api.lab({"pace": "instant", "seed": seed, "answer": f"seed {seed}"}).body for seed in (7, 8)]
    again = api.lab({"pace": "instant", "seed": 7, "answer": "seed 7", "padding": False}).body
    expect(bodies[0] == again != bodies[1], "they do not")


@rule("API docs: errors")
def continuations_go_on(api: Api) -> None:
    """An interrupted answer is continued from its end; on request with an overlap and a preamble."""
    told = "Your previous response was interrupted and ended with [one two]. Continue from where you left off."
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "Count."}, {"role": "user", "content": told}]}
    scenario: dict[str, Any] = {"pace": "instant", "voice": {"answer": "zero one two three four"}}
    equal(api.lab(scenario, **ask).text.strip(), "three four", "the continuation")
    scenario["voice"] |= {"overlap": 3, "preamble": True}
    expect(api.lab(scenario, **ask).text.endswith("two three four"), "there is no overlap")


@rule("lab: no key is kept")
def journals_hold_no_keys(api: Api) -> None:
    """The journal has the requests and no key."""
    api.lab("instant")
    journal = api.send("GET", "/_lab/journal", fresh=True).body
    expect(b"authorization" in journal and f"Bearer {api.key}".encode() not in journal, "a key is in it")


@rule("lab: control is local")
def control_refuses_strangers(api: Api) -> None:
    """A web page cannot steer the fake: another host name or origin is refused."""
    api.lab("instant")
    equal(
        api.send("GET", "/_lab/scenario", headers={"host": "evil.example"}).status, 403, "the status for another host"
    )
    equal(
        api.send("GET", "/_lab/scenario", headers={"origin": "http://evil.example"}).status,
        403,
        "the status for another origin",
    )
