from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from dataclasses import asdict

import pytest

from claude_lab import tuning
from claude_lab.tuning import DAYS, FIRST, LADDER, Estimate, Knobs


def found(knobs: Knobs, seconds: float = 0.0) -> Estimate:
    """Return what so many seconds of work find."""
    estimate = Estimate(knobs)
    estimate.work(seconds)
    return estimate


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "sdk"])
@pytest.mark.parametrize("retries", [0, 1, 12])
def test_every_setting_has_its_pictures(jitter: str, retries: int) -> None:
    """Both pictures are drawn for the ends of the sliders, and are XML."""
    estimate = found(Knobs(max_retries=retries, jitter=jitter, limit=20, load=1.5))

    assert ET.fromstring(tuning.waits_svg(estimate.knobs)).tag == "svg"
    assert ET.fromstring(tuning.success_svg(estimate)).tag == "svg"
    assert "of calls succeed with" in tuning.told(estimate)


def test_more_retries_save_more_calls() -> None:
    """On the ladder success does not fall from no retry to twelve."""
    outcomes = found(Knobs(), 30).outcomes

    assert outcomes[12].success > outcomes[3].success > outcomes[0].success


def test_the_first_look_is_short_and_the_last_is_whole() -> None:
    """Without time it plays one day on three rungs; asked again and again it ends with all days on all of them."""
    estimate = Estimate(Knobs(max_retries=7))
    looks = [(estimate.work(0.0), len(estimate.known), estimate.days)]
    while looks[-1][0]:
        looks.append((estimate.work(0.005), len(estimate.known), estimate.days))

    assert looks[0] == (True, FIRST, 1)
    assert looks[-1] == (False, len(LADDER) + 1, DAYS)
    assert set(estimate.known) == {7, *LADDER}


def test_another_number_of_retries_keeps_what_is_known() -> None:
    """Only the ladder's other rungs are asked; any other knob begins afresh."""
    estimate = found(Knobs(), 30)

    assert [day for day, _ in estimate.turned(Knobs(max_retries=7), "plain").left()] == list(range(DAYS))
    assert list(estimate.turned(Knobs(max_retries=5), "plain").left()) == []
    assert estimate.turned(Knobs(base_delay=2), "plain").known == {}


def test_a_rung_never_seen_has_its_outcome_at_once() -> None:
    """With no time at all the chosen number of retries is played before the answer."""
    turned = found(Knobs(), 30).turned(Knobs(max_retries=7), "plain")
    turned.work(0.0)

    assert 7 in turned.outcomes


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

    monkeypatch.setattr(tuner, "SLICE", 30.0)

    widget._turn({"key": "a", "turn": 7, "knobs": {**asdict(Knobs()), "max_retries": 6}})

    assert widget.policy.max_retries == widget.setting["max_retries"] == 6
    assert (sent[0]["key"], sent[0]["turn"], sent[0]["more"]) == ("a", 7, False)
    assert "MAX_RETRIES=6" in sent[0]["pictures"]["env"]
    assert "MAX_RETRIES=6" in widget._repr_mimebundle_()[0]["text/plain"]
