"""The colors of things: one for each role of a route, on a light and on a dark page; pictures that follow the page.

`ROLES` is the one table. Figures, live views and stills ask it, so that a thing has its color wherever it is drawn. The
colors are told apart by color-blind eyes, and have a contrast of at least 4.5 to 1 on their page.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable

Shades = tuple[str, str]
"""A color on a light page, and on a dark one."""
BLUE: Shades = ("#0072b2", "#56b4e9")
ORANGE: Shades = ("#c44a08", "#ff9d6b")
GREEN: Shades = ("#117733", "#5fc27e")
PURPLE: Shades = ("#a04e86", "#e09bc8")
OCHER: Shades = ("#856600", "#d9b84a")
SLATE: Shades = ("#555a63", "#b9bec8")
GRAY: Shades = ("#6b7280", "#9aa1ab")
ROLES: tuple[tuple[Shades, str], ...] = (
    (GRAY, "sent"),
    (GREEN, "tls https"),
    (PURPLE, "gzip"),
    (ORANGE, "buffered buffer http/1.0 none"),
    (BLUE, "direct unbuffered plain http http/1.1 full run real"),
    (OCHER, "predicted"),
)
"""A color, and the words that give it to a label; the first row with such a word decides."""
SPARE = (OCHER, SLATE, BLUE, ORANGE, GREEN, PURPLE)
"""What labels without such a word get, in their order, as far as no role in the picture has it."""
INK: Shades = ("#000000", "#d5d8dd")
PAPER: Shades = ("#ffffff", "#111111")
FONT = "DejaVu Sans,sans-serif"
FOLLOWS = (INK, PAPER, BLUE, ORANGE, GREEN, PURPLE, OCHER, SLATE, GRAY)


def role(label: str) -> Shades | None:
    """Return the color of the role that a word of the label names, or None."""
    words = set(re.split(r"[^\w./]+", label.lower()))
    return next((shades for shades, names in ROLES if words & set(names.split())), None)


def shades_of(labels: Iterable[str]) -> dict[str, Shades]:
    """Return the color of each label in one picture."""
    named = {label: role(label) for label in labels}
    taken = set(named.values())
    free = itertools.cycle([shades for shades in SPARE if shades not in taken] or SPARE)
    return {label: shades or next(free) for label, shades in named.items()}


def source(svg: str) -> str:
    """Return the address of an image that is this document; viewers that refuse other spellings take base64."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def following(svg: str) -> str:
    """Return an SVG document whose colors, drawn for a light page, change where the page is dark."""
    for number, (light, _) in enumerate(FOLLOWS):
        svg = svg.replace(light, f"var(--c{number})")
    light, dark = (";".join(f"--c{n}:{shades[page]}" for n, shades in enumerate(FOLLOWS)) for page in (0, 1))
    rules = (
        f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}text{{fill:var(--c0);font-family:{FONT}}}"
    )
    head, mark, rest = svg.partition("<defs>")
    return f"{head}<style>{rules}</style>{mark}{rest}"
