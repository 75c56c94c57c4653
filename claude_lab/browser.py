"""`BrowserClient`: two ways to read a stream in the browser, side by side, on the same bytes.

The left one splits each chunk it is handed into events, as many examples do; the right one keeps what is unfinished
until the rest has come. As long as chunks end where events end they look the same.
"""

from __future__ import annotations

import anywidget
import traitlets

from claude_lab.assets import joined
from claude_lab.relay import Relay


class BrowserClient(anywidget.AnyWidget):
    """A widget that asks `url` (a lab's, or a proxy's) from the cell's own browser, twice in one.

    `cut_bytes` cuts the chunks on their way, as a network may; None passes them on as they come. `close()` stops the
    relay behind it.
    """

    _esm = joined("dom.js", "browser.js")
    _css = joined("stream.css", "browser.css")
    relay_url = traitlets.Unicode().tag(sync=True)
    target = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    cut_bytes = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, url: str, *, message: str = "Why is the sky blue?", cut_bytes: int | None = 256) -> None:
        target = url.rstrip("/") + "/chat/stream"
        self.relay = Relay(target, cut_bytes=cut_bytes)
        super().__init__(relay_url=self.relay.url, target=target, message=message, cut_bytes=cut_bytes)

    @traitlets.observe("cut_bytes")
    def _cut(self, change: dict[str, int | None]) -> None:
        self.relay.cut_bytes = change["new"] or None

    def close(self) -> None:
        """Close the widget, and stop its relay."""
        self.relay.stop()
        super().close()
