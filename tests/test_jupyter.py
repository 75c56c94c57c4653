"""Jupyter as a proxy."""

from __future__ import annotations

import pytest

from claude_lab.jupyter import warning

BEHIND = {"x-proxycontextpath": "/user/ada/proxy/8000"}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream, */*", ""])
def test_a_client_that_jupyter_would_hold_is_warned(accept: str) -> None:
    """The proxy compares the header exactly."""
    assert "text/event-stream" in (warning({**BEHIND, "accept": accept}) or "")


def test_others_are_not_warned() -> None:
    """Neither with the right header, nor without that proxy."""
    assert warning({**BEHIND, "accept": "text/event-stream"}) is None
    assert warning({"accept": "*/*"}) is None
