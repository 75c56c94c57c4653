"""Chance by counter: a number in [0, 1) for each (seed, key, attempt, purpose), whoever asks and in whatever order.

Two settings under one seed meet the same luck (common random numbers), and every driver of a scenario draws the same
numbers without sharing a generator. The mixing is that of splitmix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014): a sum of odd multiples, then a bijective finalizer. It is written with
integers and masks alone, so that a compiler for 64-bit unsigned integers takes the same source.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import blake2b

MASK = 0xFFFF_FFFF_FFFF_FFFF
BY_SEED = 0xD1B5_4A32_D192_ED03
BY_KEY = 0x9E37_79B9_7F4A_7C15
BY_ATTEMPT = 0x8CB9_2BA7_2F3D_8DD7
BY_PURPOSE = 0xABC9_8388_FB8F_AC03
FIRST = 0xBF58_476D_1CE4_E5B9
SECOND = 0x94D0_49BB_1331_11EB
UNIT = 2.0**-53


class Purpose(IntEnum):
    """What a number is for; two purposes never share one."""

    WAIT = 0
    FAULT = 1
    POSITION = 2
    TTFT = 3
    GAP = 4
    REPLY = 5
    CUT = 6
    RETRY_AFTER = 7
    LATENCY = 8
    ARRIVAL = 9
    SIZE = 10
    CLIENT = 11
    ID = 12
    BOOTSTRAP = 13


def u(seed: int, key: int, attempt: int, purpose: int) -> float:
    """Return the number of this counter, uniform in [0, 1), with 53 bits."""
    z = (seed * BY_SEED + key * BY_KEY + attempt * BY_ATTEMPT + purpose * BY_PURPOSE) & MASK
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    return ((z ^ (z >> 31)) >> 11) * UNIT


def key(text: str | bytes) -> int:
    """Return the 64-bit key of a text, the same in every process."""
    data = text.encode() if isinstance(text, str) else text
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
