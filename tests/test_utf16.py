from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from claude_lab import utf16

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@given(anything)
def test_units_count_what_utf_16_needs(text: str) -> None:
    """The length in units is half the bytes of UTF-16, emoji and lone surrogates included."""
    assert utf16.units(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(anything, st.lists(st.integers(0, 40)))
def test_a_text_cut_anywhere_reads_as_one(text: str, cuts: list[int]) -> None:
    """Pieces of UTF-16 cut at any unit, also within a surrogate pair, give the text back."""
    text = utf16.whole(text)
    raw = text.encode("utf-16-le")
    places = sorted({0, len(raw), *(2 * cut for cut in cuts if 2 * cut < len(raw))})
    tape = utf16.Tape()

    for start, end in pairwise(places):
        tape.add(raw[start:end].decode("utf-16-le", "surrogatepass"))

    assert tape.text == text
    assert tape.units == utf16.units(text)


def test_the_tape_is_cut_at_code_points() -> None:
    """Keeping three characters keeps three code points, and counts their units anew."""
    tape = utf16.Tape()
    tape.add("🙂🙂🙂🙂")

    tape.keep(3)

    assert (tape.text, tape.units) == ("🙂🙂🙂", 6)


def test_half_a_character_at_the_end_is_replaced() -> None:
    """A surrogate whose other half never came is safe to encode."""
    assert utf16.whole("a\ud83d").encode() == "a\ufffd".encode()
