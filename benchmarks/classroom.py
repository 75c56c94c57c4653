"""A class on one host: as many kernels as students, each with a lab of its own.

python benchmarks/classroom.py [--students 40]          all stream at once
python benchmarks/classroom.py --lessons [--think 5]    each runs the three lessons, or those named behind it

A student of the lessons pauses before a cell as somebody who reads it. Every assert is judged; neither nginx, nor
Redis, nor a key is there.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbclient
import nbformat

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


LESSONS = ("01_streaming", "02_retry_experiments", "03_nginx_buffering")


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


def study(name: str, student: int, *, think: float) -> str:
    """Run one lesson in a kernel of its own; return "" or what went wrong."""
    book: Any = nbformat.read(Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb", 4)
    rest = random.Random(f"{name} {student}")

    def read(cell: Any, cell_index: int) -> None:
        time.sleep(rest.uniform(0, 2 * think))

    with tempfile.TemporaryDirectory() as folder:
        runner = nbclient.NotebookClient(
            book, timeout=300, kernel_name="python3", on_cell_start=read, resources={"metadata": {"path": folder}}
        )
        try:
            runner.execute()
        except Exception as error:
            return f"{name}, student {student}: {str(error).strip().splitlines()[-1]}"
    return ""


def school(lessons: Sequence[str], students: int, think: float) -> None:
    """Give lessons to a class and print who came through."""
    with tempfile.TemporaryDirectory() as bare:
        # Programs are looked for there alone: a machine on which nobody has installed anything.
        os.environ |= {"CLAUDE_LAB_VIEW": "html", "PATH": bare, "NGINX_BIN": "none"}
        os.environ.pop("ANTHROPIC_API_KEY", None)
        print(f"{students} students on {os.cpu_count()} cores, {think:g} s before a cell on average")
        for name in lessons:
            took = []
            for number in (1, students):
                began = time.perf_counter()
                with ThreadPoolExecutor(number) as seats:
                    wrong = list(filter(None, seats.map(functools.partial(study, name, think=think), range(number))))
                took.append(time.perf_counter() - began)
            print(f"{name:<22} {students - len(wrong)} of {students} came through, {took[1] / took[0]:.2f} x one alone")
            print(*wrong, sep="\n", end="\n" if wrong else "")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=40)
    parser.add_argument("--lessons", nargs="*", choices=LESSONS, metavar="LESSON")
    parser.add_argument("--think", type=float, default=5.0, metavar="SECONDS")
    given = parser.parse_args()
    students = given.students
    if given.lessons is not None:
        school(given.lessons or LESSONS, students, given.think)
        return
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
