"""A lab bench for Claude streaming: a fake Claude, the server, real proxies, and views that show every token land."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_lab import faults
    from claude_lab.diagnosis import doctor
    from claude_lab.fake import FakeClaude
    from claude_lab.lab import Lab, race, watch
    from claude_lab.retry import RetryPolicy
    from claude_lab.retrying import RetryMiddleware, call_with_retry
    from claude_lab.scenario import Scenario
    from claude_lab.sweeps import sweep
    from claude_lab.trace import Trace

__version__ = "0.1.0"
__all__ = [
    "FakeClaude",
    "Lab",
    "RetryMiddleware",
    "RetryPolicy",
    "Scenario",
    "Trace",
    "call_with_retry",
    "doctor",
    "faults",
    "race",
    "sweep",
    "watch",
]

HOMES = {
    "FakeClaude": "fake",
    "Lab": "lab",
    "RetryMiddleware": "retrying",
    "RetryPolicy": "retry",
    "Scenario": "scenario",
    "Trace": "trace",
    "call_with_retry": "retrying",
    "doctor": "diagnosis",
    "race": "lab",
    "sweep": "sweeps",
    "watch": "lab",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the package alone must cost nothing (PEP 562)."""
    if name in HOMES:
        return getattr(importlib.import_module(f"claude_lab.{HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"claude_lab.{name}")
    raise AttributeError(f"module 'claude_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(ipython: Any) -> None:
    """Load `%%claude` and `%claude_lab`."""
    from claude_lab import magics

    magics.load_ipython_extension(ipython)
