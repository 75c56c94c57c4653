"""Checks of what a reply is made of: whole messages, thinking, tools, citations, stops, the cache."""

from __future__ import annotations

from typing import Any

from claude_lab.exchange import OLD, Api, Exchange, answered, equal, expect, rule

REFERENCE = "API reference: messages"
THINKING = "API docs: thinking"
CITING = "API docs: citations"
CACHING = "API docs: prompt caching"
STOPPING = "API docs: stop reasons"

THINKER = "claude-haiku-5-5"
SOURCE_TEXT = "Rayleigh scattering makes the sky blue. It was explained in 1871."
DOCUMENT = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": SOURCE_TEXT},
    "title": "Sky",
    "citations": {"enabled": True},
}
CITED = [{"role": "user", "content": [DOCUMENT, {"type": "text", "text": "Why is the sky blue?"}]}]
REFUSE = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAEFB6177B4672DEE07F9D3AFC62588CCD2631EDCF22E8CCC1FB35B501C9C86"


def thought(api: Api, **changes: Any) -> Exchange:
    """Stream from a model that thinks."""
    return api.stream(model=THINKER, max_tokens=2_000, **changes)


@rule(REFERENCE)
def whole_answers_200_json(api: Api) -> None:
    """A request without `stream` is answered with 200 and JSON."""
    answer = api.ask()
    equal((answer.status, answer.headers.get("content-type")), (200, "application/json"), "status and content-type")


@rule(REFERENCE)
def whole_message_has_its_fields(api: Api) -> None:
    """A message has id, type, role, model, content, stop reason, stop sequence and usage."""
    wanted = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
    expect(wanted <= set(api.ask().json), f"missing: {sorted(wanted - set(api.ask().json))}")


@rule(REFERENCE)
def whole_message_has_text(api: Api) -> None:
    """Its content is a list of blocks with text in it."""
    blocks = api.ask().json["content"]
    expect(blocks and blocks[0]["type"] == "text" and blocks[0]["text"], f"content is {blocks!r:.80}")


@rule(STOPPING)
def whole_message_has_stopped(api: Api) -> None:
    """Its stop reason is never null."""
    equal(api.ask().json["stop_reason"], "end_turn", "stop_reason")


@rule(REFERENCE)
def whole_message_has_a_length(api: Api) -> None:
    """Its head tells the length of the body."""
    expect(api.ask().json["content"], "no content")
    equal(api.ask().headers.get("content-length"), str(len(api.ask().body)), "content-length")


@rule("API docs: errors")
def request_id_on_messages(api: Api) -> None:
    """It has a `request-id`."""
    expect(api.ask().headers.get("request-id", "").startswith("req_"), "no request-id header")


@rule("API reference: usage")
def both_forms_count_alike(api: Api) -> None:
    """The streamed and the whole form of one request count the same input."""
    equal(api.ask().usage["input_tokens"], api.stream().usage["input_tokens"], "input_tokens")


@rule("API reference: usage")
def whole_usage_counts_the_output(api: Api) -> None:
    """`output_tokens` of a whole message is that of the whole answer."""
    answer = api.ask()
    size = len(answer.json["content"][0]["text"])
    expect(answer.usage["output_tokens"] > size / 10, f"{answer.usage['output_tokens']} tokens, {size} characters")


@rule(THINKING)
def models_of_the_fifth_generation_think(api: Api) -> None:
    """A 5.x model begins with a thinking block, unless told not to."""
    first = thought(api).of("content_block_start")[0]["content_block"]
    equal(first, {"type": "thinking", "thinking": "", "signature": ""}, "the first block")


@rule(THINKING)
def thinking_ends_with_its_signature(api: Api) -> None:
    """A thinking block's last delta, and no other, is the signature."""
    kinds = [event["delta"]["type"] for event in thought(api).of("content_block_delta") if event["index"] == 0]
    equal(kinds.count("signature_delta"), 1, "the number of signatures")
    equal(kinds[-1], "signature_delta", "the last delta")


@rule(THINKING)
def thinking_comes_in_deltas(api: Api) -> None:
    """Thinking streams as `thinking_delta`s with text."""
    expect("".join(delta["thinking"] for delta in thought(api).deltas("thinking_delta")), "no thinking came")


@rule(THINKING)
def text_follows_thinking(api: Api) -> None:
    """After the thinking comes a text block, with index 1."""
    started = thought(api).of("content_block_start")
    equal([event["content_block"]["type"] for event in started], ["thinking", "text"], "the blocks")


@rule(THINKING)
def thinking_can_be_omitted(api: Api) -> None:
    """With display "omitted" one empty thinking delta and the signature come, and no more."""
    answer = thought(api, thinking={"type": "adaptive", "display": "omitted"})
    deltas = [event["delta"] for event in answer.of("content_block_delta") if event["index"] == 0]
    equal([delta["type"] for delta in deltas], ["thinking_delta", "signature_delta"], "the deltas")
    equal(deltas[0]["thinking"], "", "the thinking")


