"""Write the tables of docs/server.md and docs/runs.md, and a picture, from the figures that the benchmarks wrote.

python benchmarks/relay.py --json docs/relay.json
python benchmarks/workers.py --json docs/workers.json
python benchmarks/runs.py --json docs/runs.json
python docs/make_server.py            writes docs/server.md, docs/server.svg and docs/runs.md
python docs/make_server.py --check    exits with 1 when the tables are not those of the figures
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OURS, THEIRS = "#0072B2", "#D55E00"
NAMES = {"article": "the article's server", "claude_lab": "this server"}


def figures(name: str) -> Any:
    """Return what a benchmark wrote."""
    return json.loads((HERE / name).read_text("utf-8"))


def relay_table(servers: dict[str, dict[str, list[float]]]) -> str:
    """Return a row a figure, a column a server: the median, and how many times less than the article's it is."""
    rows = ["| | " + " | ".join(NAMES.get(name, name) for name in servers) + " |", "|---|" + "---|" * len(servers)]
    for what in servers["article"]:
        base, cells = statistics.median(servers["article"][what]), []
        for name, rows_of in servers.items():
            if what not in rows_of:
                cells.append("not measured")
                continue
            middle = statistics.median(rows_of[what])
            ratio = f" ({base / middle:.1f}x less)" if name != "article" and middle and base / middle >= 1.05 else ""
            cells.append((f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}") + ratio)
        rows.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


GOALS = (
    ("burst: CPU seconds per 100,000 events", "at least 40 times less", lambda ours, theirs: theirs >= 40 * ours),
    ("50 paced streams: CPU seconds per 100,000 events", "at least 3.5 times less", lambda o, t: t >= 3.5 * o),
    ("first token, ms", "no worse", lambda ours, theirs: ours <= theirs),
    ("memory per open stream, KB", "at most 70", lambda ours, theirs: ours <= 70),
    ("1,000 paced streams: cut", "none", lambda ours, theirs: not ours),
    ("1,000 paced streams: /health p99, ms", "at most 50", lambda ours, theirs: ours <= 50),
)
"""A figure, what it should be in words, and whether the medians of this server and of the article's are so."""


def goals_table(servers: dict[str, dict[str, list[float]]]) -> str:
    """Return a row a goal: what was wanted, what came, and whether that is it."""
    rows = ["| | goal | came | |", "|---|---|---|---|"]
    for what, wanted, met in GOALS:
        ours, theirs = (statistics.median(servers[name][what]) for name in ("claude_lab", "article"))
        came = f"{theirs / ours:.1f} times less" if "times" in wanted else f"{ours:.3g}"
        rows.append(f"| {what} | {wanted} | {came} | {'met' if met(ours, theirs) else 'missed'} |")
    return "\n".join(rows) + "\n"


def workers_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of workers."""
    from claude_lab.workers import COLUMNS, Row

    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(text(Row(**row)) for text in COLUMNS.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def latency_table(ways: dict[str, list[float]]) -> str:
    """Return a row a way from an append to its reader: the median, and what it adds to a bare queue in the same run."""
    bare, rows = statistics.median(ways["queue"]), ["| way | median, ms | adds, ms | goal |", "|---|---|---|---|"]
    for way, rounds in ways.items():
        middle = statistics.median(rounds)
        most = {"queue": None, "memory": 0.1}.get(way, 1.0)
        goal = "" if most is None else f"below {most:g}: {'met' if middle - bare < most else 'missed'}"
        rows.append(f"| {way} | {middle:.3f} | {middle - bare:.3f} | {goal} |")
    return "\n".join(rows) + "\n"


def kills_table(told: dict[str, Any]) -> str:
    """Return what the kills came to."""
    took = told["takeover_per_lease"]
    middle, longest = statistics.median(took), max(took)
    rows = [
        f"| answers that were whole, byte for byte, with `RECOVERY={told['recovery']}` "
        f"| {told['exact']} of {told['count']} | all: {'met' if told['exact'] == told['count'] else 'missed'} |",
        f"| from the kill to the next frame, in leases of {told['lease']:g} s: median | {middle:.2f} | |",
        f"| the longest | {longest:.2f} | below 1.5: {'met' if longest < 1.5 else 'missed'} |",
    ]
    return "\n".join(["| kill -9 of the producing worker | came | goal |", "|---|---|---|", *rows]) + "\n"


def draw(servers: dict[str, dict[str, list[float]]], rows: list[dict[str, Any]]) -> None:
    """Draw what a relayed event costs, and how many streams a worker holds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    from claude_lab.workers import Row

    matplotlib.rcParams.update({"svg.hashsalt": "claude_lab", "font.size": 9, "svg.fonttype": "none"})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11.5, 3), layout="constrained")
    costs = [what for what in servers["article"] if "CPU" in what]
    bars = [
        (f"{NAMES.get(name, name)}, {what.split(':')[0]}", statistics.median(servers[name][what]) * 10, name)
        for what in costs
        for name in servers
    ]
    bar(left, [(label, value, OURS if name == "claude_lab" else THEIRS) for label, value, name in bars])
    left.set(xscale="log", xlabel="CPU, microseconds an event (log scale)")
    left.set_title("What relaying an event costs", loc="left")
    made = [Row(**row) for row in rows]
    bar(right, [(row.name, row.at_once, OURS if row.way == "async" else THEIRS) for row in made])
    right.set(xscale="log", xlabel="streams at once (log scale)")
    best, blocked = (max(row.at_once for row in made if row.way == way) for way in ("async", "sync"))
    right.set_title(f"At once: {best:.0f} streams awaited, {blocked:.1f} blocked", loc="left")
    figure.savefig(HERE / "server.svg", metadata={"Date": None})


def bar(axes: Any, rows: list[tuple[str, float, str]]) -> None:
    """Draw labeled bars, the first on top."""
    labels, values, colors = zip(*rows, strict=True)
    drawn = axes.barh(range(len(rows)), values, color=colors, height=0.7)
    axes.bar_label(drawn, [f"{value:,.3g}" for value in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> int:
    """Write or compare; return the exit code."""
    servers, rows = figures("relay.json"), figures("workers.json")
    log = figures("runs.json")
    tables = {"relay": relay_table(servers), "goals": goals_table(servers), "workers": workers_table(rows)}
    stale = put(HERE / "server.md", tables)
    stale |= put(HERE / "runs.md", {"latency": latency_table(log["latency"]), "kills": kills_table(log["kills"])})
    if "--check" in sys.argv:
        return int(stale)
    draw(servers, rows)
    return 0


def put(target: Path, tables: dict[str, str]) -> bool:
    """Write tables between their marks, unless only asked to check; return whether others stood there."""
    text = before = target.read_text("utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: made by docs/make_server.py -->\n", f"<!-- end of {name} -->\n"
        head, found, rest = text.partition(begin)
        if not found:
            raise ValueError(f"There is no place for {name!r} in {target.name}; put its two marks there.")
        text = head + begin + table + end + rest.partition(end)[2]
    if "--check" not in sys.argv:
        target.write_text(text, "utf-8")
    return text != before


if __name__ == "__main__":
    sys.exit(main())
