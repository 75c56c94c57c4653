"""The seam: every cut of real texts, continued perfectly and imperfectly."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_lab import answers
from claude_lab.recovery import LEAST
from claude_lab.seam import MINIMUM, WORD, Seam, broken_at, introduction, overlap

MARKED = """\
Naïve 🌊 readers cut 漢字 in two.

- A list has items,
- and an item may go on
  in the next line.

    code = {"indented": [1, 2, 3]}

| a table | has rows |
| --- | --- |
| 👩‍👩‍👧 families | and an end |
"""
PROSE = [answers.STREAMING, answers.RESUMING, answers.TOKENS]
PREAMBLES = [
    "",
    "Continuing from where I left off: ",
    "Sure, continuing: ",
    "Certainly! Here's the rest of the response:\n\n",
    "I'll continue from where I left off. ",
    "Apologies for the interruption. ",
    "…",
]


def pieces(text: str, seed: int) -> Iterator[str]:
    """Cut a text into pieces of one to nine characters."""
    rng, at = random.Random(seed), 0
    while at < len(text):
        size = rng.randint(1, 9)
        yield text[at : at + size]
        at += size


def joined(seam: Seam, continuation: str, seed: int = 0) -> str:
    """Feed a continuation in pieces and return the whole text."""
    return seam.kept + "".join(seam.feed(piece) for piece in pieces(continuation, seed)) + seam.end()


@pytest.mark.parametrize("preamble", PREAMBLES)
@pytest.mark.parametrize("repeated", [0, 12, 40])
def test_every_cut_is_joined_exactly(preamble: str, repeated: int) -> None:
    """Introduced or not, repeated or not: wherever the text broke off, it is whole again, to the character."""
    for text in PROSE if repeated == 12 else [*PROSE, MARKED]:  # twelve characters of a table have hardly a letter
        for at in range(LEAST + WORD, len(text), 5 if preamble else 1):
            kept, space = broken_at(text[:at])
            blank = preamble.endswith("\n") and not text[len(kept) + len(space)].strip()
            if blank and not repeated:
                continue  # an introduction that ends in line breaks hides how many follow it

            assert joined(Seam(kept, space), preamble + text[len(kept) - repeated :], at) == text


WORDS = st.lists(
    st.sampled_from(["one", "two", "three", "four,", "\n", "\n\n", " ", "…", "Sure.", "漢字", ":", "🌊"]), max_size=24
)


@given(
    WORDS, st.sampled_from([*PREAMBLES, "Sure, let me see: ", "Okay.\n"]), WORDS, st.integers(0, 30), st.integers(0, 9)
)
@settings(max_examples=400, deadline=None)
def test_however_it_is_cut_a_continuation_comes_out_the_same(
    said: list[str], preamble: str, more: list[str], repeated: int, seed: int
) -> None:
    """Pieces or whole: the same text and the same cut; and nothing but white space is made up or lost."""
    kept, space = broken_at(" ".join(said))
    continuation = preamble + kept[len(kept) - min(repeated, len(kept)) :] + " ".join(more)

    at_once, in_pieces = Seam(kept, space), Seam(kept, space)
    whole = kept + at_once.feed(continuation) + at_once.end()
    assert joined(in_pieces, continuation, seed) == whole
    assert in_pieces.cut == at_once.cut
    shown = whole[len(kept) :]
    assert continuation.startswith(at_once.cut)
    assert continuation[len(at_once.cut) :].strip() == shown.strip()


def test_a_long_repetition_of_all_is_found_and_costs_little() -> None:
    """A model that begins again at the very start is cut back to what is new, however much there is."""
    kept = " ".join(f"word {number}" for number in range(5_000))

    assert joined(Seam(kept, " "), f"{kept} and the end") == f"{kept} and the end"
    assert overlap("ab" * 20_000, "ba" * 20_000) > 0


def test_white_space_that_was_forgotten_is_restored() -> None:
    """Models seldom begin with a space; what is known to stand there is put back."""
    assert joined(Seam("It begins here", " "), "and ends there") == "It begins here and ends there"
    assert joined(Seam("def f():", "\n    "), "return 1") == "def f():\n    return 1"
    assert joined(Seam("def f():", "\n    "), "    return 1") == "def f():\n    return 1"
    assert joined(Seam("The end.", "\n"), "\n\nMore") == "The end.\n\nMore"


def test_the_last_word_is_taken_back() -> None:
    """Nobody knows whether it was whole: the seam lies before known white space, if there is any near."""
    assert broken_at("one two thr") == ("one two", " ")
    assert broken_at("one two ") == ("one two", " ")
    assert broken_at("one.\n\nTw") == ("one.", "\n\n")
    assert broken_at("one " + "x" * (WORD + 1)) == ("one " + "x" * (WORD + 1), "")
    assert broken_at("one") == ("one", "")
    assert broken_at("") == ("", "")


@pytest.mark.parametrize(
    ("kept", "continuation"),
    [
        ("He knew that", " that was it"),
        ("It said bye bye", " bye and left"),
        ("| a | b |\n| --- | --- |", " --- |\n| 1 | 2 |"),
        ("----------------", "--------\nText"),
        ("really", " really good"),
    ],
)
def test_what_repeats_by_nature_is_left_alone(kept: str, continuation: str) -> None:
    """Doubled words and rules of dashes are no repetition: what is short or has few letters stays."""
    assert overlap(kept, continuation) == 0
    assert joined(Seam(kept, ""), continuation) == kept + continuation


@pytest.mark.parametrize(
    "text",
    [
        "Sure, the sky is blue: it scatters.",
        "Let me continue with step 3:\n",
        "Here is the list:\n- one",
        "I will continue to argue. The point is",
        " Continuing: as it was",
        "Okay.",
        "oke, nobody has the rest. Then you may ask the model to continue from where it stopped,",
        "Here the rest of the house is asleep: nobody stirs.",
        "Sure, he stopped: the road ended.",
    ],
)
def test_an_answer_that_only_sounds_like_one_is_no_introduction(text: str) -> None:
    """What speaks of something else than the interruption is text of the answer."""
    assert introduction(text) == 0
    assert joined(Seam("Before", ""), text) == "Before" + text


def test_no_part_of_an_answer_is_taken_for_an_introduction() -> None:
    """Not even where answers speak of interruptions, wherever one begins to read."""
    for text in (*PROSE, answers.RETRYING, answers.CACHE, MARKED):
        assert not any(introduction(text[at:]) for at in range(len(text)))


def test_a_shorter_repetition_stands() -> None:
    """Below `MINIMUM` characters a repetition may be chance: it is left, and is the error that remains."""
    kept = "A streamed answer is one HTTP"
    short = kept[-(MINIMUM - 1) :]

    assert joined(Seam(kept, " "), f"{short} response") == f"{kept} {short} response"


def test_what_was_cut_can_be_counted() -> None:
    """The seam keeps what it took out."""
    seam = Seam("A streamed answer is one HTTP response", " ")

    assert joined(seam, "Sure, continuing: one HTTP response that takes time").endswith("response that takes time")
    assert seam.cut == "Sure, continuing: one HTTP response"


def test_a_continuation_that_says_nothing_new_is_empty() -> None:
    """One that only repeats, or only introduces, adds nothing."""
    assert joined(Seam("one two three four five", " "), "three four five") == "one two three four five"
    assert joined(Seam("one two three four five", " "), "Sure, continuing:") == "one two three four five"


def test_a_text_is_held_back_no_longer_than_it_can_be_a_repetition() -> None:
    """The first character that differs from all that came lets the text go."""
    seam = Seam("one two three four five", " ")

    assert [seam.feed(piece) for piece in (" three", " fo", "x", "es")] == ["", "", " three fox", "es"]