@rule(THINKING)
def thinking_can_be_disabled(api: Api) -> None:
    """With thinking disabled there is none."""
    equal(thought(api, thinking={"type": "disabled"}).deltas("signature_delta"), [], "the signatures")


@rule(THINKING)
def thinking_can_be_enabled(api: Api) -> None:
    """An older model thinks when it is given a budget."""
    budget = {"type": "enabled", "budget_tokens": 1024}
    answer = api.stream(model="claude-haiku-4-5", max_tokens=2_000, thinking=budget)
    equal(len(answer.deltas("signature_delta")), 1, "the number of signatures")


@rule("SDK types: OutputTokensDetails")
def thinking_is_counted_apart(api: Api) -> None:
    """`message_delta` tells how many of the output tokens were thinking."""
    usage = thought(api).one("message_delta")["usage"]
    spent = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    expect(0 < spent < usage["output_tokens"], f"usage is {usage}")


@rule(THINKING)
def whole_messages_show_thinking(api: Api) -> None:
    """A whole message has the thinking block with its signature."""
    first = api.ask(model=THINKER, max_tokens=2_000).json["content"][0]
    expect(first["type"] == "thinking" and first["signature"], f"the first block is {first!r:.80}")


@rule(STOPPING)
def max_tokens_stops_the_answer(api: Api) -> None:
    """An answer that is cut short stops with `max_tokens`, and has no more tokens than that."""
    answer = api.ask(max_tokens=8).json
    equal(answer["stop_reason"], "max_tokens", "stop_reason")
    expect(answer["usage"]["output_tokens"] <= 8, f"{answer['usage']['output_tokens']} tokens")


@rule(STOPPING)
def max_tokens_shortens_the_text(api: Api) -> None:
    """The text of such an answer is the beginning of the longer one."""
    short, long = (api.ask(max_tokens=size).json["content"][0]["text"] for size in (8, 300))
    expect(0 < len(short) < len(long) / 4, f"{len(short)} and {len(long)} characters")


@rule(STOPPING)
def max_tokens_may_be_one(api: Api) -> None:
    """One token is a legal limit."""
    equal(api.ask(max_tokens=1).json["usage"]["output_tokens"], 1, "output_tokens")


@rule(STOPPING)
def stop_sequences_stop_the_answer(api: Api) -> None:
    """An answer that meets a stop sequence stops with `stop_sequence`, and names it."""
    delta = api.stream(stop_sequences=["e"]).one("message_delta")["delta"]
    equal((delta["stop_reason"], delta["stop_sequence"]), ("stop_sequence", "e"), "stop_reason, stop_sequence")


@rule(STOPPING)
def stop_sequences_are_not_sent(api: Api) -> None:
    """The stop sequence itself is no part of the text."""
    expect("e" not in api.stream(stop_sequences=["e"]).text, "it is")


@rule(STOPPING)
def refusals_say_refusal(api: Api) -> None:
    """The documented test string makes the model refuse: stop reason `refusal`."""
    answer = api.ask(messages=[{"role": "user", "content": REFUSE}]).json
    equal(answer["stop_reason"], "refusal", "stop_reason")


@rule("SDK types: RefusalStopDetails")
def refusals_have_details(api: Api) -> None:
    """A refusal streams with `stop_details` of type `refusal`."""
    delta = api.stream(messages=[{"role": "user", "content": REFUSE}]).one("message_delta")["delta"]
    details = delta.get("stop_details") or {}
    equal((delta["stop_reason"], details.get("type")), ("refusal", "refusal"), "stop_reason and stop_details")


@rule(CITING)
def citations_stream_as_deltas(api: Api) -> None:
    """A document that asks to be cited is: `citations_delta`s come with the text."""
    expect(api.stream(messages=CITED).deltas("citations_delta"), "no citation came")


@rule(CITING)
def citations_point_into_the_document(api: Api) -> None:
    """A citation's text is what stands between its character indexes."""
    deltas = api.stream(messages=CITED).deltas("citations_delta")
    expect(deltas, "no citation came")
    for delta in deltas:
        cited = delta["citation"]
        expected = SOURCE_TEXT[cited["start_char_index"] : cited["end_char_index"]]
        equal(cited["cited_text"], expected, "cited_text")


@rule(CITING)
def whole_messages_show_citations(api: Api) -> None:
    """A whole message has the citations in its text block."""
    expect(api.ask(messages=CITED).json["content"][0].get("citations"), "no citations")


@rule("API docs: working with messages")
def prefill_is_continued(api: Api) -> None:
    """A 4.5 model continues the final assistant turn."""
    messages = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": "Sunlight holds"}]
    text = api.ask(model="claude-haiku-4-5", messages=messages).json["content"][0]["text"]
    expect(not text.startswith("Sunlight holds"), "it begins again")


@rule("API docs: versioning")
def both_versions_are_served(api: Api) -> None:
    """The earlier API version is answered too."""
    answered(api.ask(headers={"anthropic-version": OLD}))
