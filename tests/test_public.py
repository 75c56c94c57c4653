"""The public names, as a fresh interpreter finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import claude_lab

PACKAGE = Path(claude_lab.__file__).parent


def fresh(code: str) -> Any:
    """Run code in a new interpreter and return the JSON that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30, encoding="utf-8")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def kinds() -> dict[str, str]:
    """What each public name is, all asked of one interpreter, in the order that would hide a name behind a module."""
    return dict(
        fresh(
            "import json, types, claude_lab\n"
            "def kind(name):\n"
            "    value = getattr(claude_lab, name)\n"
            "    return 'module' if isinstance(value, types.ModuleType) else 'callable' if callable(value) else '?'\n"
            "first = {name: kind(name) for name in claude_lab.__all__}\n"
            "assert first == {name: kind(name) for name in reversed(claude_lab.__all__)}\n"
            "print(json.dumps(first))"
        )
    )


def test_the_public_names_are_few_and_sorted() -> None:
    """At most twelve names, in order, each once, and `dir` shows them."""
    assert claude_lab.__all__ == sorted(set(claude_lab.__all__))
    assert len(claude_lab.__all__) <= 12
    assert dir(claude_lab) == claude_lab.__all__


def test_every_public_name_can_be_called_or_is_a_module(kinds: dict[str, str]) -> None:
    """No name is a module in place of the callable that it stands for: only `faults` is one."""
    assert {name for name, kind in kinds.items() if kind == "module"} == {"faults"}
    assert set(kinds.values()) == {"module", "callable"}


def test_no_public_callable_shares_a_modules_name() -> None:
    """Importing a submodule binds its name in the package, over whatever stood there."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}

    assert modules & set(claude_lab.__all__) == {"faults"}


def test_the_package_alone_imports_nothing_heavy() -> None:
    """`import claude_lab` loads no SDK, no plots, no web framework: they come with what needs them."""
    loaded = set(fresh("import json, sys, claude_lab; print(json.dumps(sorted(sys.modules)))"))

    assert {"anthropic", "matplotlib", "fastapi", "numpy", "uvicorn", "IPython", "pydantic"}.isdisjoint(loaded)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy package answers like any other."""
    with pytest.raises(AttributeError, match="'nobody'"):
        claude_lab.nobody  # noqa: B018
