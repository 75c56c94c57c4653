"""Spending: prices, and a ceiling that holds before anything is sent."""

from __future__ import annotations

import threading

import pytest

from claude_lab.spending import CeilingReached, Ledger, cost, price_of

MODEL = "claude-haiku-5-5"
ASK = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}


def test_a_million_tokens_cost_their_price() -> None:
    """Input, output, cache writes and cache reads each count at their own rate."""
    dear, deep = price_of(MODEL)

    assert cost(MODEL, {"input_tokens": 1_000_000}) == pytest.approx(dear)
    assert cost(MODEL, {"output_tokens": 1_000_000}) == pytest.approx(deep)
    assert cost(MODEL, {"cache_read_input_tokens": 1_000_000}) == pytest.approx(dear / 10)
    assert cost(MODEL, {"cache_creation_input_tokens": 1_000_000}) == pytest.approx(dear * 2)
    assert cost(MODEL, {"input_tokens": None, "output_tokens": 0}) == 0


def test_a_model_without_a_price_is_named() -> None:
    """What cannot be priced cannot be kept under a ceiling."""
    with pytest.raises(ValueError, match="'claude-nobody'"):
        price_of("claude-nobody")


def test_a_reservation_shrinks_to_what_was_used() -> None:
    """The worst case is held until the usage is known, and stays when it never is."""
    ledger = Ledger(1.0)
    used = {"input_tokens": 10, "output_tokens": 20}

    reserved = ledger.reserve(ASK)
    assert ledger.spent == reserved > cost(MODEL, used)
    ledger.settle(reserved, MODEL, used)
    assert ledger.spent == pytest.approx(cost(MODEL, used))

    lost = ledger.reserve(ASK)
    ledger.settle(lost, MODEL, {})
    assert ledger.spent == pytest.approx(cost(MODEL, used) + lost)


def test_the_ceiling_holds_for_many_at_once() -> None:
    """However many threads reserve together, what is reserved never passes the ceiling."""
    worst = Ledger(1.0).reserve(ASK)
    ledger, refused = Ledger(worst * 5.5), []

    def reserve() -> None:
        try:
            ledger.reserve(ASK)
        except CeilingReached as error:
            refused.append(str(error))

    threads = [threading.Thread(target=reserve) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 15
    assert ledger.spent <= worst * 5.5
    assert "max_cost" in refused[0]


def test_without_a_ceiling_nothing_is_counted() -> None:
    """None is no ceiling, also for models without a price."""
    ledger = Ledger()

    assert ledger.reserve({**ASK, "model": "claude-nobody"}) == 0
    ledger.settle(0, "claude-nobody", {"output_tokens": 1})

    assert ledger.spent == 0
