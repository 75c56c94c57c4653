"""The budget and the pacer."""

import math

import pytest

from claude_lab.thrift import Budget, Pacer, Share


def test_a_budget_bounds_retries_to_a_share_of_successes():
    """After the burst, ten successes buy one retry."""
    share = Share(Budget(ratio=0.1, burst=2))

    assert [share.spend("overloaded") for _ in range(3)] == [True, True, False]
    for _ in range(11):
        share.earn()
    assert [share.spend("overloaded") for _ in range(2)] == [True, False]


def test_a_budget_leaves_other_kinds_alone():
    """Rate limits are not in the usual budget: there a retry is how a request queues."""
    share = Share(Budget(burst=0))

    assert share.spend("rate_limit")
    assert not share.spend("server_error")


def test_a_pacer_spaces_attempts_after_its_burst():
    """Two at once, then one every half second; idle time refills the burst."""
    share = Share(pacer=Pacer(rate=2, burst=2))

    assert [share.turn(0.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert [share.turn(100.0) for _ in range(3)] == [0.0, 0.0, 0.5]


@pytest.mark.parametrize(("make", "word"), [
    (lambda: Budget(ratio=-1), "budget of ratio=-1"),
    (lambda: Budget(kinds={"tired"}), "tired"),
    (lambda: Budget(ratio=math.nan), "ratio=nan"),
    (lambda: Budget(burst="x"), "burst='x'"),
    (lambda: Budget(kinds="overloaded"), "kinds='overloaded' is no set of kinds"),
    (lambda: Pacer(rate=0), "rate=0"),
    (lambda: Pacer(rate=math.inf), "rate=inf"),
    (lambda: Pacer(rate="x"), "rate='x'"),
    (lambda: Pacer(rate=1, burst=0.5), "burst=0.5"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(make, word: str):
    """One sentence at the door."""
    with pytest.raises(ValueError, match=word):
        make()


def test_a_budget_may_keep_its_kinds_apart():
    """What overload has used up is not missing for broken connections; a success feeds both."""
    share = Share(Budget(ratio=0.5, burst=1, kinds={"overloaded", "network_error"}, apart=True))

    assert [share.spend(kind) for kind in ("overloaded", "overloaded", "network_error", "network_error")] == [
        True,
        False,
        True,
        False,
    ]
    share.earn()
    share.earn()
    assert share.spend("overloaded")
    assert share.spend("network_error")
    assert share.spend("rate_limit"), "not in the budget"
