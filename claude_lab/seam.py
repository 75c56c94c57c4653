"""The seam between an answer that broke off and its continuation: what was said twice is found and cut.

A continuation may begin with an introduction ("Sure, continuing:"), may repeat the end of what it continues, and may
forget the white space between. `broken_at` takes the text back to where its last word began, so that the seam always
lies before white space that is known; `Seam` takes the continuation in pieces and gives it back clean.

Divergence 1 (from joining blindly): a repetition counts as one from `MINIMUM` characters on, `LETTERS` of them letters
or digits. Shorter ones come by chance ("that that"), and rules and rows of dashes repeat by nature.
"""

from __future__ import annotations

import re

MINIMUM, LETTERS = 8, 6
WORD = 40
"""So many characters a last word may have to be taken back."""
REACH = 4096
"""How far back from the end a repetition may begin, unless it is the whole text again."""
MOST, SHORT = 160, 48
"""An introduction is shorter than `MOST`; one that does not say what broke off, than `SHORT`."""

LAST_WORD = re.compile(rf"\s+\S{{1,{WORD}}}$")
SPACE = re.compile(r"\s*")
DOTS = re.compile(r"(?:\.\.\.|…) ?")
END = re.compile(r"(?:[:…]|\.\.\.|\.(?=\s))(?: |\n+)?|\n+")
BROKE = re.compile(
    r"\bwhere (?:\w+ ){1,3}?(?:left off|stopped|broke off|interrupted|cut off)\b"
    r"|\bfor the interruption\b|\bhere(?:['’]s| is) the (?:rest|remainder|continuation)\b",
    re.I,
)
GOING_ON = re.compile(r"continuing|resuming|picking up|carrying on", re.I)
OPENERS = (
    "sure",
    "certainly",
    "of course",
    "absolutely",
    "okay",
    "ok",
    "got it",
    "understood",
    "sorry",
    "apologies",
    "here",
    "let me",
    "i'll",
    "i’ll",
    "i will",
    "i'm",
    "i am",
    "continuing",
    "resuming",
    "picking up",
    "carrying on",
    "...",
    "…",
)
"""How an introduction begins, in small letters."""
OPENED = re.compile(rf"(?:{'|'.join(map(re.escape, OPENERS))})(?!\w)", re.I)


def broken_at(text: str) -> tuple[str, str]:
    """Return what to keep of a text that broke off, and the white space known to follow it.

    The last word goes, since nobody knows whether it was whole: unless it is longer than `WORD`, or all there is.
    """
    kept = text.rstrip()
    if len(kept) == len(text) and (last := LAST_WORD.search(text)) and last.start():
        kept = text[: last.start()]
        return kept, SPACE.match(text, last.start())[0]  # type: ignore[index]  # it matches nothing too
    return kept, text[len(kept) :]


def may_introduce(text: str) -> bool:
    """Tell whether a text may be the beginning of an introduction that has not ended yet."""
    small = text.lower()
    return len(small) <= MOST and any(small.startswith(each) or each.startswith(small) for each in OPENERS)


def introduction(text: str) -> int:
    """Return how many characters at the beginning of `text` only introduce what follows."""
    if dots := DOTS.match(text):
        return dots.end()
    if not OPENED.match(text):
        return 0
    for end in END.finditer(text, 0, MOST):
        words = text[: end.start()]
        if BROKE.search(words) or (GOING_ON.search(words) and len(words) <= SHORT and end[0][0] != "."):
            return end.end()
    return 0


def overlap(kept: str, text: str) -> int:
    """Return how many characters at the beginning of `text` repeat the end of `kept`; 0 when it may be chance.

    All of `kept` is found, or something in its last `REACH` characters.
    """
    sizes = range(min(len(kept), len(text), REACH), MINIMUM - 1, -1)
    whole = [len(kept)] if kept and text.startswith(kept) else []
    size = next((size for size in (*whole, *sizes) if kept.endswith(text[:size])), 0)
    return size if sum(map(str.isalnum, text[:size])) >= LETTERS else 0


def spaced(space: str, text: str, *, introduced: bool) -> str:
    """Return a continuation with the white space it must begin with: its own, if it goes on with what is known."""
    own = SPACE.match(text)[0]  # type: ignore[index]  # it matches nothing too
    if own.startswith(space) or not (introduced or space.endswith(own)):
        return text
    return space + text[len(own) :]


class Seam:
    """Joins a continuation, piece by piece, to the text that was kept; `cut` is what was taken out of it.

    Pieces are held back while they may still be an introduction, or repeat what is there. However a continuation is cut
    into pieces, it comes out the same.
    """

    def __init__(self, kept: str, space: str) -> None:
        self.kept = kept
        self.space = space
        self.cut = ""
        self.joined = False
        self._held = ""
        self._introduced = False
        self._tail = kept[-REACH:]

    def feed(self, piece: str) -> str:
        """Take the next piece and return what can be shown of the continuation; "" while it is held back."""
        if self.joined:
            return piece
        self._held += piece
        return "" if self._undecided() else self._join()

    def end(self) -> str:
        """Return what was held back, once nothing follows."""
        if self.joined:
            return ""
        self._introduce(introduction(self._held))
        return self._join()

    def _undecided(self) -> bool:
        if not self._introduced:
            size = introduction(self._held)
            if size == len(self._held) or (not size and may_introduce(self._held)):
                return True
            self._introduce(size)
        if self.kept.startswith(self._held) or self._held in self._tail:
            return True
        return not self._held[overlap(self.kept, self._held) :].strip()

    def _introduce(self, size: int) -> None:
        """Cut an introduction of that size, if there is one."""
        if size and not self._introduced:
            self._introduced = True
            self.cut, self._held = self._held[:size], self._held[size:]

    def _join(self) -> str:
        self.joined = True
        size = overlap(self.kept, self._held)
        self.cut += self._held[:size]
        rest = self._held[size:]
        return spaced(self.space, rest, introduced=self._introduced and not size) if rest.strip() else rest
