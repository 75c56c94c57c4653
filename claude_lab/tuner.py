"""`RetryTuner`: sliders for a retry setting; the pictures follow, and the setting leaves as lines of a `.env` file."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import anywidget
import traitlets

from claude_lab import compiled, tuning
from claude_lab.assets import joined
from claude_lab.faces import VIEW_MIME
from claude_lab.retry import RetryPolicy
from claude_lab.tuning import Knobs


class RetryTuner(anywidget.AnyWidget):
    """A widget with five sliders; `knobs`, `policy` and `to_env()` give the setting back.

    `RetryTuner(max_retries=5, limit=20)` begins elsewhere; see `tuning.Knobs` for the names and their defaults.
    """

    _esm = joined("dom.js", "tuner.js")
    _css = joined("stream.css", "tuner.css")
    setting = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)

    def __init__(self, **knobs: Any) -> None:
        self.knobs = Knobs(**knobs)
        self.engine, self.days = "plain", 2
        super().__init__(setting=asdict(self.knobs), pictures=self._drawn())
        self.on_msg(lambda _, content, buffers: self._turn(content))
        if compiled.available():
            threading.Thread(target=self._warm, name="claude-lab-tuner", daemon=True).start()

    @property
    def policy(self) -> RetryPolicy:
        """The policy as the sliders stand."""
        return self.knobs.policy

    def to_env(self) -> str:
        """Return the setting as lines of a `.env` file."""
        return self.knobs.to_env()

    def _warm(self) -> None:
        """Compile the engine, which takes seconds, while the plain one answers."""
        tuning.outcomes(self.knobs, days=1, engine="compiled")
        self.engine, self.days = "compiled", 12

    def _drawn(self) -> dict[str, str]:
        found = tuning.outcomes(self.knobs, days=self.days, engine=self.engine)
        return {
            "waits": tuning.waits_svg(self.knobs),
            "success": tuning.success_svg(self.knobs, found),
            "told": tuning.told(self.knobs, found),
            "env": self.knobs.to_env(),
        }

    def _turn(self, content: dict[str, Any]) -> None:
        """Answer a turned knob with new pictures; the browser sends the next one when it has them."""
        self.knobs = tuning.checked(content["knobs"])
        self.send({"turn": content["turn"], "pictures": self._drawn()})

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Show the widget, and the same pictures where there are no widgets."""
        drawn = self._drawn()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        still = f"<p>{drawn['told']}</p>{drawn['waits']}{drawn['success']}<pre>{drawn['env']}</pre>"
        return {VIEW_MIME: view, "text/html": still, "text/plain": f"{drawn['told']}\n{drawn['env']}"}, {}
