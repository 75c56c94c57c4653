"""What it costs to begin, and what a stream costs the notebook's channel: `python benchmarks/start.py`.

Ratios within one run, medians of five fresh interpreters each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 5
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
FIRST_200 = """
import time, anthropic, httpx
{}
t = time.perf_counter()
from claude_lab import Lab
lab = Lab()
httpx.get(lab.url + "/health", trust_env=False).raise_for_status()
print(time.perf_counter() - t)
lab.close()
"""
STOP = """
import time, httpx
from claude_lab import Lab
lab = Lab()
run = lab.stream("Why is the sky blue?", wait=False, view="off")
while run.ttft is None:
    time.sleep(0.01)
t = time.perf_counter()
lab.close()
print(time.perf_counter() - t)
"""


def seconds(code: str) -> float:
    """Return the median of what `code` prints, in seconds."""

    def once() -> float:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        return float(done.stdout.split()[-1])

    return statistics.median(once() for _ in range(RUNS))


def main() -> None:
    """Print the table."""
    sdk = seconds(IMPORT.format("anthropic"))
    rows = [
        ("import anthropic, the yardstick", sdk, ""),
        ("import claude_lab", seconds(IMPORT.format("claude_lab")), "150 ms"),
        ("Lab() to the first 200", seconds(FIRST_200.format("from claude_lab import Lab")), "300 ms"),
        ("the same with the import of Lab", seconds(FIRST_200.format("")), ""),
        ("close() with a stream open", seconds(STOP), "bounded"),
    ]
    print(f"{'what':<50} {'ms':>8} {'of the yardstick':>17}  goal")
    for what, took, goal in rows:
        print(f"{what:<50} {took * 1000:8.0f} {took / sdk:16.2f}x  {goal}")


if __name__ == "__main__":
    main()
