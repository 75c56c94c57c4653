"""Mutants: the fake with one rule broken each, and the check that must notice."""

from __future__ import annotations

import binascii
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from claude_lab import (
    batches,
    bodies,
    cache,
    catalogue,
    clauses,
    contents,
    endpoints,
    faults,
    frames,
    gate,
    journal,
    limits,
    messages,
    playback,
    player,
    replies,
    responses,
    scenario,
    schemas,
    tokens,
)

CHANCE = itertools.count()
"""No number twice."""


class Mutant(NamedTuple):
    """`owner.name` becomes `make(original)`; the check `caught_by` must break."""

    caught_by: str
    owner: Any
    name: str
    make: Callable[[Any], Any]


def without(*names: str) -> Callable[[Any], Any]:
    """Return a maker of functions that leave fields out of the dict they return."""
    return lambda original: lambda *a, **k: {n: v for n, v in original(*a, **k).items() if n not in names}


def also(**fields: Any) -> Callable[[Any], Any]:
    """Return a maker of functions that put fields into the dict they return."""
    return lambda original: lambda *a, **k: {**original(*a, **k), **fields}


def always(value: Any) -> Callable[[Any], Any]:
    """Return a maker of functions that return one value."""
    return lambda original: lambda *a, **k: value


def becomes(value: Any) -> Callable[[Any], Any]:
    """Return a maker of a constant."""
    return lambda original: value


def without_clause(clause: Any) -> Mutant | Any:
    """Return a maker of the clauses without one."""
    return lambda original: tuple(each for each in original if each is not clause)


def bytes_replaced(old: bytes, new: bytes) -> Callable[[Any], Any]:
    """Return a maker of `frames.frames` functions whose bytes are changed."""
    return lambda original: (
        lambda reply: [dataclasses.replace(each, data=each.data.replace(old, new)) for each in original(reply)]
    )


