"""Patterns: the text that is written is found by its expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab.patterns import MOST, written

PIECES = st.sampled_from(
    ["a", "[a-z]", r"\d{3}", r"\w+", "(foo|bar)", "[^a-z]", ".", "x?", "(?:ab){2,}", r"\s", r"\.", "[A-F0-9]{4}", "é"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8))
def test_the_text_matches_its_pattern(pieces: list[str]) -> None:
    """Of any sequence of common pieces, anchored or not, the text written is one that matches."""
    pattern = f"^{''.join(pieces)}$"

    text = written(pattern)

    assert text is not None
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("pattern", ["(", "a{3000}", "((a{999}){999}){999}", "(?=b)a", r"(a)\1\1b(?<=c)"])
def test_too_clever_patterns_are_not_written(pattern: str) -> None:
    """No expression, one that asks for a text beyond measure, or one that looks around: None, at once."""
    assert written(pattern) is None
    assert MOST == 1_000
