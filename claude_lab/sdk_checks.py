"""Checks by the anthropic SDK itself: its types, strictly validated, and its error classes. The oracle is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from claude_lab.exchange import ASK, Api, equal, expect, rule
from claude_lab.reply_checks import CITED, REFUSE, THINKER
from claude_lab.tool_checks import ASK_WEATHER

ORACLE = "anthropic SDK, strict response validation"
THOUGHT: dict[str, Any] = {**ASK, "model": THINKER, "max_tokens": 2_000}


@contextmanager
def sdk(api: Api, *, key: str | None = None) -> Iterator[Any]:
    """Lend the SDK's client, strict and without retries; one per key serves all checks."""
    import httpx2
    from anthropic import Anthropic

    api.ask()  # where nobody answers, this says so at once
    name = key or api.key
    if name not in api.lent:
        direct = httpx2.Client(trust_env=False, timeout=api.timeout)  # as all other checks ask
        api.lent[name] = Anthropic(
            base_url=api.url, api_key=name, max_retries=0, http_client=direct, _strict_response_validation=True
        )
    yield api.lent[name]


def final(api: Api, **body: Any) -> Any:
    """Stream a message through the SDK and return it, whole."""
    with sdk(api) as client, client.messages.stream(**body) as stream:
        return stream.get_final_message()


def validated(name: str, claim: str, body: dict[str, Any], stop_reason: str) -> None:
    """Register a check that streams a body through the strict SDK."""

    def run(api: Api) -> None:
        equal(final(api, **body).stop_reason, stop_reason, "stop_reason")

    rule(ORACLE, name, claim)(run)


validated("sdk_reads_text", "The strict SDK reads a stream of text.", ASK, "end_turn")
validated("sdk_reads_thinking", "The strict SDK reads a stream with thinking.", THOUGHT, "end_turn")
validated("sdk_reads_tools", "The strict SDK reads a stream with a tool call.", {**ASK, **ASK_WEATHER}, "tool_use")
validated(
    "sdk_reads_citations", "The strict SDK reads a stream with citations.", {**ASK, "messages": CITED}, "end_turn"
)
validated(
    "sdk_reads_refusals",
    "The strict SDK reads a refusal.",
    {**ASK, "messages": [{"role": "user", "content": REFUSE}]},
    "refusal",
)
validated(
    "sdk_reads_short_answers", "The strict SDK reads an answer cut short.", {**ASK, "max_tokens": 8}, "max_tokens"
)


@rule(ORACLE)
def sdk_reads_whole_messages(api: Api) -> None:
    """The strict SDK reads a message that is not streamed."""
    with sdk(api) as client:
        equal(client.messages.create(**ASK).stop_reason, "end_turn", "stop_reason")


@rule(ORACLE)
def sdk_reads_whole_thinking(api: Api) -> None:
    """The strict SDK reads a whole message with thinking."""
    with sdk(api) as client:
        equal(client.messages.create(**THOUGHT).content[0].type, "thinking", "the first block")


@rule(ORACLE)
def sdk_reads_raw_events(api: Api) -> None:
    """The strict SDK reads the events of `create(stream=True)` to `message_stop`."""
    with sdk(api) as client:
        equal(
            [event.type for event in client.messages.create(**ASK, stream=True)][-1], "message_stop", "the last event"
        )


@rule(ORACLE)
def sdk_reads_asynchronously(api: Api) -> None:
    """The asynchronous client reads the same answer."""

    async def read() -> Any:
        import httpx2
        from anthropic import AsyncAnthropic

        direct = httpx2.AsyncClient(trust_env=False, timeout=api.timeout)
        async with AsyncAnthropic(
            base_url=api.url, api_key=api.key, max_retries=0, http_client=direct, _strict_response_validation=True
        ) as client:
            async with client.messages.stream(**ASK) as stream:
                return await stream.get_final_message()

    equal(final(api, **ASK).content[0].text, apart(read).content[0].text, "the text")


def apart(work: Callable[[], Any]) -> Any:
    """Run a coroutine function on a loop of its own, in a thread of its own: a notebook has a loop already."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


@rule(ORACLE)
def sdk_streams_what_it_creates(api: Api) -> None:
    """The text of a stream is that of the whole message."""
    with sdk(api) as client:
        equal(final(api, **ASK).content[0].text, client.messages.create(**ASK).content[0].text, "the text")


@rule(ORACLE)
def sdk_reads_beta_streams(api: Api) -> None:
    """The strict SDK's beta client reads a stream."""
    with sdk(api) as client, client.beta.messages.stream(**ASK) as stream:
        equal(stream.get_final_message().stop_reason, "end_turn", "stop_reason")


@rule(ORACLE)
def sdk_counts_tokens(api: Api) -> None:
    """The SDK counts tokens."""
    with sdk(api) as client:
        expect(client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"]).input_tokens > 0, "none")


@rule(ORACLE)
def sdk_pages_through_models(api: Api) -> None:
    """The SDK pages through all models, and gets one."""
    with sdk(api) as client:
        ids = [model.id for model in client.models.list(limit=7)]
        equal(len(set(ids)), len(ids), "the number of distinct models")
        equal(client.models.retrieve(ids[-1]).type, "model", "the type")


@rule(ORACLE)
def sdk_makes_batches(api: Api) -> None:
    """The SDK creates a batch and reads its results."""
    from claude_lab.endpoint_checks import ended

    with sdk(api) as client:
        made = client.messages.batches.create(requests=[{"custom_id": "a", "params": {**ASK, "max_tokens": 8}}])
        ended(api, made.id)
        equal([line.result.type for line in client.messages.batches.results(made.id)], ["succeeded"], "the results")


ERRORS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("BadRequestError", "invalid_request_error", {"max_tokens": -1}),
    ("NotFoundError", "not_found_error", {"model": "claude-0"}),
)


def raised(name: str, kind: str, change: dict[str, Any]) -> None:
    """Register a check of the SDK's error class."""

    def run(api: Api) -> None:
        import anthropic

        with sdk(api) as client:
            try:
                client.messages.create(**{**ASK, **change})
            except anthropic.APIStatusError as error:
                equal((type(error).__name__, error.type), (name, kind), "the error")
                expect(error.request_id, "it has no request_id")
            else:
                expect(False, "nothing was raised")

    rule(ORACLE, f"sdk_raises_{name}", f"The SDK raises {name}, with its type and request id.")(run)


for row in ERRORS:
    raised(*row)


@rule(ORACLE)
def sdk_raises_AuthenticationError(api: Api) -> None:
    """A wrong key raises AuthenticationError in the SDK."""
    import anthropic

    with sdk(api, key="invalid") as client:
        try:
            client.messages.create(**ASK)
        except anthropic.AuthenticationError as error:
            equal(error.type, "authentication_error", "error.type")
        else:
            expect(False, "nothing was raised")
