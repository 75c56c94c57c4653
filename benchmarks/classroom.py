"""A class on one host: as many kernels as students, each with a lab of its own, all streaming at once.

python benchmarks/classroom.py [--students 40]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

STUDENT = """
import json, sys
from claude_lab import Lab
lab = Lab()
lab.stream("Hello!")
print("ready", flush=True)
sys.stdin.readline()
run = lab.stream("Why is the sky blue?")
lab.check()
pages = int(open("/proc/self/statm").read().split()[1]) if sys.platform == "linux" else 0
print(json.dumps({"status": run.status, "ttft": run.ttft, "took": run.trace.duration, "pages": pages}), flush=True)
sys.stdin.readline()
"""


def begin() -> subprocess.Popen[str]:
    """Start one student's kernel."""
    environment = os.environ | {"CLAUDE_LAB_VIEW": "off"}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", STUDENT], stdin=pipe, stdout=pipe, text=True, env=environment)


def line(student: subprocess.Popen[str], text: str = "") -> str:
    """Say something to a student, and hear a line."""
    assert student.stdin is not None
    assert student.stdout is not None
    if text:
        student.stdin.write(text)
        student.stdin.flush()
    return student.stdout.readline().strip()


def lesson(students: int) -> list[dict[str, float | str]]:
    """Let so many students stream at once; return what each saw."""
    seats = [begin() for _ in range(students)]
    try:
        assert all(line(seat) == "ready" for seat in seats), "a student's lab did not start"
        for seat in seats:
            assert seat.stdin is not None
            seat.stdin.write("go\n")
            seat.stdin.flush()
        return [json.loads(line(seat)) for seat in seats]
    finally:
        for seat in seats:
            seat.communicate("end\n", timeout=30)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=40)
    students = parser.parse_args().students
    alone = lesson(1)[0]
    began = time.perf_counter()
    seen = lesson(students)
    took = time.perf_counter() - began
    whole = sum(one["status"] == "complete" for one in seen)
    size = os.sysconf("SC_PAGE_SIZE") / 2**20 if hasattr(os, "sysconf") else 0.0
    print(f"{students} students on {os.cpu_count()} cores, {took:.0f} s with starting")
    print(f"whole answers                 {whole} of {students}")
    for name, told in (("ttft", "time to first token"), ("took", "the whole answer")):
        values = [float(one[name]) for one in seen]
        ratio = statistics.median(values) / float(alone[name])
        print(f"{told:<29} {ratio:.2f} x one student alone (worst {max(values) / float(alone[name]):.2f} x)")
    print(f"memory of a student's kernel  {statistics.median(float(one['pages']) for one in seen) * size:.0f} MB")


if __name__ == "__main__":
    main()
