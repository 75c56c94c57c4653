"""What every test shares: outside parts that may be missing, and a portal that is clean afterwards."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import settings


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


settings.register_profile("lab", deadline=None)
settings.load_profile("lab")

LONG = 30.0
"""Seconds that are waited for what comes at once: only something that hangs takes as long."""


def soon(claim: Callable[[], bool], *, every: float = 0.005) -> bool:
    """Whether a claim comes true; it is looked at every so many seconds."""
    until, late = time.monotonic() + LONG, False
    while not claim():
        if late:
            return False
        time.sleep(every)
        late = time.monotonic() > until
    return True
