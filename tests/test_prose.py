from __future__ import annotations

from claude_lab.prose import WIDTH, wrapped


def test_no_word_is_broken() -> None:
    """Lines end between words, stay within the width, and hold the text in its order."""
    text = "The proxy `X-Accel-Buffering: no` holds back-to-back events. " * 9

    lines = wrapped(text).splitlines()

    assert " ".join(lines) == text.strip()
    assert WIDTH - 20 < max(map(len, lines)) <= WIDTH


def test_what_has_no_space_stays_whole() -> None:
    """An address is copied from the page: it may be longer than a line."""
    address = "http://127.0.0.1:8000/" + "x" * 100

    assert address in wrapped(f"ask {address} again").splitlines()


def test_the_lines_of_an_entry_hang_under_its_text() -> None:
    """Further lines begin where the first line's text does, or as they are told to."""
    assert wrapped("word " * 40, first="  name: ").splitlines()[1].startswith("        word")
    assert wrapped("word " * 40, first="# ", rest="# ").splitlines()[1].startswith("# word")
