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
from claude_lab.tuning import Estimate, Knobs

FIRST_LOOK, SLICE = 0.1, 0.02
"""Seconds of work before the first picture, and before each answer: a knob turned meanwhile waits no longer."""


class RetryTuner(anywidget.AnyWidget):
    """A widget with five sliders; `knobs`, `policy` and `to_env()` give the setting back.

    `RetryTuner(max_retries=5, limit=20)` begins elsewhere; see `tuning.Knobs` for the names and their defaults.
    """

    _esm = joined("dom.js", "tuner.js")
    _css = joined("stream.css", "tuner.css")
    setting = traitlets.Dict().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)

    def __init__(self, **knobs: Any) -> None:
        self.engine = "plain"
        self.estimate = Estimate(Knobs(**knobs))
        self.estimate.work(FIRST_LOOK)
        super().__init__(setting=asdict(self.knobs), pictures=drawn(self.estimate))
        self.on_msg(lambda _, content, buffers: self._turn(content))
        if compiled.available():
            threading.Thread(target=self._warm, name="claude-lab-tuner", daemon=True).start()

    @property
    def knobs(self) -> Knobs:
        """The setting as the sliders stand."""
        return self.estimate.knobs

    @property
    def policy(self) -> RetryPolicy:
        """The policy as the sliders stand."""
        return self.knobs.policy

    def to_env(self) -> str:
        """Return the setting as lines of a `.env` file."""
        return self.knobs.to_env()

    def _warm(self) -> None:
        """Compile the engine, which takes seconds, while the plain one answers."""
        Estimate(self.knobs, "compiled").work(0)
        self.engine = "compiled"

    def _turn(self, content: dict[str, Any]) -> None:
        """Answer a turned knob with pictures, soon and rough; asked again, without one, it sharpens them."""
        knobs = tuning.checked(content["knobs"]) if "knobs" in content else self.knobs
        self.estimate = self.estimate.turned(knobs, self.engine)
        self.setting = asdict(self.knobs)  # what another view, or a page that is loaded again, begins with
        more = self.estimate.work(SLICE)
        pictures = drawn(self.estimate)
        self.send({**content, "knobs": self.setting, "more": more, "pictures": pictures})
        if not more:
            self.pictures = pictures

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Show the widget, and the same pictures where there are no widgets."""
        shown = drawn(self.estimate)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        still = f"<p>{shown['told']}</p>{shown['waits']}{shown['success']}<pre>{shown['env']}</pre>"
        return {VIEW_MIME: view, "text/html": still, "text/plain": f"{shown['told']}\n{shown['env']}"}, {}


def drawn(estimate: Estimate) -> dict[str, str]:
    """Return the pictures, the sentence and the lines of the `.env` file."""
    return {
        "waits": tuning.waits_svg(estimate.knobs),
        "success": tuning.success_svg(estimate),
        "told": tuning.told(estimate),
        "env": estimate.knobs.to_env(),
    }
