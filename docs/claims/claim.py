"""A claim of the article: its sentence, an experiment that really runs, and a rule from what came out to a verdict."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Rule = Callable[[Any], bool]
Leaning = Callable[[Any], bool | None]
PLAIN = re.compile(r"([|*_<>\[\]\\`])")


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence on trial.

    `experiment` returns an outcome, a frozen dataclass of counts, orders and statuses: never milliseconds, so that
    it is the same on every machine. `holds` judges the outcome; where it says no, `when` may name a condition under
    which the sentence holds, with a rule of its own. `found` tells what decided. Both may have the outcome's fields in
    braces. `beyond` names what a verdict would need that is not here; then the experiment is what could be checked
    instead, and `holds` may return None where that speaks neither for the sentence nor against it.
    """

    quote: str
    experiment: Callable[..., Any]
    holds: Leaning
    found: str
    instead: str
    when: tuple[str, Rule] | None = None
    beyond: str = ""

    def verdict(self, outcome: Any) -> str:
        """Return the verdict that follows from an outcome."""
        holds, condition = self.holds(outcome), ""
        if not holds and self.when is not None and self.when[1](outcome):
            condition = " if " + filled(self.when[0], outcome, " or ")
        if self.beyond:
            leaning = "leaves it open" if holds is None else "speaks against it"
            told = f"agrees{condition}" if holds or condition else leaning
            return f"cannot be checked here: it takes {self.beyond}; what could be checked {told}"
        return f"holds{condition}" if holds or condition else "does not hold"

    def row(self) -> str:
        """Run the experiment and return the claim's line of the table."""
        outcome = outcome_of(self.experiment)
        what = (self.experiment.__doc__ or "").strip().splitlines()[0]
        found = f"`{name(self.experiment)}`: {what} {filled(self.found, outcome)}"
        cells = (plain(self.quote), self.verdict(outcome), found, self.instead)
        return f"| {' | '.join(cells)} |"


@functools.cache
def outcome_of(experiment: Callable[[], Any]) -> Any:
    """Run an experiment once, however many claims ask."""
    return experiment()


def filled(text: str, outcome: Any, between: str = ", ") -> str:
    """Return a text with the outcome's fields for its braces; `between` stands between the parts of a tuple."""
    if "{" not in text:
        return text
    return text.format(**{each.name: shown(getattr(outcome, each.name), between) for each in fields(outcome)})


def fields(outcome: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Return an outcome's fields."""
    return dataclasses.fields(outcome)


def name(experiment: Callable[..., Any]) -> str:
    """Return where an experiment is found: its module in this folder, and its own name."""
    return f"{experiment.__module__.rpartition('.')[2]}.{experiment.__name__}"


def shown(value: Any, between: str = ", ") -> str:
    """Write an observed value for readers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return between.join(map(shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace("|", "\\|")


def plain(text: str) -> str:
    """Return a text that Markdown shows letter by letter."""
    return PLAIN.sub(r"\\\1", text)
