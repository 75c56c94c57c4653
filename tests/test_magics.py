from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

lab_module = pytest.importorskip("claude_lab.lab")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An IPython shell with the extension, and a lab called `lab`."""
    from IPython.core.interactiveshell import InteractiveShell

    from claude_lab import magics

    monkeypatch.setenv("CLAUDE_LAB_VIEW", "off")
    shell = InteractiveShell()
    magics.load_ipython_extension(shell)
    shell.user_ns["lab"] = lab_module.Lab()
    yield shell
    shell.user_ns["lab"].close()
    InteractiveShell.clear_instance()


def test_a_cell_is_answered_and_kept(shell: Any) -> None:
    """The cell is the question; the run is in the variable that `--into` names."""
    shell.run_cell_magic("claude", '--into run --max-tokens 64 --system "Be brief."', "Why is the sky blue?\n")

    assert shell.user_ns["run"].text
    assert shell.user_ns["run"].trace.ended


def test_the_status_is_the_lab(shell: Any) -> None:
    """`%claude_lab` hands out the lab, whose card the notebook shows."""
    assert shell.run_line_magic("claude_lab", "") is shell.user_ns["lab"]


def test_another_lab_may_answer(shell: Any) -> None:
    """`--lab` takes a lab by its name, and says so when there is none."""
    with pytest.raises(NameError, match="'flaky' is not a Lab"):
        shell.run_cell_magic("claude", "--lab flaky", "hi")


def test_the_magics_own_lab_is_made_once_and_anew_when_it_was_closed(shell: Any) -> None:
    """Without a `lab` the cell asks a lab that is kept; running its first cell for something else may close that."""
    from claude_lab.magics import ClaudeMagics

    theirs = shell.user_ns.pop("lab")
    magics = ClaudeMagics(shell)

    with magics.lab() as first:
        assert magics.lab() is first
    with magics.lab() as second:
        assert not second.closed
    shell.user_ns["lab"] = theirs


@pytest.mark.parametrize(("line", "cell", "said"), [("", "  \n", "is empty"), ("--into 2x", "hi", "'2x' is not")])
def test_mistakes_are_answered_in_a_sentence(shell: Any, line: str, cell: str, said: str) -> None:
    """An empty cell and a bad name are refused before anything is sent."""
    with pytest.raises((ValueError, NameError), match=said):
        shell.run_cell_magic("claude", line, cell)


def test_options_are_completed(shell: Any) -> None:
    """Tab after a dash offers the options; after `--lab` the names of labs."""
    from claude_lab.magics import complete

    options = complete(shell, SimpleNamespace(text_until_cursor="%%claude --m", symbol="--m"))
    labs = complete(shell, SimpleNamespace(text_until_cursor="%%claude --lab la", symbol="la"))

    assert options == ["--model", "--max-tokens"]
    assert labs == ["lab"]
