"""Thirty nginx configurations with a trap for streams, and thirty without, written for the linter's test."""

from __future__ import annotations

STREAMS = "proxy_buffering off; proxy_http_version 1.1; proxy_read_timeout 300s;"
TLS = "listen 443 ssl; ssl_certificate c.pem; ssl_certificate_key k.pem;"
TLS_HTTP2 = "listen 443 ssl http2; ssl_certificate c.pem; ssl_certificate_key k.pem;"
PASS = "proxy_pass http://127.0.0.1:8000;"


def server(location: str, *, listen: str = "listen 80;", http: str = "", path: str = "/chat/") -> str:
    """Return a whole configuration around a location's directives."""
    return f"events {{}} http {{ {http} server {{ {listen} location {path} {{ {location} }} }} }}"


BAD: list[tuple[set[str], str]] = [
    # everything by default: HTTP/1.0 upstream, buffered
    ({"held-by-buffer"}, server(PASS)),
    ({"held-by-buffer"}, server(f"{PASS} proxy_http_version 1.0;")),
    ({"held-by-buffer"}, server(f"{PASS} proxy_buffers 8 64k; proxy_buffer_size 64k;")),
    ({"held-by-buffer"}, server(f"{PASS} proxy_buffering on; proxy_read_timeout 1h;")),
    ({"held-by-buffer"}, server(f"{PASS} postpone_output 0;", path="= /chat/stream")),
    ({"held-by-buffer"}, server(f"{PASS} proxy_set_header Connection '';", path="~ ^/chat")),
    ({"held-by-buffer"}, f"location / {{ {PASS} tcp_nodelay on; }}"),
    # TLS without HTTP/2
    ({"held-by-record"}, server(f"{PASS} proxy_http_version 1.1;", listen=TLS)),
    ({"held-by-record"}, server(f"{PASS} proxy_http_version 1.1;", listen=f"listen 80; {TLS}")),
    ({"held-by-record"}, server(f"{PASS} proxy_http_version 1.1;", listen=f"{TLS} ssl_buffer_size 4k;")),
    ({"held-by-record"}, server(PASS, listen=TLS, http="proxy_http_version 1.1;")),
    ({"held-by-record", "held-by-buffer"}, server(PASS, listen=TLS)),
    ({"held-by-record"}, server(f"{PASS} proxy_http_version 1.1;", listen=f"{TLS} http2 off;")),
    # gzip over the stream
    ({"held-by-gzip"}, server(f"{PASS} proxy_http_version 1.1; gzip on; gzip_types text/event-stream;")),
    ({"held-by-gzip"}, server(f"{PASS} proxy_http_version 1.1;", http="gzip on; gzip_types *;")),
    (
        {"held-by-gzip"},
        server(f"{PASS} proxy_http_version 1.1;", http="gzip on; gzip_types text/css text/event-stream;"),
    ),
    ({"held-by-gzip", "held-by-buffer"}, server(f"{PASS} gzip on; gzip_types application/json text/event-stream;")),
    ({"held-by-gzip"}, server(f"{PASS} proxy_http_version 1.1; gzip on; gzip_types *;", listen=TLS_HTTP2)),
    # the app is not heard
    (
        {"ignored-header"},
        server(f"{PASS} proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;"),
    ),
    (
        {"ignored-header"},
        server(f"{PASS} proxy_http_version 1.1; proxy_ignore_headers Expires x-accel-buffering;"),
    ),
    (
        {"ignored-header"},
        server(f"{PASS} proxy_http_version 1.1;", http="proxy_ignore_headers X-Accel-Buffering Cache-Control;"),
    ),
    ({"unheard-abort"}, server(f"{PASS} {STREAMS} proxy_ignore_client_abort on;")),
    # a header where it does nothing
    (
        {"header-without-effect"},
        server(f"{PASS} proxy_http_version 1.1; add_header X-Accel-Buffering no;"),
    ),
    (
        {"header-without-effect"},
        server(f"{PASS} proxy_http_version 1.1; proxy_set_header X-Accel-Buffering no;"),
    ),
    (
        {"header-without-effect", "held-by-record"},
        server(f"{PASS} proxy_http_version 1.1; add_header 'X-Accel-Buffering' 'no' always;", listen=TLS),
    ),
    # timeouts and caches
    ({"short-timeout"}, server(f"{PASS} proxy_buffering off; proxy_http_version 1.1; proxy_read_timeout 10s;")),
    ({"short-timeout"}, server(f"{PASS} proxy_buffering off;", http="proxy_read_timeout 15;")),
    ({"short-timeout"}, server(f"{PASS} proxy_buffering off; proxy_read_timeout 29999ms;")),
    ({"cached-stream"}, server(f"{PASS} {STREAMS} proxy_cache zone;")),
    ({"cached-stream"}, server(f"{PASS} {STREAMS}", http="proxy_cache zone;")),
]

GOOD: list[str] = [
    server(f"{PASS} {STREAMS}"),
    server(f"{PASS} proxy_buffering off;"),
    server(f"{PASS} proxy_buffering off; proxy_http_version 1.0;"),
    server(f"{PASS} {STREAMS}", listen=TLS),
    server(f"{PASS} {STREAMS}", listen=TLS_HTTP2),
    server(f"{PASS} {STREAMS}", listen=f"listen 80; {TLS}"),
    server(f"{PASS} proxy_http_version 1.1;"),
    server(f"{PASS} proxy_http_version 1.1;", listen=TLS_HTTP2),
    server(f"{PASS} proxy_http_version 1.1;", listen=f"{TLS} http2 on;"),
    server(f"{PASS} proxy_http_version 1.1;", listen=TLS, http="http2 on;"),
    server(f"{PASS} {STREAMS} gzip on; gzip_types text/event-stream;"),
    server(f"{PASS} {STREAMS}", http="gzip on; gzip_types *;"),
    server(f"{PASS} proxy_http_version 1.1; gzip on;"),
    server(f"{PASS} proxy_http_version 1.1; gzip on; gzip_types text/plain application/json;"),
    server(f"{PASS} proxy_http_version 1.1; gzip off;", http="gzip on; gzip_types text/event-stream;"),
    server(f"{PASS} {STREAMS} proxy_ignore_headers X-Accel-Buffering;"),
    server(f"{PASS} proxy_http_version 1.1; proxy_ignore_headers Cache-Control Expires;"),
    server(f"{PASS} {STREAMS} add_header X-Accel-Buffering no;"),
    server(f"{PASS} {STREAMS} proxy_cache off;", http="proxy_cache zone;"),
    server(f"{PASS} {STREAMS} proxy_ignore_client_abort off;"),
    server(f"{PASS} proxy_buffering off; proxy_read_timeout 30s;"),
    server(f"{PASS} proxy_buffering off; proxy_read_timeout 1h;"),
    server(PASS, http="proxy_buffering off;"),
    server(PASS, http="proxy_http_version 1.1;"),
    server(f"{PASS} {STREAMS}", path="= /chat/stream"),
    server(f"{PASS} {STREAMS}", path="~ ^/chat/[a-z]+$"),
    server("root /var/www;", path="/"),
    server(f"fastcgi_pass 127.0.0.1:9000; {STREAMS}", path="/"),
    "proxy_buffering off; proxy_cache off; proxy_http_version 1.1; proxy_read_timeout 300s;",
    f"location /chat/ {{ {PASS} proxy_buffering off; proxy_cache off; proxy_set_header Connection ''; "
    "proxy_http_version 1.1; chunked_transfer_encoding on; proxy_read_timeout 300s; }",
]
