"""Spending: prices, and a ceiling that holds before anything is sent."""

from __future__ import annotations

import math
import threading
from datetime import UTC, date, datetime
from typing import Any, get_args

import pytest
from anthropic.types import Model

from claude_lab.spending import DATE, PRICES, SEEN, UNPRICED, CeilingReached, Ledger, cost, known_cost, price_of

MODEL = "claude-haiku-5-5"
ASK = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}


def test_a_million_tokens_cost_their_price() -> None:
    """Input, output, cache writes of either life and cache reads each count at their own rate."""
    price = price_of("claude-opus-5-5")
    written = {"cache_creation_input_tokens": 1_000_000}
    short = {**written, "cache_creation": {"ephemeral_5m_input_tokens": 1_000_000, "ephemeral_1h_input_tokens": 0}}

    def cost_of(usage: dict[str, Any]) -> float:
        return cost("claude-opus-5-5", usage)

    assert cost_of({"input_tokens": 1_000_000}) == pytest.approx(price.input)
    assert cost_of({"output_tokens": 1_000_000}) == pytest.approx(price.output)
    assert cost_of({"cache_read_input_tokens": 1_000_000}) == pytest.approx(price.read)
    assert cost_of(short) == pytest.approx(1.25 * price.input)
    assert cost_of(written) == pytest.approx(2 * price.input)
    assert cost_of({"input_tokens": None, "output_tokens": 0}) == 0


def test_a_long_prompt_has_the_price_of_long_prompts() -> None:
    """Every token of a request whose prompt, cache included, passes the bound costs more: its output too."""
    short = {"input_tokens": 60_000, "cache_read_input_tokens": 40_000, "output_tokens": 1000}
    long = short | {"input_tokens": 60_001}

    assert cost(MODEL, short) == pytest.approx((60_000 * 0.1 + 40_000 * 0.01 + 1000 * 0.5) / 1e6)
    assert cost(MODEL, long) == pytest.approx((60_001 * 0.5 + 40_000 * 0.05 + 1000 * 2.5) / 1e6)


def test_prices_are_whole_and_dated() -> None:
    """Reading a cache costs less than asking, asking less than answering; a model's date says nothing."""
    for price in PRICES.values():
        assert 0 < price.read < price.input < price.output
    assert price_of("claude-haiku-4-5-20251001") == price_of("claude-haiku-4-5")
    assert date.fromisoformat(SEEN) <= datetime.now(UTC).date()


def test_a_cost_that_nobody_knows_is_none() -> None:
    """Telling the cost of an answer fails for no model."""
    assert known_cost("claude-nobody", {"input_tokens": 1}) is None
    assert known_cost(MODEL, {"input_tokens": 1}) == cost(MODEL, {"input_tokens": 1})


def test_a_model_without_a_price_is_named() -> None:
    """What cannot be priced cannot be kept under a ceiling."""
    with pytest.raises(ValueError, match=f"'claude-nobody' was known on {SEEN}"):
        price_of("claude-nobody")


def test_every_model_that_the_sdk_names_has_a_price_or_is_named_as_one_without() -> None:
    """A model that comes with a new SDK is looked up before anybody asks it."""
    named = {DATE.sub("", model) for part in get_args(Model) for model in get_args(part)}

    assert named
    assert named - set(PRICES) == UNPRICED


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


@pytest.mark.parametrize("ceiling", [math.nan, math.inf, -1, -math.inf, "1", True])
def test_a_ceiling_is_an_amount_of_money(ceiling: Any) -> None:
    """What is none would hold nothing back, or everything; the error says what to give."""
    with pytest.raises(ValueError, match=r"max_cost=.*give dollars, 0 or more"):
        Ledger(ceiling)


def test_what_cannot_be_compared_with_the_ceiling_is_refused() -> None:
    """An account that came to hold NaN lets nothing through."""
    ledger = Ledger(1.0, spent=math.nan)

    with pytest.raises(CeilingReached):
        ledger.reserve(ASK)


def test_without_a_ceiling_nothing_is_counted() -> None:
    """None is no ceiling, also for models without a price."""
    ledger = Ledger()

    assert ledger.reserve({**ASK, "model": "claude-nobody"}) == 0
    ledger.settle(0, "claude-nobody", {"output_tokens": 1})

    assert ledger.spent == 0


PAGE = {"type": "document", "source": {"type": "url", "url": "https://example.com/long.pdf"}}
CALLED: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("content", "tools", "kind"),
    [
        ([PAGE], None, "document"),
        ([CALLED, {"type": "tool_result", "tool_use_id": "toolu_1", "content": [PICTURE]}], None, "image"),
        ("Hi", [{"type": "web_search_20250305", "name": "web_search"}], "web_search_20250305"),
        ([{"type": "of_tomorrow"}], None, "of_tomorrow"),
        ([{"type": "text", "text": "Hi"}], [{"name": "weather", "input_schema": {}}], None),
    ],
)
def test_what_its_bytes_do_not_bound_is_not_asked_under_a_ceiling(content: Any, tools: Any, kind: str | None) -> None:
    """A short address may stand for a thousand pages; without a ceiling it is nobody's concern."""
    request = {**ASK, "messages": [{"role": "user", "content": content}], "tools": tools}

    assert Ledger().reserve(request) == 0
    if kind is None:
        assert 0 < Ledger(ceiling=100.0).reserve(request) < 1
        return
    with pytest.raises(CeilingReached, match=f"'{kind}'"):
        Ledger(ceiling=100.0).reserve(request)