def edited(edit: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
    """Return a maker of `frames.frames` functions whose list is changed."""
    return lambda original: lambda reply: edit(original(reply))


def no_prefix_headers(prefix: str) -> Callable[[Any], Any]:
    """Return a maker of header functions without those that begin so."""
    return lambda original: lambda *a, **k: {n: v for n, v in original(*a, **k).items() if not n.startswith(prefix)}


def split_emoji(made: list[Any]) -> list[Any]:
    """Put a replacement character into the third text delta."""
    texts = [index for index, each in enumerate(made) if each.text]
    made[texts[2]] = dataclasses.replace(made[texts[2]], data=made[texts[2]].data.replace(b'"}}', '�"}}'.encode()))
    return made


def one_big_delta(made: list[Any]) -> list[Any]:
    """Keep the first text delta alone."""
    texts = [index for index, each in enumerate(made) if each.text]
    return [each for index, each in enumerate(made) if index not in texts[1:]]


MUTANTS = (
    Mutant("stream-is-an-event-stream", responses, "STREAM", becomes("text/event-stream")),
    Mutant("request-id-on-streams", responses.Tags, "headers", without("request-id")),
    Mutant("organization-is-named", responses.Tags, "headers", without("anthropic-organization-id")),
    Mutant("stream-is-not-cached", responses.Tags, "headers", without("cache-control")),
    Mutant("request-ids-differ", replies, "ident", lambda o: lambda p, *n, **k: o(p, 0, **k)),
    Mutant("limit-headers-of-input-tokens", limits, "headers", no_prefix_headers("anthropic-ratelimit-input")),
    Mutant("limit-resets-are-dates", limits, "stamp", lambda o: lambda date: f"{date:.0f}"),
    Mutant("message-stop-comes-last", responses, "frames", edited(lambda made: made[:-1])),
    Mutant("message-start-comes-first", responses, "frames", edited(lambda made: made[1:])),
    Mutant(
        "ping-follows-the-first-block-start",
        responses,
        "frames",
        edited(lambda m: [f for f in m if b"ping" not in f.data]),
    ),
    Mutant(
        "events-are-named-by-their-type", responses, "frames", bytes_replaced(b"event: message_delta", b"event: delta")
    ),
    Mutant("events-are-single-lines-of-data", responses, "frames", bytes_replaced(b"\n\n", b"\r\n\r\n")),
    Mutant(
        "stream-has-no-done-marker", responses, "frames", bytes_replaced(frames.STOP, frames.STOP + b"data: [DONE]\n\n")
    ),
    Mutant("blocks-count-from-zero", responses, "frames", bytes_replaced(b'"index":0', b'"index":1')),
    Mutant(
        "blocks-open-and-close", responses, "frames", edited(lambda m: [f for f in m if b"block_stop" not in f.data])
    ),
    Mutant("text-comes-in-pieces", responses, "frames", edited(one_big_delta)),
    Mutant("deltas-carry-whole-code-points", responses, "frames", edited(split_emoji)),
    Mutant("message-start-has-not-stopped", messages.Reply, "head", also(stop_reason="end_turn")),
    Mutant("message-start-tells-of-the-cache", messages.Usage, "start", without("cache_creation")),
    Mutant("message-delta-counts-the-output", messages.Usage, "delta", also(output_tokens=1)),
    Mutant("message-delta-repeats-the-input", messages.Usage, "delta", without("input_tokens")),
    Mutant("message-delta-has-stop-details", messages.Reply, "stop", without("stop_details")),
    Mutant("thinking-ends-with-its-signature", messages.Thinking, "deltas", lambda o: lambda self: list(o(self))[:-1]),
    Mutant("models-of-the-fifth-generation-think", catalogue, "thinks", always(False)),
    Mutant("tool-input-begins-empty", messages.ToolUse, "deltas", lambda o: lambda self: list(o(self))[1:]),
    Mutant("tool-results-end-the-loop", replies, "blocks_of", always([])),
    Mutant("max-tokens-stops-the-answer", replies, "stopped", lambda o: lambda text, body, room: o(text, body, 10**9)),
    Mutant(
        "max-tokens-cuts-tool-calls",
        replies,
        "called",
        lambda o: lambda tool, prompt, room, id: o(tool, prompt, 10**9, id),
    ),
    Mutant("structured-output-is-json-that-fits", replies, "formatted", always(None)),
    Mutant("strict-tool-input-fits-nested-schemas", replies, "sample", always({})),
    Mutant("stop-sequences-stop-the-answer", replies, "stopped", lambda o: lambda text, body, room: o(text, {}, room)),
    Mutant("refusals-say-refusal", replies, "REFUSAL", becomes("something else")),
    Mutant("citations-stream-as-deltas", replies, "citations", always(())),
    Mutant("prefill-is-refused-from-4-6-on", clauses, "RULES", without_clause(clauses.prefill)),
    Mutant("temperature-is-gone", clauses, "RULES", without_clause(clauses.sampling_gone)),
    Mutant("tool-results-need-a-call", clauses, "RULES", without_clause(clauses.tools_answered)),
    Mutant("empty-texts-are-not-cached", clauses, "RULES", without_clause(contents.nothing_is_not_cached)),
    Mutant("results-come-first", clauses, "RULES", without_clause(contents.results_come_first)),
    Mutant("calls-have-distinct-ids", clauses, "RULES", without_clause(contents.calls_differ)),
    Mutant("lifetimes-shrink", clauses, "RULES", without_clause(contents.lifetimes_shrink)),
    Mutant("citations-agree", clauses, "RULES", without_clause(contents.citations_agree)),
    Mutant("users-do-not-think", clauses, "RULES", without_clause(contents.said_by)),
    Mutant("texts-are-not-blank", clauses, "RULES", without_clause(contents.not_blank)),
    Mutant("thinking-takes-no-temperature", clauses, "RULES", without_clause(clauses.thinking_samples_freely)),
    Mutant("thinking-takes-no-prefill", clauses, "RULES", without_clause(clauses.thinking_is_not_prefilled)),
    Mutant("adaptive-thinking-needs-a-later-model", clauses, "RULES", without_clause(clauses.thinking_is_known)),
    Mutant("adaptive-thinking-takes-no-forced-tool", clauses, "THINKING", becomes(("enabled",))),
    Mutant("strict-schemas-are-closed", schemas, "closed", always(None)),
    Mutant("strict-schemas-have-no-bounds", schemas, "UNSUPPORTED", becomes({})),
    Mutant("image-data-is-base64", binascii, "a2b_base64", always(b"")),
    Mutant("max-tokens-has-a-maximum", clauses, "RULES", without_clause(clauses.output_fits)),
    Mutant("surrogates-are-refused", bodies, "parse", lambda o: lambda raw: o(raw.replace(b"\\ud83d", b"x"))),
    Mutant("a-key-is-required", gate, "key_of", always("anybody")),
    Mutant(
        "a-version-is-required",
        gate,
        "refuse",
        lambda o: lambda headers: o({"anthropic-version": bodies.NEW, **headers}),
    ),
    Mutant(
        "unknown-models-are-404", faults.Refusal, "error_type", becomes(property(lambda self: "invalid_request_error"))
    ),
    Mutant("large-bodies-are-413", endpoints, "too_large", always(None)),
    Mutant(
        "errors-repeat-the-request-id",
        responses,
        "error_body",
        lambda o: lambda t, m, r=None, **k: o(t, m, "req_x", **k),
    ),
    Mutant(
        "tokens-are-counted-as-used",
        tokens,
        "count_request",
        lambda o: lambda body: o(body) + ("stream" in body or "max_tokens" in body),
    ),
    Mutant("models-come-in-pages", batches, "page", lambda o: lambda items, query: o(items, {})),
    Mutant("batches-can-be-canceled", batches.Batches, "cancel", always(None)),
    Mutant("cache-is-read-next", cache.Cache, "_longest", always(None)),
    Mutant(
        "cache-needs-a-minimum",
        cache.Cache,
        "use",
        lambda o: lambda self, now, body, size, least: o(self, now, body, size, 0),
    ),
    Mutant(
        "cache-splits-by-lifetime",
        messages.Usage,
        "start",
        also(cache_creation={"ephemeral_5m_input_tokens": 9, "ephemeral_1h_input_tokens": 9}),
    ),
    Mutant("retry-after-is-sent", faults.Refusal, "headers", lambda o: property(lambda self: {})),
    Mutant("drops-come-on-time", playback, "place", lambda o: lambda made, fault: o(made, fault) + 1),
    Mutant("resets-are-resets", player, "reset", lambda o: lambda transport: transport.close()),
    Mutant("truncation-is-silent", playback, "truncate", lambda o: playback.drop),
    Mutant("limits-count-down", limits.Meter, "take", always(None)),
    Mutant("scripts-are-used-up", scenario.World, "_fault", lambda o: lambda self, *a: self.scenario.faults[0]),
    Mutant("seeds-make-answers-equal", replies, "ident", lambda o: lambda p, *n, **k: o(p, next(CHANCE), **k)),
    Mutant("journals-hold-no-keys", journal, "SECRET", becomes(frozenset())),
    Mutant("control-refuses-strangers", gate, "stranger", always(None)),
    Mutant("sdk-reads-text", messages.Usage, "inputs", without("input_tokens")),
)
