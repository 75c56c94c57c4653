"""The article's sentences of step 5, its limitations, its FAQ and its closing, in its order."""

from __future__ import annotations

from claims import accounts, clients, connections, listings, proxies, streaming, tasks, ways
from claims.claim import Claim

LESSON_1 = "[lesson 1](../notebooks/01_streaming.ipynb)"
LESSON_2 = "[lesson 2](../notebooks/02_retry_experiments.ipynb)"


def clean_exit(seen: tasks.Cancelled) -> bool:
    """Whether the clause ran for a reader who left, hung up on the upstream, and nothing was complained of."""
    return seen.entered and seen.upstream == "client left" and not seen.errors


READERS = [
    Claim(
        "EventSource is GET-only — for POST requests, use fetch + ReadableStream",
        clients.event_source,
        lambda seen: seen.asked_with_post == "GET",
        "Chromium's EventSource, told to POST, asked with {asked_with_post}.",
        "`claude_lab/static/browser.js`.",
    ),
    Claim(
        "const lines = text.split('\\n\\n').filter(l => l.startsWith('data:'));",
        clients.browser_loop,
        lambda seen: seen.right == seen.cuts,
        "Of {cuts} places for one cut in five events the loop survives {right}; at {threw} it throws, at {lost} it"
        " loses text in silence. Of the {places_between_events} places between two events it survives"
        " {right_between_events}.",
        f"Keep the unfinished rest: `PerEvent` in `claude_lab/static/browser.js`, {LESSON_1}.",
        when=(
            "no chunk is ever cut inside an event",
            lambda seen: seen.right_between_events == seen.places_between_events,
        ),
    ),
    Claim(
        "async for line in response.aiter_lines():",
        listings.python_loop,
        lambda seen: seen.raw == "right",
        "A text with U+2028 in it: escaped, as the article's server writes it, {escaped}; raw, as JSON allows, {raw}:"
        " the line ends there for httpx, not for SSE.",
        "Feed bytes to `claude_lab.sse.Decoder`.",
        when=("the server escapes what is not ASCII", lambda seen: seen.escaped == "right"),
    ),
    Claim(
        "The useChat hook handles SSE parsing for you, which makes client-side code much simpler.",
        clients.use_chat,
        lambda seen: seen.article == "the whole text",
        "The real useChat (version 6) at the article's endpoint: {article}; at `POST /chat/ui` of the lab: {ours}.",
        "`POST /chat/ui`.",
        when=(
            "the server speaks the protocol of useChat; the article's does not",
            lambda seen: seen.ours == "the whole text",
        ),
    ),
]

