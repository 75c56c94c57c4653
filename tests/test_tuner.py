from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from dataclasses import asdict

import pytest

from claude_lab import tuning
from claude_lab.tuning import Knobs


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "sdk"])
@pytest.mark.parametrize("retries", [0, 1, 12])
def test_every_setting_has_its_pictures(jitter: str, retries: int) -> None:
    """Both pictures are drawn for the ends of the sliders, and are XML."""
    knobs = Knobs(max_retries=retries, jitter=jitter, limit=20, load=1.5)
    found = tuning.outcomes(knobs, days=1)

    assert ET.fromstring(tuning.waits_svg(knobs)).tag == "svg"
    assert ET.fromstring(tuning.success_svg(knobs, found)).tag == "svg"
    assert "of calls succeed with" in tuning.told(knobs, found)


def test_more_retries_save_more_calls() -> None:
    """On the ladder success does not fall from no retry to twelve."""
    found = tuning.outcomes(Knobs())

    assert found[12].success > found[3].success > found[0].success


def test_the_setting_leaves_as_env_lines() -> None:
    """The lines are those that settings read."""
    assert Knobs(max_retries=5, base_delay=0.5).to_env() == "MAX_RETRIES=5\nBASE_DELAY=0.5\nJITTER=full\n"


def test_what_no_slider_gives_is_refused() -> None:
    """A browser that sends another jitter gets nowhere."""
    given = {**asdict(Knobs()), "jitter": "some"}

    with pytest.raises(ValueError, match="jitter='some' is unknown"):
        tuning.checked(given)


def test_a_turned_knob_is_answered_with_new_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widget takes the sliders' values and sends pictures with the number of the turn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from claude_lab import tuner
    monkeypatch.setattr(tuner.compiled, "available", lambda: False)
    widget, sent = tuner.RetryTuner(max_retries=2), []
    monkeypatch.setattr(widget, "send", sent.append)

    widget._turn({"turn": 7, "knobs": {**asdict(Knobs()), "max_retries": 6}})

    assert widget.policy.max_retries == 6
    assert sent[0]["turn"] == 7
    assert "MAX_RETRIES=6" in sent[0]["pictures"]["env"]
    assert "MAX_RETRIES=6" in widget._repr_mimebundle_()[0]["text/plain"]
