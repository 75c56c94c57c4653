"""`%%claude` sends a cell to Claude and streams the answer; `%claude_lab` shows what runs.

Both come with `%load_ext claude_lab`. They use the variable `lab` when the notebook has one, else a lab of their own.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from claude_lab.lab import Lab

OPTIONS = ("--model", "--system", "--max-tokens", "--into", "--lab")


@magics_class
class ClaudeMagics(Magics):
    """The two magics, and the lab they fall back on."""

    shell: Any
    own: Lab | None = None

    def lab(self, name: str | None = None) -> Lab:
        """Return the lab called `name`, else the notebook's `lab`, else one that is made here and kept.

        Raises NameError when `name` is no lab.
        """
        found = self.shell.user_ns.get(name or "lab")
        if isinstance(found, Lab):
            return found
        if name:
            raise NameError(f"{name!r} is not a Lab in this notebook; make one with {name} = Lab().")
        if self.own is None or self.own.closed:
            self.own = Lab()
        return self.own

    @magic_arguments()
    @argument("-m", "--model", help="the model to ask")
    @argument("-s", "--system", help="the system prompt, in quotes")
    @argument("-n", "--max-tokens", type=int, help="the most tokens to answer with")
    @argument("-i", "--into", metavar="NAME", help="store the Run in this variable")
    @argument("-l", "--lab", metavar="NAME", help="the Lab to use; default: the variable `lab`, else a fake one")
    @cell_magic
    def claude(self, line: str, cell: str) -> None:
        """Send the cell to Claude and stream the answer here.

        Example::

            %%claude --system "Answer in one sentence." --into run
            Why is the sky blue?
        """
        given = parse_argstring(self.claude, line)
        if given.into and not given.into.isidentifier():
            raise NameError(f"--into {given.into!r} is not a variable name; use letters, digits and underscores.")
        if not cell.strip():
            raise ValueError("The cell under %%claude is empty; write the question below the first line.")
        asked = {"system": unquoted(given.system), "model": given.model, "max_tokens": given.max_tokens}
        options = {name: value for name, value in asked.items() if value is not None}
        run = self.lab(given.lab).stream(cell.strip(), **options)
        if given.into:
            self.shell.user_ns[given.into] = run

    @line_magic
    def claude_lab(self, line: str) -> Lab:
        """Show the lab's status: url, upstream, scenario, policy, spending. Takes the name of a lab, or nothing."""
        return self.lab(line.strip() or None)


def unquoted(text: str | None) -> str | None:
    """Return `text` without the quotes that IPython's parser leaves around an argument."""
    return re.sub(r"""^(['"])(.*)\1$""", r"\2", text, flags=re.DOTALL) if text else text


def complete(shell: Any, event: Any) -> list[str]:
    """Complete the options of `%%claude`, and the names of labs after `--lab`."""
    if re.search(r"(-l|--lab)\s+\w*$", event.text_until_cursor):
        return [name for name, value in shell.user_ns.items() if isinstance(value, Lab)]
    return [option for option in OPTIONS if option.startswith(event.symbol or "--")]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magics, once however often it is loaded."""
    ipython.register_magics(ClaudeMagics)
    ipython.set_hook("complete_command", complete, str_key="%%claude")
