"""The engine compiled: the same source as `engine`, with the functions it calls compiled too. Needs the extra `fast`.

Only what numba cannot take as it stands is written again here, and the tests hold both to equal bits: the counter's
numbers (their arguments become unsigned) and the normal quantile (Wichura's AS 241, Applied Statistics 37, 1988, which
Python's `statistics` has in C).
"""

from __future__ import annotations

import math
from functools import cache
from hashlib import blake2b
from pathlib import Path
from types import FunctionType
from typing import Any

from claude_lab import chance, engine, jitter, metrics, pacing

A = (
    2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
    13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
)  # fmt: skip
B = (
    5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
    5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0,
)  # fmt: skip
C = (
    7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
    3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
)  # fmt: skip
D = (
    1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
    0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0,
)  # fmt: skip
E = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
    0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772,
)  # fmt: skip
F = (
    2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
    0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0,
)  # fmt: skip


def ratio(above: tuple[float, ...], below: tuple[float, ...], at: float) -> tuple[float, float]:
    """Return two polynomials at a point, by Horner's rule."""
    high, low = above[0], below[0]
    for index in range(1, 8):
        high = high * at + above[index]
        low = low * at + below[index]
    return high, low


def quantile(p: float) -> float:
    """Return the standard normal quantile at `p` in (0, 1)."""
    q = p - 0.5
    if abs(q) <= 0.425:
        high, low = ratio(A, B, 0.180625 - q * q)
        return (high * q) / low
    r = math.sqrt(-math.log(p if q <= 0.0 else 1.0 - p))
    high, low = ratio(C, D, r - 1.6) if r <= 5.0 else ratio(E, F, r - 5.0)
    x = high / low
    return -x if q < 0.0 else x


def lognormal(median: float, spread: float, u: float) -> float:
    """Return `pacing.lognormal`, with the quantile above."""
    if median == 0.0 or spread == 0.0:
        return median
    return median * math.exp(spread * quantile(min(max(u, pacing.TINY), 1 - pacing.TINY)))


def available() -> bool:
    """Tell whether numba is installed, without importing it."""
    from importlib.util import find_spec

    return find_spec("numba") is not None


def rebound(function: Any, **names: Any) -> FunctionType:
    """Return a function of the same source that finds other functions under these names."""
    made = FunctionType(function.__code__, {**function.__globals__, **names})
    made.__qualname__ = f"{function.__name__}_{edition()}"
    return made


@cache
def edition() -> str:
    """Return what the sources hash to: numba's cache on disk sees only the outer function's file, so the name tells."""
    digest = blake2b(digest_size=6)
    for part in (chance, engine, metrics, jitter, pacing):
        digest.update(Path(str(part.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


@cache
def functions() -> tuple[Any, Any]:
    """Return `simulate` and `summarize`, compiled at the first call with each kind of argument.

    Raises ImportError when numba is missing; the sentence names the extra.
    """
    try:
        import numba
        import numpy as np
    except ImportError as error:
        raise ImportError("The compiled engine needs numba; install claude_lab[fast] or use engine='plain'.") from error
    jit = numba.njit(nogil=True, error_model="numpy")
    u64, mixed = numba.uint64, jit(chance.u)

    @jit
    def u(seed: Any, key: Any, attempt: Any, purpose: Any) -> Any:
        return mixed(u64(seed), u64(key), u64(attempt), u64(purpose))

    @jit
    def ranked(values: Any, places: Any) -> Any:
        parted = np.partition(np.array(values), np.array(places))
        return parted[places[0]], parted[places[1]], parted[places[2]]

    normal = jit(rebound(quantile, ratio=jit(ratio)))
    inner = {
        "u": u,
        "lognormal": jit(rebound(lognormal, quantile=normal)),
        "draw": jit(jitter.draw),
        "above": jit(jitter.above),
        "take": jit(engine.take),
        "held_back": jit(engine.held_back),
        "granted": jit(engine.granted),
        "ranked": ranked,
    }
    inner["fault_at"] = jit(rebound(engine.fault_at, u=u))
    for name in ("verdict", "answered", "broken", "patience"):
        inner[name] = jit(rebound(getattr(engine, name), **inner))
    stored = numba.njit(nogil=True, error_model="numpy", cache=True)
    return stored(rebound(engine.simulate, **inner)), stored(rebound(metrics.summarize, **inner))
