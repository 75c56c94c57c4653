"""The article's sentences up to the end of step 2, in its order."""

from __future__ import annotations

from claims import clients, listings, project, proxies, servers, streaming, ways
from claims.claim import Claim

OPENING = [
    Claim(
        "When a model like Claude is producing a long piece of text, buffering everything and sending it all at once"
        " kills the UX.",
        streaming.first_word,
        lambda seen: seen.streamed_percent < seen.whole_percent / 2,
        "At the fake's steady pace there is something to read after {streamed_percent} % of the answer's time streamed,"
        " after {whole_percent} % whole.",
        "Stream: `Lab().stream`, `POST /chat/stream`.",
        beyond="readers",
    ),
    Claim(
        "This guide covers those production patterns — implemented and tested against FastAPI 0.136 and Anthropic SDK"
        " 0.97.",
        servers.on_these_versions,
        lambda seen: seen.frames == "done",
        "Both versions here are newer: {newer}; on them the listing as printed ends with `{frames}`: the model it names"
        " does not exist.",
        "Keep the model in a setting (`MODEL`), and run `claude-lab conformance` after an upgrade.",
        beyond="the versions of then, and the API of then",
    ),
    Claim(
        "Python 3.11 or later (3.12 recommended)",
        servers.oldest_python,
        lambda seen: seen.oldest == "3.11",
        "The oldest that all {packages} packages accept: {oldest}.",
        "The same here: 3.11.",
    ),
    Claim(
        "Anthropic API key (ANTHROPIC_API_KEY)",
        servers.without_a_key,
        lambda seen: seen.error != "none" and not seen.lab_answered,
        "Without one the SDK's first request ended with `{error}`; the lab answered: {lab_answered}.",
        "For learning none is needed: `Lab()`, `claude-lab serve --fake`.",
        when=("the upstream is the real API", lambda seen: seen.error != "none" and seen.lab_answered),
    ),
    Claim(
        "You only need four dependencies:",
        servers.listings_imports,
        lambda seen: not seen.missing,
        "The listings import {third_party}; not brought by the four: {missing}.",
        "Install `uvicorn[standard]`: behind nginx 1.22 its other parser decides whether a stream is held"
        " ([lesson 3](../notebooks/03_nginx_buffering.ipynb)).",
    ),
]

SETUP = [
    Claim(
        ".env # API key (gitignored)",
        project.key_in_a_file,
        lambda seen: seen.as_started,
        "Started as the article does, the listing has the key of that file: {as_started}; with `--env-file .env`:"
        " {told}. Files in its tree that keep it out of git or of the image: {ignore_files}.",
        "`claude-lab serve` reads `.env`. Name it in .gitignore and .dockerignore: `COPY . .` takes it along.",
        when=("something loads it, such as uvicorn's --env-file", lambda seen: seen.told),
    ),
    Claim(
        "Defining the request schema with Pydantic's BaseModel gives you automatic input validation and OpenAPI docs"
        " from FastAPI for free.",
        servers.validation,
        lambda seen: {seen.without_message, seen.wrong_type, seen.below_zero, seen.empty_message} == {422},
        "Statuses: no message {without_message}, a word for a number {wrong_type}, `max_tokens` -5 {below_zero}, an"
        " empty message {empty_message}; the same with ranges: {with_ranges}; documented fields: {documented}.",
        "Write the ranges down: `claude_lab.server.ChatRequest`.",
        when=(
            "the ranges are written down too: types alone let -5 and nothing pass",
            lambda seen: set(seen.with_ranges) == {422} and seen.documented,
        ),
    ),
    Claim(
        "As you can see in the screenshot below, the Swagger UI generates automatically.",
        servers.swagger,
        lambda seen: seen.status == 200 and seen.swagger and not seen.outside,
        "GET /docs: {status}, a Swagger page: {swagger}, scripts and styles from: {outside}.",
        "Our server brings the page's files with it, so `/docs` works without a network.",
        when=("the browser reaches the hosts its scripts come from", lambda seen: seen.swagger),
    ),
    Claim(
        "Running uvicorn main:app --reload locally and opening /docs gives you a live Swagger UI you can test"
        " directly.",
        servers.swagger,
        lambda seen: seen.status == 200 and seen.swagger and not seen.outside,
        "GET /docs: {status}, scripts and styles from: {outside}.",
        "`claude-lab serve --fake`, then `/docs`: no key and no network.",
        when=("the browser reaches the hosts its scripts come from", lambda seen: seen.swagger),
    ),
]


def simpler(seen: ways.Simple) -> bool:
    """Whether an answer to a question takes fewer statements by SSE than by a WebSocket, and no more packages."""
    return seen.whole and seen.events < seen.socket and len(seen.events_need) <= len(seen.socket_needs)


