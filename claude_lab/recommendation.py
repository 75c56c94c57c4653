"""The setting to take to production: the cheapest that meets the goal, raced on some days, tried on others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from itertools import compress
from typing import Any

import numpy as np

from claude_lab.model import traffic_of
from claude_lab.plan import plan_of
from claude_lab.prose import wrapped
from claude_lab.racing import FRESH, FRESH_FROM, Goal, Measured, Race, scaled
from claude_lab.retry import Pacer, RetryPolicy
from claude_lab.scenario import Scenario

ENV = {"max_retries": "MAX_RETRIES", "base_delay": "BASE_DELAY", "max_delay": "MAX_DELAY", "jitter": "JITTER"}
ENV_IF_SET = {"max_retry_after": "MAX_RETRY_AFTER", "deadline": "RETRY_DEADLINE"}


def line_of(name: str, value: Any) -> str:
    """Return the `.env` line of a policy's further field, or a comment where only code can set it."""
    env = ENV_IF_SET.get(name) if value is not None else None
    return f"{env}={value}" if env else f"# in code only: {name}={value!r}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer: a `policy` with its provenance, or None and the reason why no setting does.

    `judged` are the race's `candidates` in their order, measured on fresh days; `winner` is one of them.
    `runner_ups` meet the goal too, and cost the same as far as the days can tell. `robust` measures the winner under
    20 % more and less load and limits. `verification` compares it with the real SDK, row by row.
    """

    scenario: Scenario
    goal: Goal
    raced: int
    winner: Measured | None
    candidates: list[Measured]
    judged: list[Measured]
    runner_ups: list[Measured]
    robust: dict[str, Measured]
    paced: Measured | None
    axes: list[str]
    verification: Any = None

    @property
    def policy(self) -> RetryPolicy:
        """The recommended policy. Raises LookupError, with the reason, when no setting meets the goal."""
        if self.winner is None:
            raise LookupError(self.why)
        return self.winner.policy

    @property
    def hash(self) -> str:
        """Eight digits that identify the scenario."""
        return blake2b(repr(self.scenario).encode(), digest_size=4).hexdigest()

    @property
    def load(self) -> float:
        """The calls asked for over what the limits let through; 0 without limits."""
        traffic = traffic_of(self.scenario)
        capacity = plan_of(self.scenario, traffic).capacity
        return traffic.rpm / 60 / capacity if capacity else 0.0

    def named(self, policy: RetryPolicy) -> str:
        """Return a policy by its swept fields."""
        return ", ".join(f"{name}={getattr(policy, name)!r}" for name in self.axes)

    @property
    def why(self) -> str:
        """One paragraph in lines: what was chosen, against what, and how sure that is."""
        return wrapped(self._chosen() if self.winner else self._none())

    def _chosen(self) -> str:
        best = self.winner
        assert best is not None
        said = [
            f"Of {self.raced} settings {self.named(best.policy)} is the cheapest that meets {self.goal}:",
            f"success {best.success}, in time {best.in_time}, {best.cost} attempts per success,",
            f"over {FRESH} fresh days (95 % intervals).",
        ]
        if self.runner_ups:
            others = "; ".join(self.named(each.policy) for each in self.runner_ups[:3])
            said.append(f"As far as these days can tell, {len(self.runner_ups)} more cost the same, such as {others}.")
        if self.robust:
            name, worst = min(self.robust.items(), key=lambda item: item[1].success.value)
            held = "still meets" if self.goal.met(worst.success, worst.in_time) else "misses"
            said.append(f"Under {name} success is {worst.success}, which {held} the goal.")
        if self.verification is not None:
            said.append(str(self.verification))
        return " ".join(said)

    def _none(self) -> str:
        said = [f"No setting of {self.raced} is sure to meet {self.goal}: you need capacity or pacing."]
        if self.candidates:
            top = self.candidates[0]
            said.append(f"The best, {self.named(top.policy)}, reaches {top.success}, and {top.in_time} in time.")
        if self.load:
            said.append(f"The traffic asks for {self.load:.0%} of what the limits allow; retries add no capacity.")
        if self.paced is not None:
            verb = "meets" if self.goal.met(self.paced.success, self.paced.in_time) else "does not meet"
            rate = self.paced.policy.pacer.rate * 60 if self.paced.policy.pacer else 0.0
            said.append(
                f"With each client paced at {rate:.3g} a minute success is {self.paced.success}, "
                f"and {self.paced.in_time} come in time, which {verb} the goal."
            )
        return " ".join(said)

    def to_env(self) -> str:
        """Return the lines for a `.env` file, with where they come from. Raises LookupError when no setting does."""
        policy = self.policy
        best = self.winner
        assert best is not None
        rest = [name for name in self.axes if name not in ENV]
        notes = (
            f"claude_lab sweep: scenario {self.hash}, goal {self.goal}",
            f"{FRESH} days (seeds {FRESH_FROM} to {FRESH_FROM + FRESH - 1}), 95 % intervals:",
            f"success {best.success}, in time {best.in_time},",
            f"attempts per success {best.cost}",
            "MAX_RETRIES excludes the first attempt.",
        )
        lines = [
            *(wrapped(note, first="# ", rest="# ") for note in notes),
            *(f"{env}={getattr(policy, name)}" for name, env in ENV.items()),
            *(line_of(name, getattr(policy, name)) for name in rest),
        ]
        return "\n".join(lines) + "\n"

    @property
    def meeting(self) -> list[bool]:
        """Whether each candidate surely meets the goal, both in the race and on fresh days."""
        measured = zip(self.candidates, self.judged, strict=True)
        return [all(self.goal.met(each.success, each.in_time) for each in both) for both in measured]

    def figure(self) -> Any:
        """Return the picture of the choice: every candidate's cost against its wait on the fresh days of `why`.

        The candidates that meet the goal are joined where none of them beats another, the others hollow, the winner
        starred.
        """
        from claude_lab import sweep_plots  # matplotlib takes half a second

        cost, wait = (np.array([getattr(each, name).value for each in self.judged]) for name in ("cost", "p95_ttft"))
        places = [each.policy for each in self.judged]
        left = self.raced - len(self.candidates)
        return sweep_plots.choice(
            cost,
            wait,
            np.array(self.meeting, dtype=bool),
            chosen=None if self.winner is None else places.index(self.winner.policy),
            axes=(
                f"attempts per success (cheaper is left), mean of {FRESH} fresh days",
                "p95 to first token, s, same days",
            ),
            title=self._headline(),
            note=f"goal: {self.goal}; {left} of {self.raced} settings left the race earlier and are not drawn",
        )

    def _headline(self) -> str:
        """Say what the picture shows."""
        if self.winner is None:
            return f"None of {self.raced} settings is sure to meet the goal"
        name, cost = self.named(self.winner.policy), self.winner.cost.value
        if all(each.cost.value >= cost for each in compress(self.judged, self.meeting)):
            return f"{name} is the cheapest that meets the goal"
        return f"{name} was the cheapest in the race; these days cannot tell"

    def __str__(self) -> str:
        return self.why

    def _repr_html_(self) -> str:
        env = f"<pre>{escape(self.to_env())}</pre>" if self.winner else ""
        return f"<p>{escape(self.why)}</p>{env}"


DRIFTS = {
    "20 % more load": {"load": 1.2},
    "20 % less load": {"load": 0.8},
    "20 % lower limits": {"limit": 0.8},
    "20 % higher limits": {"limit": 1.2},
}


def recommend(
    scenario: Scenario,
    policies: list[RetryPolicy],
    goal: Goal,
    *,
    verify: bool = True,
    axes: Sequence[str] = ("max_retries", "base_delay", "jitter"),
    executor: Executor | None = None,
    engine: str = "auto",
) -> Recommendation:
    """Return the cheapest policy whose bounds meet the goal, by racing: settings that cannot win stop early.

    "Cheapest" is fewest attempts per success. The winner is measured again on fresh days, tried under other loads and
    limits, and with `verify` replayed through the real SDK on virtual time.
    """
    race = Race(scenario, goal, executor, engine)
    candidates = race.run(policies)
    judged = race.judged(candidates)
    best = race.winner(candidates, judged)
    if best is None:
        return Recommendation(
            scenario, goal, len(policies), None, candidates, judged, [], {}, paced(race, candidates), list(axes)
        )
    robust = {name: race.fresh(best.policy, scaled(scenario, **drift), 11) for name, drift in DRIFTS.items()}
    checked = None
    if verify:
        from claude_lab.ladder import verify as compare  # the SDK takes a second to import

        checked = compare(scenario, best.policy, layer="sdk", seed=FRESH_FROM)
    equal = race.equals(best, candidates)
    return Recommendation(
        scenario, goal, len(policies), best, candidates, judged, equal, robust, None, list(axes), verification=checked
    )


def paced(race: Race, candidates: Sequence[Measured]) -> Measured | None:
    """Measure the best candidate with its clients paced just below the limits; None without limits."""
    traffic = traffic_of(race.scenario)
    capacity = plan_of(race.scenario, traffic).capacity
    if not capacity or not candidates:
        return None
    pacer = Pacer(rate=0.95 * capacity / traffic.clients)
    return race.fresh(candidates[0].policy.but(pacer=pacer), days=11)
