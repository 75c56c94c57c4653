"""The formula of a wait: how far the ceiling doubles, and how much of it is drawn.

Arithmetic on numbers only, so that a compiler takes the same source for the sweeps.
Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015; and the anthropic SDK for "sdk".
"""

from __future__ import annotations

JITTERS = ("none", "full", "equal", "decorrelated", "sdk")
FIXED = (1.0, 0.0, 0.5, 0.0, 0.75)
"""The share of each jitter's wait that is certain; the rest is drawn."""
DECORRELATED = 3
SDK = 4
MOST_DOUBLINGS = 62


def draw(jitter: int, base: float, cap: float, retries: int, last: float, chance: float) -> tuple[float, float]:
    """Return the certain and the drawn part, in seconds, of the wait after `retries` earlier ones.

    `jitter` is a place in `JITTERS`; `last` is the wait before, without the server's floor; `chance` is in [0, 1).
    """
    if jitter == DECORRELATED:
        low = min(cap, base)
        return low, min(cap, low + chance * max(0.0, 3.0 * last - low)) - low
    ceiling = min(cap, base * 2.0 ** min(retries, MOST_DOUBLINGS))
    return FIXED[jitter] * ceiling, (1.0 - FIXED[jitter]) * ceiling * chance


def above(jitter: int, floor: float, fixed: float, spread: float) -> float:
    """Return the wait in seconds when the server asked for at least `floor`; 0 if it asked for nothing."""
    if jitter == SDK and floor > 0.0:
        return floor
    return max(floor, fixed) + spread