STREAMING = [
    Claim(
        "Server-Sent Events (SSE) is the simplest way to push a one-directional real-time stream over HTTP.",
        ways.three_ways,
        lambda seen: seen.whole and seen.events < min(seen.lines, seen.socket),
        "Statements of server and reader together: SSE {events}, JSON lines {lines}, a WebSocket {socket}; the whole"
        " text by each: {whole}. After a cut Chromium's EventSource came back by itself, with the last id"
        " {came_back_with}; a fetch of lines asked {fetches} time in all.",
        "Choose SSE for its ids and for `EventSource`, not for its simplicity: `claude_lab.sse`.",
        when=(
            "readers need to come back to their place",
            lambda seen: seen.came_back_with == "7" and seen.fetches == 1,
        ),
    ),
    Claim(
        "It's simpler to implement than WebSocket and fits perfectly for the pattern of streaming text from server to"
        " client — exactly what Claude does.",
        ways.three_ways,
        lambda seen: simpler(seen) and seen.events_unasked < seen.socket_unasked,
        "To answer a question with SSE takes {events} statements and, beyond the four packages, {events_need}; with a"
        " WebSocket {socket} and {socket_needs}. To push unasked takes {events_unasked} and {socket_unasked}. That the"
        " API itself streams by SSE is documented, not measured here.",
        "`claude_lab.server`.",
        when=("the reader asks a question first, as with Claude", lambda seen: simpler(seen)),
    ),
    Claim(
        "The key is combining FastAPI's StreamingResponse with Anthropic SDK's stream() context manager:",
        streaming.pieces,
        lambda seen: seen.pieces > 1 and seen.first_while_written,
        "{pieces} deltas; the first came while the upstream was still writing: {first_while_written}.",
        "Await the upstream's head before the response begins, so that a refusal keeps its status:"
        " `claude_lab.framed.FrameResponse`.",
    ),
    Claim(
        'model="claude-opus-4-7-20251101",',
        listings.model,
        lambda seen: seen.status == 200,
        "Asked for that model the fake, which knows the documented ones, answers {status}, `{error}`.",
        "A setting with a name that exists: `MODEL`, `claude_lab.catalogue`.",
    ),
    Claim(
        "'error': 'rate_limit', 'retry_after': 30",
        listings.rate_limit_told,
        lambda seen: seen.article_seconds == seen.server_seconds,
        "The upstream said {server_seconds} s; the article's server says {article_seconds}, under status"
        " {article_status}; the lab's {ours_seconds}, under {ours_status}.",
        "Pass the server's word on, and the status while there is time: `claude_lab.framed`.",
    ),
    Claim(
        '"X-Accel-Buffering": "no", # Disable Nginx buffering — critical',
        proxies.cures,
        lambda seen: set(seen.line_alone) - set(seen.both),
        "Of {roads} roads through the article's whole system these hold a stream: {both}; without the header"
        " {line_alone}; without the location's line {header_alone}; without either {neither}.",
        "Send it, and set `proxy_buffering off` on every hop but the innermost: nginx removes the header.",
        when=(
            "the location lacks `proxy_buffering off`, and the road is {neither}",
            lambda seen: seen.neither and not seen.header_alone,
        ),
    ),
    Claim(
        "Testing with curl against a live server, the SSE stream looks like this:",
        streaming.with_curl,
        lambda seen: seen.keys == ("type", "text") and seen.as_printed == "delta",
        "As printed the listing's first frame is: {as_printed}, status {status}; with a model that exists:"
        " {first_frame}.",
        "`claude-lab stream`, or curl on `lab.url`: [the frames](clients.md).",
        when=("the model exists and the keys may change places", lambda seen: set(seen.keys) == {"type", "text"}),
    ),
    Claim(
        "The SSE format rules are simple: data: prefix + JSON + two newlines (\\n\\n).",
        streaming.legal_forms,
        lambda seen: seen.by_the_rule == seen.forms,
        "Of {forms} legal forms the rule reads {by_the_rule}, the standard's parser {by_the_standard}; it misses:"
        " {missed}. What the rule writes is read: {written_read}.",
        "Write by the rule, read with `claude_lab.sse.Decoder`.",
        when=("you write; a reader needs the rest", lambda seen: seen.written_read),
    ),
    Claim(
        "Follow that format and the browser's EventSource API or most SSE clients will parse it automatically.",
        clients.event_source,
        lambda seen: seen.event_stream == "read" and seen.article_answers_get != 405,
        "Chromium's EventSource, the only client tried: {event_stream}; but it asks with GET, even when told POST"
        " ({asked_with_post}), and the article's endpoint answers GET with {article_answers_get}.",
        "`claude_lab/static/browser.js` reads a POST; `GET /chat/stream/{run}` serves an EventSource.",
        when=("the endpoint answers GET", lambda seen: seen.event_stream == "read"),
    ),
    Claim(
        "One thing to watch: anthropic.Anthropic()'s messages.stream() is a synchronous context manager.",
        streaming.managers,
        lambda seen: seen.sync_enters and not seen.sync_aenters and seen.async_aenters,
        "It can be entered with `with`: {sync_enters}, with `async with`: {sync_aenters}; AsyncAnthropic's with `async"
        " with`: {async_aenters}.",
        "The article's first listing has this very mistake; use its second.",
    ),
    Claim(
        "To avoid blocking uvicorn's event loop inside an async FastAPI route, use AsyncAnthropic instead:",
        streaming.readers,
        lambda seen: seen.async_health and not seen.sync_health,
        "/health answered during a stream: sync client {sync_health}, async client {async_health}.",
        "AsyncAnthropic with `max_retries=0`: `claude_lab.upstream`.",
    ),
    Claim(
        "With AsyncAnthropic, you won't block uvicorn's event loop.",
        streaming.readers,
        lambda seen: seen.async_health and seen.async_at_once == seen.asked,
        "{async_at_once} of {asked} streams were open at once, and /health answered meanwhile: {async_health}.",
        "The same: `claude_lab.server`.",
    ),
    Claim(
        "The sync client works fine for low-traffic early-stage projects, but production warrants the async client.",
        streaming.readers,
        lambda seen: seen.sync_at_once == seen.asked,
        "A reader alone got the text as it was written: {sync_alone}. With {asked} readers the sync client had"
        " {sync_at_once} stream open at a time; /health answered during a stream: {sync_health}.",
        "AsyncAnthropic from the first day; a second reader, or a probe, is traffic enough.",
        when=("nobody else asks while an answer streams", lambda seen: seen.sync_alone),
    ),
]
