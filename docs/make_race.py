"""Make `race.svg`, one answer through two proxies with its arrivals below: python docs/make_race.py [--check].

The arrivals are predicted, so that they are the same on every machine; `--check` compares them with the picture's.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

from claude_lab import answers, messages, palette, plots, sse
from claude_lab.buffering import predict
from claude_lab.rule import Rule
from claude_lab.trace import Trace

PICTURE = Path(__file__).with_name("race.svg")
ROUTES = {"proxy_buffering on": Rule(), "proxy_buffering off": Rule(buffering=False)}
COLORS = {"proxy_buffering on": palette.ORANGE[0], "proxy_buffering off": palette.BLUE[0]}
EVERY = 0.02


def arrivals() -> dict[str, Trace]:
    """Return what each route delivers of one answer, an event every 20 ms."""
    pieces = messages.cut(answers.fill(answers.BUFFERING, 180))
    frames = [sse.encode(json.dumps({"type": "delta", "text": piece})) for piece in pieces]
    schedule = [(number * EVERY, frame) for number, frame in enumerate(frames)]
    return {label: predict(rule, schedule) for label, rule in ROUTES.items()}


def fingerprint(traces: dict[str, Trace]) -> str:
    """Return what identifies the arrivals that a picture shows."""
    told = {
        label: [(round(mark.at, 6), mark.kind, str(mark.value)) for mark in traces[label].marks] for label in traces
    }
    return sha256(json.dumps(told).encode()).hexdigest()


def draw(traces: dict[str, Trace]) -> str:
    """Return the picture: two staircases in one frame, and a row of ticks for each route below."""
    figure, (above, below) = plots.new_figure(2, height=3.9, ratios=(4, 1))
    end = max(trace.duration for trace in traces.values())
    for row, (label, trace) in enumerate(traces.items()):
        color = COLORS[label]
        plots.draw_stairs(above, trace, color=color, end=end)
        below.vlines(trace.arrivals, -row - 0.8, -row - 0.2, color=color, linewidth=1)
        below.text(
            -0.01,
            -row - 0.5,
            label,
            color=color,
            size=9,
            ha="right",
            va="center",
            transform=below.get_yaxis_transform(),
        )
    first = traces["proxy_buffering on"].ttft
    note = {"color": palette.ORANGE[0], "size": 9, "textcoords": "offset points", "annotation_clip": False}
    above.annotate(f"first text after {first:.1f} s", (first, 0), (6, 4), **note)
    above.set_title(
        "The same answer through two proxies: characters on the screen, and each arrival", size=10, loc="left"
    )
    below.set(yticks=[], ylim=(-2, 0), xlabel="seconds", xlim=(0, end * 1.01))
    below.spines["left"].set_visible(False)
    return plots.markup(figure, description=fingerprint(traces))


def main() -> int:
    """Write the picture, or say that it is stale."""
    traces = arrivals()
    if "--check" not in sys.argv:
        PICTURE.write_text(draw(traces), encoding="utf-8")
    elif fingerprint(traces) not in PICTURE.read_text(encoding="utf-8"):
        print(f"{PICTURE.name} shows other arrivals than today's; run: python docs/make_race.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
