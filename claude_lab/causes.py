"""Why a hop holds a stream, and what to write where so that it does not: one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What holds; the value is the sentence a report prints."""

    PIPE = "a proxy collects the response in buffers"
    DEAF_PIPE = "a proxy collects the response in buffers, also when told `X-Accel-Buffering: no`"
    TLS_RECORD = "the TLS record buffer is flushed only when it is full"
    COMPRESSION = "a proxy compresses the stream and the compressor holds it back"
    CLUMPS = "a proxy releases at intervals"
    ACCEPT = "a proxy streams only for `Accept: text/event-stream`"
    METHOD = "a proxy streams only for some methods"
    SPLIT_CHUNKS = "each event waits for the next: its chunk is written in two pieces"
    STORE = "a proxy stores the whole answer before it forwards it"
    CACHE = "a cache answers in the app's place, with what it kept of an earlier answer"
    ORIGIN = "the origin itself writes late: its event loop is blocked, or its provider is bursty"
    UNREACHABLE = "no event of the probe came through"
    UNKNOWN = "cannot tell"


# cause -> proxy (as in its Server or Via header; "" for any) -> what to do
FIXES: dict[Cause, dict[str, str]] = {
    Cause.PIPE: {
        "nginx": "Send `X-Accel-Buffering: no` from the app, or set `proxy_buffering off;` in the location; "
        "`proxy_http_version 1.1;` helps too, over plain HTTP. A hop further out needs it as well: nginx removes the "
        "header unless `proxy_pass_header X-Accel-Buffering;`.",
        "": "Switch response buffering off in the proxy's route (nginx: `proxy_buffering off;`).",
    },
    Cause.DEAF_PIPE: {
        "nginx": "Set `proxy_buffering off;` in the location, or take `X-Accel-Buffering` out of "
        "`proxy_ignore_headers`; behind another nginx, which removed the header, give that one "
        "`proxy_pass_header X-Accel-Buffering;`.",
        "": "Switch response buffering off in that proxy's route.",
    },
    Cause.TLS_RECORD: {
        "": "Send `X-Accel-Buffering: no` from the app or set `proxy_buffering off;` (either flushes each record), "
        "or let clients speak HTTP/2 (`http2 on;`); a smaller `ssl_buffer_size` only makes the steps smaller.",
    },
    Cause.COMPRESSION: {
        "nginx": "Take text/event-stream out of `gzip_types`, or send `X-Accel-Buffering: no`: each piece is "
        "flushed then.",
        "varnish": "Set `beresp.do_gzip` in vcl_backend_response only where `beresp.http.Content-Type` is not "
        "text/event-stream.",
        "caddy": "Give `encode` a `match` that leaves text/event-stream out, such as "
        "`match header Content-Type text/html*`.",
        "": "Exclude text/event-stream from the proxy's compression (HAProxy: name the others in `compression type`); "
        "HAProxy and some others, not all, also heed `Cache-Control: no-transform`.",
    },
    Cause.CLUMPS: {
        "": "Make the proxy flush at once: HAProxy `option http-no-delay`; a flush interval of -1 where it has one.",
    },
    Cause.ACCEPT: {"": "Send `Accept: text/event-stream` from the client (the SDK and httpx send something else)."},
    Cause.METHOD: {"": "Ask with POST, or use a named tunnel: quick tunnels hold GET streams."},
    Cause.SPLIT_CHUNKS: {"": "Write each event, chunk framing included, with one send; or switch the buffering off."},
    Cause.STORE: {
        "lighttpd": "Set `server.stream-response-body = 2`.",
        "varnish": "Take `set beresp.do_stream = false;` out of vcl_backend_response, at least for text/event-stream.",
        "caddy": "Take `buffer_responses` (in newer versions `response_buffers`) out of reverse_proxy.",
        "mitmproxy": "Run it with `--set stream_large_bodies=1`.",
        "": "Switch on response streaming in that proxy, or take it out of the path.",
    },
    Cause.CACHE: {
        "nginx": "Set `proxy_cache off;` in the location, or leave `Cache-Control` out of `proxy_ignore_headers`.",
        "varnish": "`return (pass);` in vcl_recv for this path, or `set beresp.uncacheable = true;` in "
        "vcl_backend_response where `beresp.http.Content-Type` is text/event-stream.",
        "": "Let the cache pass POST and text/event-stream by.",
    },
    Cause.ORIGIN: {"": "Look at the app: a blocking call on its event loop, or a provider that sends in bursts."},
    Cause.UNREACHABLE: {"": "Check the URL, and that the probe's endpoint is mounted behind the chain."},
    Cause.UNKNOWN: {"": "Repeat with a --hop URL for each proxy, from the app outwards."},
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause at one place: `when` is the condition under which it shows, `evidence` what was seen.

    `cured_by` names the one change after which the same probe streamed, or is empty.
    """

    cause: Cause
    where: str
    when: str
    evidence: str
    cured_by: str = ""
    server: str = ""

    @property
    def fix(self) -> str:
        """What to do, in that proxy's own words where they are known."""
        texts = FIXES[self.cause]
        return next((text for name, text in texts.items() if name and name in self.server.lower()), texts[""])