LIMITATIONS = [
    Claim(
        "First, combining streaming with prompt caching is tricky.",
        accounts.cache,
        lambda seen: not seen.read_of_written,
        "One mark in the request; the second answer streamed and read all that the first had written:"
        " {read_of_written}.",
        f"`cache_control` on the long block, and nothing else: {LESSON_1}.",
    ),
    Claim(
        "Claude's prompt caching reduces input token costs significantly.",
        accounts.prices,
        lambda seen: seen.one_percent < 100,
        "By the price list, dollars for a million input tokens: {plain} plain, {written} to write for five minutes,"
        " {read} to read. One request with the cache costs {one_percent} % of one without, ten in a row"
        " {ten_percent} %.",
        "Mark what is asked for again within five minutes; `claude_lab.spending.cost` reckons with all three.",
        when=("the same prompt is asked for again in time", lambda seen: seen.ten_percent < 100),
        beyond="an invoice",
    ),
    Claim(
        "But when using streaming and caching together, you can't know mid-stream whether the cache was hit.",
        accounts.cache,
        lambda seen: seen.read_at_first_event == 0,
        "The first event, `{first_event}`, said {read_at_first_event} tokens read, {events_before_text} events before"
        " the first text.",
        f"Read `message_start`; our `start` frame passes it on: {LESSON_1}.",
    ),
    Claim(
        "The usage object is available after streaming completes, but if you need to reflect cache status in real time,"
        " the implementation gets complex.",
        accounts.cache,
        lambda seen: seen.final_usage and seen.read_at_first_event == 0,
        "Usage at the end: {final_usage}; already in `{first_event}`: {read_at_first_event} tokens read.",
        "`run.usage`, or the `usage` of the `start` frame.",
    ),
    Claim(
        "SSE keeps connections open for a long time.",
        streaming.pieces,
        lambda seen: seen.first_while_written,
        "The connection was open while the upstream wrote: {first_while_written}, over {pieces} deltas.",
        "Heartbeats, an idle timeout upstream, and Stop: `claude_lab.server`.",
    ),
    Claim(
        "With --workers 4, you can handle at most 4 concurrent long-running streaming connections.",
        connections.streams_of_one_worker,
        lambda seen: seen.async_one_worker <= 1,
        "One worker held {async_one_worker} of {asked} streams open at once with the async client, {sync_one_worker}"
        " with the first listing's sync one.",
        "The async client; count memory, not workers.",
        when=("each worker is blocked by the sync client", lambda seen: seen.sync_one_worker == 1),
    ),
    Claim(
        "When real traffic exceeds that, requests queue.",
        connections.streams_of_one_worker,
        lambda seen: seen.async_one_worker < seen.asked,
        "Of {asked} streams at once on one worker {async_one_worker} were open together; with the sync client"
        " {sync_one_worker}.",
        "The async client.",
        when=("each worker is blocked by the sync client", lambda seen: seen.sync_one_worker == 1),
    ),
    Claim(
        "You'll need horizontal scaling on Kubernetes or the gunicorn + uvicorn worker class combination.",
        connections.streams_of_one_worker,
        lambda seen: seen.async_one_worker < seen.asked,
        "One process held {async_one_worker} streams; uvicorn's gunicorn worker class is {worker_class}.",
        "One process until its CPU is full, then more processes behind a balancer.",
    ),
    Claim(
        "Restarting the request from scratch means the client gets duplicate text.",
        connections.restart_after_a_cut,
        lambda seen: seen.twice_percent > 0 and not (seen.resets and seen.whole_with_reset),
        "Cut once and asked again, {twice_percent} % of the answer came twice; with {resets} `reset` from the lab's"
        " server its reader had the whole text once: {whole_with_reset}.",
        "Retry only before the first text, or tell the reader: `RECOVERY=restart`, [recovery](recovery.md).",
        when=("nobody tells the reader to drop what it has", lambda seen: seen.twice_percent > 0),
    ),
    Claim(
        "The practical solution — having the client track last-event-id so the server can resume — is outside this"
        " guide's scope, but worth planning for early.",
        connections.resume,
        lambda seen: seen.exact and seen.upstream_cut == "none",
        "Between reader and server: exact {exact}, with {upstream_requests} request upstream. The Messages API"
        " documents no such id (sent upstream: {sdk_asks_with_id}); an upstream cut ends as `{upstream_cut}`.",
        "`GET /chat/stream/{run}` with `Last-Event-ID`; against upstream cuts `RECOVERY=restart` or `continue`:"
        " [recovery](recovery.md).",
        when=("the cut is between the reader and your server", lambda seen: seen.exact and seen.upstream_requests == 1),
    ),
    Claim(
        "If you're processing 1,000 documents in batch, the Anthropic Message Batches API is far cheaper and more"
        " appropriate.",
        accounts.batch,
        lambda seen: seen.requests == 1 and seen.results > seen.streams_served,
        "One batch: {requests} request, {results} documents taken; asked one by one within a minute, against 50 a"
        " minute: {streams_served} served. Its price, documented as half, was not measured.",
        "`messages.batches.create`; the fake has it.",
        beyond="an invoice",
    ),
]

