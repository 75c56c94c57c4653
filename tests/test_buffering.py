"""`predict`: arrival staircases without running anything."""

from __future__ import annotations

import pytest

from claude_lab.buffering import Asked, Rule, predict, schedule
from claude_lab.rule import PRESETS

EVENTS = schedule(300, every=0.02, size_bytes=94)
SSE = frozenset({"text/event-stream"})


@pytest.mark.parametrize(
    ("rule", "bursts"),
    [
        (Rule.preset("article"), 300),
        (Rule.preset("nginx-1.22"), 7),
        (Rule.preset("nginx-1.30"), 300),
        (Rule.preset("nginx-1.30", tls=True), 2),
        (Rule.preset("nginx-1.30", tls=True, http2=True), 300),
        (Rule.preset("nginx-1.30", gzip=True, gzip_types=SSE), 1),
        (Rule.preset("ingress-nginx", gzip=True, gzip_types=SSE), 300),
        (Rule.preset("haproxy-like clumps"), 30),
        (Rule.preset("store-and-forward"), 1),
        (Rule.preset("jupyter-server-proxy"), 1),
    ],
)
def test_the_number_of_bursts_follows_from_the_rule(rule: Rule, bursts: int) -> None:
    """Three hundred events of 94 bytes arrive in as many bursts as the rule makes of them; none is lost."""
    trace = predict(rule, EVENTS, asked=Asked(accept_encoding="gzip"))

    assert len(trace.bursts()) == bursts
    assert len(trace.arrivals) == 300
    assert sum(mark.value for mark in trace.of("chunk")) == 300 * 94


def test_the_first_token_waits_for_a_full_buffer() -> None:
    """Framed by the close, the first event arrives when (buffer - head) / event size events have been written."""
    trace = predict(Rule(), EVENTS)
    head = len(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n")

    events = -(-(4096 - head) // 94)
    assert trace.ttft == pytest.approx((events - 1) * 0.02)


def test_a_configuration_can_be_predicted_from_its_text() -> None:
    """The text of an nginx configuration does as well as a rule."""
    text = "server { listen 443 ssl; location / { proxy_pass http://app; proxy_http_version 1.1; } }"

    assert predict(text, EVENTS).bursts() == predict(Rule(http_version="1.1", tls=True), EVENTS).bursts()


def test_the_right_accept_header_opens_jupyter_server_proxy() -> None:
    """It streams for `Accept: text/event-stream` and for nothing else."""
    rule = Rule.preset("jupyter-server-proxy")

    assert predict(rule, EVENTS, asked=Asked(accept="text/event-stream")).arrivals == [at for at, _ in EVENTS]
    assert len(set(predict(rule, EVENTS, asked=Asked(accept="*/*")).arrivals)) == 1


def test_an_unfinished_answer_still_predicts() -> None:
    """No events at all is an answer too."""
    assert predict(Rule(), []).arrivals == []


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_delivers_everything(name: str) -> None:
    """However a hop holds, the last event arrives when the upstream ends."""
    assert predict(Rule.preset(name), EVENTS).duration == EVENTS[-1][0]
