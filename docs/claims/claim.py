"""A claim of the article: its sentence, an experiment that really runs, and a rule from what came out to a verdict."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Rule = Callable[[Any], bool]
PLAIN = re.compile(r"([|*_<>\[\]\\`])")


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence on trial.

    `experiment` returns an outcome, a frozen dataclass of counts, orders and statuses: never milliseconds, so that
    it is the same on every machine. `holds` judges the outcome; where it says no, `when` may name a condition under
    which the sentence holds, with a rule of its own. `found` tells what decided, with the outcome's fields in braces.
    `beyond` names what a verdict would need that is not here; then the experiment is what could be checked instead.
    """

    quote: str
    experiment: Callable[..., Any]
    holds: Rule
    found: str
    instead: str
    when: tuple[str, Rule] | None = None
    beyond: str = ""

    def verdict(self, outcome: Any) -> str:
        """Return the verdict that follows from an outcome."""
        holds = self.holds(outcome)
        if self.beyond:
            agrees = "agrees" if holds else "speaks against it"
            return f"cannot be checked here: it takes {self.beyond}; what could be checked {agrees}"
        if holds:
            return "holds"
        if self.when is not None and self.when[1](outcome):
            return f"holds if {self.when[0]}"
        return "does not hold"

    def row(self) -> str:
        """Run the experiment and return the claim's line of the table."""
        outcome = outcome_of(self.experiment)
        what = (self.experiment.__doc__ or "").strip().splitlines()[0]
        found = self.found.format(**{field.name: shown(getattr(outcome, field.name)) for field in fields(outcome)})
        cells = (plain(self.quote), self.verdict(outcome), f"`{name(self.experiment)}`: {what} {found}", self.instead)
        return f"| {' | '.join(cells)} |"


@functools.cache
def outcome_of(experiment: Callable[[], Any]) -> Any:
    """Run an experiment once, however many claims ask."""
    return experiment()


def fields(outcome: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Return an outcome's fields."""
    return dataclasses.fields(outcome)


def name(experiment: Callable[..., Any]) -> str:
    """Return where an experiment is found: its module in this folder, and its own name."""
    return f"{experiment.__module__.rpartition('.')[2]}.{experiment.__name__}"


def shown(value: Any) -> str:
    """Write an observed value for readers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace("|", "\\|")


def plain(text: str) -> str:
    """Return a text that Markdown shows letter by letter."""
    return PLAIN.sub(r"\\\1", text)