QUESTIONS = [
    Claim(
        "proxy_buffering off is missing from Nginx in most cases.",
        proxies.who_holds,
        lambda seen: not seen.not_cured,
        "Of these {held} hops, which are no sample, the line cures {cured}; not {not_cured}.",
        "Ask first who holds: `claude-lab doctor URL`.",
        when=("it is nginx that holds", lambda seen: len(seen.cured) > 0),
        beyond="a count of cases",
    ),
    Claim(
        "Also check that the Content-Type: text/event-stream header is present — without it, browsers won't recognize"
        " the response as SSE.",
        clients.event_source,
        lambda seen: seen.event_stream == "read" and seen.plain_text == seen.plain_by_fetch == "error",
        "Chromium's EventSource: text/event-stream {event_stream}, text/plain {plain_text}; fetch, which the article's"
        " own client uses: text/plain {plain_by_fetch}.",
        "Send it all the same; nginx's buffering never looks at it.",
        when=("the page reads with EventSource", lambda seen: seen.event_stream == "read" != seen.plain_text),
    ),
    Claim(
        "When a client disconnects mid-stream, FastAPI cancels the generator.",
        connections.reader_leaves,
        lambda seen: seen.raised == "CancelledError",
        "Raised in the listing's generator: `{raised}`; the upstream's journal: {upstream}.",
        "Let it pass, and let `async with` hang up.",
    ),
    Claim(
        "Adding except asyncio.CancelledError: return inside stream_claude exits cleanly.",
        tasks.return_on_cancel,
        lambda seen: clean_exit(seen) and seen.task_cancelled and seen.timeout_raised,
        "The reader left: clause entered: {entered}, upstream: {upstream}, errors: {errors}; without the clause as"
        " clean: {clean_without}. Cancelled by the program itself: the task says it was cancelled: {task_cancelled}; a"
        " timeout that cut the answer raised: {timeout_raised}; the text was whole: {text_whole}.",
        "No clause: it is not needed, and a cancellation that returns hides a cut answer.",
        when=("nobody but the server cancels it", lambda seen: clean_exit(seen)),
    ),
    Claim(
        "This can happen when using the synchronous anthropic.Anthropic() client inside an async context.",
        tasks.one_client_in_many_loops,
        lambda seen: seen.sync_failed > 0,
        "{calls} loops one after the other: the sync client failed {sync_failed} times, one AsyncAnthropic"
        " {async_failed} times ({async_cause}).",
        f"One loop per AsyncAnthropic: {LESSON_1}.",
    ),
    Claim(
        "Switching to anthropic.AsyncAnthropic() is the root fix.",
        tasks.one_client_in_many_loops,
        lambda seen: seen.async_failed == 0,
        "One AsyncAnthropic over {calls} loops failed {async_failed} times, the sync client {sync_failed} times.",
        "A client for each loop, or one loop for all: `claude_lab.background.portal`.",
    ),
    Claim(
        "Either BASE_DELAY is too short or burst traffic is hammering the same window.",
        accounts.neither_cause,
        lambda seen: seen.spend_limit_ended == "answered" and seen.over_capacity > 99,
        "With a base of 60 s and calls that come one by one a spend limit still ends with `{spend_limit_ended}`, and at"
        " 1.4 times the limit {over_capacity} % are served.",
        f"Look for a spend limit, for retries under retries, and for the limit itself: {LESSON_2}.",
    ),
    Claim(
        "Check Anthropic's Rate Limits page for your plan's TPM/RPM limits and set BASE_DELAY to at least 5 seconds.",
        accounts.base_delay,
        lambda seen: seen.five_seconds > seen.one_second and seen.wait_grows < 2,
        "Served: {one_second} % with 1 s, {five_seconds} % with 5 s, which makes the wait of served calls {wait_grows}"
        " times as long; full jitter, six retries and `retry-after` with 1 s: {ours} %, {ours_wait_grows} times.",
        f"Choose by success and by wait together: `sweep(...).recommend(success=.99, p95_ttft=45)`, {LESSON_2}.",
        when=("nobody minds the wait", lambda seen: seen.five_seconds > seen.one_second),
    ),
]

CLOSING = [
    Claim(
        "If you need massive concurrent real-time connections, WebSocket or gRPC Streaming might be better.",
        ways.crowd,
        lambda seen: None if seen.events == seen.sockets else seen.events < seen.sockets,
        "One worker held {events} of {asked} streams at once, and {sockets} of {asked} WebSockets; that is no mass, and"
        " gRPC was not tried.",
        "Measure your own: `claude-lab serve --fake` and a crowd of readers.",
        beyond="a massive crowd on the network",
    ),
]
