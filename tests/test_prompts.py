"""Prompts: what is read from a request's turns."""

from __future__ import annotations

import pytest

from claude_lab import prompts


@pytest.mark.parametrize(
    ("plea", "quoted"),
    [
        ("It was interrupted and ended with [one two]. Continue from where you left off.", "one two"),
        ('Interrupted and ended with "one two"\ncontinue from where you left off', "one two"),
        ("interrupted and ended with one. two. Continue from where you left off.", "one. two"),
        ("Continue from where you left off.", ""),
        ("continue from where you left off, interrupted and ended with one", ""),
    ],
)
def test_the_quoted_end_is_found(plea: str, quoted: str) -> None:
    """A plea to continue quotes the end between its two phrases, with or without brackets and quotes."""
    assert prompts.quoted(plea) == quoted


def test_turns_are_texts_of_one_role() -> None:
    """Strings and text blocks count, other blocks do not."""
    image = {"type": "image", "source": {}}
    text = {"type": "text", "text": "b"}
    body = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [text, image]}]}

    assert prompts.turns(body, "user") == ["a", "b"]
    assert prompts.blocks_of(body["messages"][1], "image") == [image]


def test_words_come_from_the_end() -> None:
    """Strings of a tool's input say the prompt's last two words, or "example" where it has none."""
    assert prompts.words_of("What is the weather in Zürich Oerlikon?") == "Zürich Oerlikon"
    assert prompts.words_of("?!") == "example"
