"""What travels from the kernel to the live view: frames that append, and keyframes that say everything.

A frame says where its text begins, in UTF-16 units, so that the view sees a lost one and asks for a snapshot.
Whenever the text has doubled, or begun anew, a keyframe goes instead: a view that cannot ask (the kernel is busy) is
whole again soon, for at most twice the bytes. Arrivals are `[ms since the one before, deltas, ...]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from claude_lab import still
from claude_lab.trace import Mark, Trace
from claude_lab.utf16 import Tape, crc, units, whole

FIRST_KEYFRAME = 4096
MOST_TICKS = 600
TOLD = {
    "start": ("model",),
    "retry": ("error", "attempt", "wait"),
    "reset": ("reason",),
    "resume": ("error", "attempt", "wait"),
    "error": ("error", "message", "retry_after"),
    "done": ("stop_reason",),
}


@dataclass(slots=True)
class Wire:
    """Turns marks into frames, and remembers what the views have been told."""

    tape: Tape = field(default_factory=Tape)
    thought: Tape = field(default_factory=Tape)
    frames: int = 0
    ended: dict[str, Any] | None = None
    _marks: list[list[Any]] = field(default_factory=list)
    _ticks: list[tuple[int, int]] = field(default_factory=list)
    _keyframe: int = FIRST_KEYFRAME

    def feed(self, marks: Sequence[Mark]) -> list[dict[str, Any]]:
        """Take the next marks and return the messages to send: one, and one more for each seam in them."""
        messages = [self._frame(batch) for batch in split_at_seams(marks)]
        anew = any(mark.kind == "reset" and mark.value["keep_chars"] == 0 for mark in marks)
        if messages and (anew or self.tape.units >= self._keyframe):
            self._keyframe = max(self._keyframe, 2 * self.tape.units)
            return [self.snapshot()]
        return messages

    def _frame(self, marks: Sequence[Mark]) -> dict[str, Any]:
        frame: dict[str, Any] = {"kind": "frame"}
        if marks[0].kind == "reset":
            self.tape.keep(marks[0].value["keep_chars"])
            if marks[0].value["keep_chars"] == 0:  # the thinking is void too
                self.thought.keep(0)
            frame["keep"] = self.tape.units
        frame["from"], frame["thought_from"] = self.tape.units, self.thought.units
        frame["text"] = self.tape.add("".join(mark.value for mark in marks if mark.kind == "delta"))
        frame["thinking"] = self.thought.add("".join(mark.value for mark in marks if mark.kind == "thinking"))
        known = len(self._ticks), len(self._marks)
        for mark in marks:
            self._note(mark)
        frame["ticks"] = steps(self._ticks[known[0] :], self._ticks[known[0] - 1][0] if known[0] else 0)
        frame["marks"] = self._marks[known[1] :]
        frame["ms"] = round(marks[-1].at * 1000)
        self.frames += 1
        return {name: value for name, value in frame.items() if value not in ("", [])}

    def _note(self, mark: Mark) -> None:
        ms = round(mark.at * 1000)
        if mark.kind == "delta":
            self._ticks.append((ms, 1))
        elif mark.kind in TOLD:
            value = mark.value if isinstance(mark.value, dict) else {}
            told = {name: value[name] for name in TOLD[mark.kind] if value.get(name) is not None}
            self._marks.append([ms, mark.kind, told])

    def snapshot(self) -> dict[str, Any]:
        """Return everything told so far, the end included; the arrivals are thinned to `MOST_TICKS` columns."""
        self.frames += 1
        return {
            "end": self.ended,
            "kind": "all",
            "text": self.tape.text,
            "thinking": self.thought.text,
            "ticks": steps(thinned(self._ticks), 0),
            "marks": self._marks,
        }

    def end(self, trace: Trace) -> dict[str, Any]:
        """Return the last message: what the text must measure and hash to, and the run in one line."""
        text = whole(trace.text)
        self.ended = {"kind": "end", "units": units(text), "crc": crc(text), "summary": still.summary(trace)}
        return self.ended


def split_at_seams(marks: Sequence[Mark]) -> Iterator[Sequence[Mark]]:
    """Yield the marks in batches, each `reset` first in its own."""
    start = 0
    for i, mark in enumerate(marks):
        if mark.kind == "reset" and i > start:
            yield marks[start:i]
            start = i
    if start < len(marks):
        yield marks[start:]


def steps(ticks: Sequence[tuple[int, int]], before: int) -> list[int]:
    """Return (ms, deltas) pairs as one flat list of steps; those of the same millisecond become one."""
    flat: list[int] = []
    for ms, deltas in ticks:
        if flat and ms <= before:
            flat[-1] += deltas
        else:
            flat += [max(0, ms - before), deltas]
            before = ms
    return flat


def thinned(ticks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return at most `MOST_TICKS` ticks, those that share a column summed at its first."""
    if len(ticks) <= MOST_TICKS:
        return list(ticks)
    first, width = ticks[0][0], (ticks[-1][0] - ticks[0][0]) / MOST_TICKS or 1
    tally: dict[int, tuple[int, int]] = {}
    for ms, deltas in ticks:
        column = min(int((ms - first) / width), MOST_TICKS - 1)
        at, known = tally.get(column, (ms, 0))
        tally[column] = at, known + deltas
    return list(tally.values())
