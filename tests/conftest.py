"""What every test shares: outside parts that may be missing, and a portal that is clean afterwards."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import NoReturn

import pytest


def need(*programs: str) -> str:
    """Return the path of the first of these programs that is installed; without one, skip.

    With `CLAUDE_LAB_NEED_ALL=1`, as in CI, a missing part is a failure.
    """
    for program in programs:
        if path := shutil.which(program):
            return path
    return lacking(f"{' or '.join(programs)} is not installed")


def lacking(reason: str) -> NoReturn:
    """Skip for want of an outside part; with `CLAUDE_LAB_NEED_ALL=1`, as in CI, that is a failure."""
    if os.environ.get("CLAUDE_LAB_NEED_ALL") == "1":
        pytest.fail(f"{reason}; CI must install it")
    pytest.skip(reason)


def soon(claim: Callable[[], bool], *, within: float) -> bool:
    """Whether a claim comes true within so many seconds."""
    until = time.monotonic() + within
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
