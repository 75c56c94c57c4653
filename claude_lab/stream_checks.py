"""Checks of a streamed answer: its head, its events and their order, its usage."""

from __future__ import annotations

import re

from claude_lab.exchange import Api, equal, expect, rule

STREAMING = "API docs: streaming messages"
STANDARD = "WHATWG HTML 9.2.6"
RECORDED = "recorded exchange"
USAGE = "API reference: usage"


@rule(STREAMING)
def stream_answers_200(api: Api) -> None:
    """A valid streaming request is answered with 200."""
    equal(api.stream().status, 200, "the status")
    expect(api.stream().blocks, "there are no events")


@rule(STREAMING)
def stream_is_an_event_stream(api: Api) -> None:
    """The content type is text/event-stream, with its charset."""
    equal(api.stream().headers.get("content-type"), "text/event-stream; charset=utf-8", "content-type")


@rule(STREAMING)
def message_start_comes_first(api: Api) -> None:
    """The first event is `message_start`, and it comes once."""
    equal(api.stream().events[0]["type"], "message_start", "the first event")
    api.stream().one("message_start")


@rule(STREAMING)
def message_stop_comes_last(api: Api) -> None:
    """The last event is `message_stop`."""
    equal(api.stream().events[-1]["type"], "message_stop", "the last event")


@rule(STREAMING)
def message_stop_says_nothing_else(api: Api) -> None:
    """`message_stop` has a type and no other field."""
    equal(api.stream().one("message_stop"), {"type": "message_stop"}, "message_stop")


@rule(STREAMING)
def events_are_named_by_their_type(api: Api) -> None:
    """Each event's `event:` line is the `type` of its data."""
    answer = api.stream()
    wrong = [
        block.event
        for block, event in zip(answer.blocks, answer.events, strict=True)
        if block.event != event.get("type")
    ]
    expect(not wrong, f"named otherwise: {wrong[:3]}")


@rule(STANDARD)
def events_are_single_lines_of_data(api: Api) -> None:
    """Each block is one `event:` line, one `data:` line and an empty line, and ends in LF."""
    answer = api.stream()
    expect(answer.blocks, "there are no events")
    blocks = answer.body.decode().split("\n\n")
    equal(blocks.pop(), "", "what follows the last event")
    bad = [block for block in blocks if not re.fullmatch(r"event: \w+\ndata: .*", block)]
    expect(not bad, f"otherwise: {bad[:1]}")


@rule(STREAMING)
def stream_has_no_done_marker(api: Api) -> None:
    """There is no `[DONE]`: that is another vendor's protocol."""
    expect(api.stream().blocks and b"[DONE]" not in api.stream().body, "the stream has a [DONE]")


@rule(STREAMING)
def ping_follows_the_first_block_start(api: Api) -> None:
    """A `ping` comes right after the first `content_block_start`."""
    kinds = [event["type"] for event in api.stream().events]
    equal(kinds[1:3], ["content_block_start", "ping"], "what follows message_start")


@rule(RECORDED)
def ping_says_nothing_else(api: Api) -> None:
    """`ping` has a type and no other field, and is written with a space."""
    expect(b'event: ping\ndata: {"type": "ping"}\n\n' in api.stream().body, "no such ping")


@rule(STREAMING)
def blocks_count_from_zero(api: Api) -> None:
    """Content blocks are numbered 0, 1, 2, ... in order."""
    numbers = [event["index"] for event in api.stream().of("content_block_start")]
    equal(numbers, list(range(len(numbers))), "the indexes")


@rule(STREAMING)
def blocks_open_and_close(api: Api) -> None:
    """Each block's deltas lie between its start and its stop, and blocks do not overlap."""
    open_block: int | None = None
    for event in api.stream().events:
        if event["type"] == "content_block_start":
            expect(open_block is None, f"block {event['index']} starts inside block {open_block}")
            open_block = event["index"]
        elif event["type"] in ("content_block_delta", "content_block_stop"):
            equal(event["index"], open_block, f"the index of a {event['type']}")
            open_block = None if event["type"] == "content_block_stop" else open_block
    expect(open_block is None, f"block {open_block} never stops")


@rule(STREAMING)
def text_blocks_start_empty(api: Api) -> None:
    """A text block starts as `{"type": "text", "text": ""}`."""
    equal(api.stream().of("content_block_start")[0]["content_block"], {"type": "text", "text": ""}, "the block")


@rule(STREAMING)
def text_comes_in_pieces(api: Api) -> None:
    """An answer of a few sentences comes in more than five text deltas."""
    count = len(api.stream().deltas("text_delta"))
    expect(count > 5, f"{count} text deltas")


@rule(STREAMING)
def no_text_delta_is_empty(api: Api) -> None:
    """Every text delta carries text."""
    expect(all(delta["text"] for delta in api.stream().deltas("text_delta")), "there is an empty text delta")


@rule("Unicode 15, D76")
def deltas_carry_whole_code_points(api: Api) -> None:
    """No delta has half a surrogate pair or a replacement character; emoji arrive whole."""
    text = api.stream(messages=[{"role": "user", "content": "Say hello, with an emoji like 👋🏽"}]).text
    expect(not re.search("[\ud800-\udfff\ufffd]", text), "a broken character arrived")


@rule(STREAMING)
def message_start_has_no_content(api: Api) -> None:
    """`message_start` shows an empty `content`."""
    equal(api.stream().one("message_start")["message"]["content"], [], "content")


@rule(STREAMING)
def message_start_has_not_stopped(api: Api) -> None:
    """In `message_start` the stop reason and the stop sequence are there, and null."""
    message = api.stream().one("message_start")["message"]
    equal((message.get("stop_reason", 0), message.get("stop_sequence", 0)), (None, None), "stop_reason, stop_sequence")


@rule("SDK types: Message")
def message_start_is_an_assistant_message(api: Api) -> None:
    """`message_start` has type `message` and role `assistant`."""
    message = api.stream().one("message_start")["message"]
    equal((message.get("type"), message.get("role")), ("message", "assistant"), "type, role")


@rule("API reference: messages")
def message_ids_look_like_ids(api: Api) -> None:
    """A message's id begins with `msg_`."""
    expect(re.fullmatch(r"msg_\w{20,}", api.stream().one("message_start")["message"]["id"]), "it does not")


@rule("API reference: messages")
def message_ids_differ(api: Api) -> None:
    """Two messages have two ids."""
    ids = {api.stream(fresh=True).one("message_start")["message"]["id"] for _ in range(2)}
    equal(len(ids), 2, "the number of ids")


@rule("API reference: messages")
def model_is_the_one_asked(api: Api) -> None:
    """The message names the model that was asked for."""
    equal(api.stream().one("message_start")["message"]["model"], "claude-opus-4-6", "the model")


@rule(USAGE)
def message_start_counts_the_input(api: Api) -> None:
    """`message_start` has positive `input_tokens`."""
    expect(api.stream().usage["input_tokens"] > 0, f"usage is {api.stream().usage}")


@rule(USAGE)
def message_start_counts_one_output_token(api: Api) -> None:
    """`message_start` has a small `output_tokens`, for the answer has just begun."""
    expect(0 < api.stream().usage["output_tokens"] < 10, f"usage is {api.stream().usage}")


@rule(USAGE)
def message_start_tells_of_the_cache(api: Api) -> None:
    """`message_start` has both cache counts and their split by lifetime."""
    usage = api.stream().usage
    wanted = {"cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"}
    expect(wanted <= set(usage), f"missing: {sorted(wanted - set(usage))}")
    equal(set(usage["cache_creation"]), {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"}, "cache_creation")


@rule(USAGE)
def message_start_names_the_tier(api: Api) -> None:
    """`message_start` names the service tier."""
    equal(api.stream().usage.get("service_tier"), "standard", "service_tier")


@rule(STREAMING)
def message_delta_comes_once(api: Api) -> None:
    """`message_delta` comes once, right before `message_stop`."""
    api.stream().one("message_delta")
    equal(api.stream().events[-2]["type"], "message_delta", "the event before the last")


@rule(STREAMING)
def message_delta_says_why_it_ended(api: Api) -> None:
    """`message_delta` has the stop reason `end_turn`, and a null stop sequence."""
    delta = api.stream().one("message_delta")["delta"]
    equal((delta.get("stop_reason"), delta.get("stop_sequence", 0)), ("end_turn", None), "the delta")


@rule("SDK types: RawMessageDeltaEvent")
def message_delta_has_stop_details(api: Api) -> None:
    """`message_delta` has `stop_details`, null where there is nothing to tell."""
    equal(api.stream().one("message_delta")["delta"].get("stop_details", 0), None, "stop_details")


@rule(USAGE)
def message_delta_counts_the_output(api: Api) -> None:
    """`message_delta` has the whole `output_tokens`: at least one for every ten characters."""
    output = api.stream().one("message_delta")["usage"]["output_tokens"]
    expect(output > len(api.stream().text) / 10, f"{output} tokens for {len(api.stream().text)} characters")


@rule(USAGE)
def message_delta_repeats_the_input(api: Api) -> None:
    """The input counts of `message_delta` are cumulative: those of `message_start`."""
    usage = api.stream().one("message_delta")["usage"]
    equal(usage.get("input_tokens"), api.stream().usage["input_tokens"], "input_tokens")
