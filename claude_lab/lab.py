"""`Lab`: a fake Claude and the server in the background, in one line; streams go through both and into a live view."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import AsyncIterable, Iterable
from dataclasses import fields
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from claude_lab import card, cells, course, presets
from claude_lab.amounts import is_amount, is_count
from claude_lab.asking import address_of, body_of
from claude_lab.background import TransportProtocol, portal, serve
from claude_lab.comparison import compare
from claude_lab.fake import FakeClaude
from claude_lab.recovery import Strategy
from claude_lab.retry import RetryPolicy
from claude_lab.run import Interrupted, Run
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.settings import LOOPBACK, Settings
from claude_lab.spending import Ledger, price_of
from claude_lab.stairs import Race, StaircaseView
from claude_lab.watched import Watched

__all__ = ["Interrupted", "Lab", "Race", "Run", "compare", "race", "watch"]

T = TypeVar("T")
Upstream = Literal["fake", "anthropic"]
Json = dict[str, Any]


class LabError(RuntimeError):
    """Something in a lab died, leaked or was cut; the message lists all of it."""


class Lab:
    """A bench: what stands upstream, the server, and the runs made on it. A context manager.

    Running its notebook cell again, edited or not, replaces it; no other cell does.

    `scenario` is a `Scenario` or the name of one of `presets.NAMED`, such as "flaky".
    `url` is a capability: it has an unguessable part, and any client works on `f"{lab.url}/chat/stream"`.
    `recovery` says what happens when an answer breaks off: "fail", "restart" or "continue"; `orphan_grace`, for how
    many seconds a run goes on that nobody reads, so that a cut reader may come back.
    With `upstream="anthropic"` the key comes from the environment, `max_cost` is a ceiling in dollars that no request
    may pass, and model and price are printed before the first request. Raises ValueError without a key, OSError when
    `port` is taken.
    """

    def __init__(
        self,
        scenario: Scenario | str | None = None,
        *,
        upstream: Upstream = "fake",
        policy: RetryPolicy | None = None,
        recovery: Strategy | None = None,
        model: str | None = None,
        max_cost: float | None = 0.25,
        orphan_grace: float = 0.0,
        port: int = 0,
        settings: Settings | None = None,
    ) -> None:
        if upstream not in ("fake", "anthropic"):
            raise ValueError(f"upstream={upstream!r} is unknown; use 'fake' or 'anthropic'.")
        if recovery not in (None, "fail", "restart", "continue"):
            raise ValueError(f"recovery={recovery!r} is unknown; use 'fail', 'restart' or 'continue'.")
        if not is_count(port, most=65535):
            raise ValueError(f"port={port!r} is no port; give 1 to 65535, or 0 for a free one.")
        if not is_amount(orphan_grace):
            raise ValueError(f"orphan_grace={orphan_grace!r} is no time; give seconds, 0 or more.")
        if model is not None and not (isinstance(model, str) and model):
            raise ValueError(f"model={model!r} is no name; give one such as 'claude-haiku-5-5', or None.")
        if not isinstance(settings, (Settings, type(None))):
            raise TypeError(f"settings={settings!r:.60} are none; use claude_lab.settings.Settings(...), or None.")
        self.ledger = Ledger(max_cost if upstream == "anthropic" else None)
        plan = scenario_of(scenario)
        self.runs: list[Run] = []
        base = settings or Settings()
        self.policy = base.policy if policy is None else RetryPolicy.of(policy)
        self.recovery = recovery or base.recovery
        self.orphan_grace = orphan_grace
        self.model = model or base.model
        self.prefix = f"/{secrets.token_urlsafe(18)}"
        self.fake = FakeClaude(plan, prefix=self.prefix).start() if upstream == "fake" else None
        try:
            self.settings = self._settings(base)
            app = create_app(self.settings, policy=self.policy, ledger=self.ledger, prefix=self.prefix)
            self.relay = app.relay
            cells.make_room(port)  # as late as can be: a lab that cannot be meant closes none
            self._before = len(portal().failures)
            self._served = serve(app, port=port, protocol=TransportProtocol)
        except BaseException:
            if self.fake is not None:
                self.fake.stop()
            raise
        self.url = self._served.url + self.prefix
        self._finalizer = weakref.finalize(self, stop_quietly, self._served, self.fake)
        cells.remember(self, port)
        threading.Thread(target=warm_up, name="claude-lab-import", daemon=True).start()

    def _settings(self, base: Settings) -> Settings:
        """Return the server's settings for what stands upstream."""
        # The lab's own runs know its unguessable URL and no token, and ask on the loopback, whatever is deployed.
        hosts = (*LOOPBACK, *base.allowed_hosts)
        changes: dict[str, Any] = {"model": self.model, "recovery": self.recovery}
        changes |= {"orphan_grace": self.orphan_grace, "token": None, "allowed_hosts": hosts, "redis_url": None}
        if self.fake is not None:
            return base.model_copy(update={**changes, "base_url": self.fake.url, "api_key": secret("fake")})
        if base.api_key is None or not base.api_key.get_secret_value():
            raise ValueError("There is no key; set ANTHROPIC_API_KEY, or use Lab() with the fake.")
        price = price_of(self.model)
        ceiling = "no ceiling" if self.ledger.ceiling is None else f"at most ${self.ledger.ceiling:.2f}"
        told = f"${price.input:.2f} in and ${price.output:.2f} out per million tokens; {ceiling}"
        print(f"{self.model}: {told} in this lab.")
        return base.model_copy(update=changes)

    def stream(
        self,
        prompt: str = "",
        *,
        wait: bool = True,
        view: str | None = None,
        through: Any = None,
        system: str | list[Json] | None = None,
        messages: list[Json] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        tools: list[Json] | None = None,
        tool_choice: Json | None = None,
        thinking: Json | None = None,
        stop_sequences: list[str] | None = None,
        cache: Literal["5m", "1h"] | None = None,
    ) -> Run:
        """Ask, show the answer as it comes, and return the `Run`.

        The fields are those of `conversation.ChatRequest`. `through` is another way to the server, such as a proxy: a
        URL or anything with a `.url`. With `wait=False` the run goes on by itself: `run.wait()`, `await run`,
        `run.stop()`. Raises ValueError for what cannot be asked.
        """
        asked: Json = {"system": system, "messages": messages, "model": model, "max_tokens": max_tokens, "tools": tools}
        asked |= {"tool_choice": tool_choice, "thinking": thinking, "stop_sequences": stop_sequences, "cache": cache}
        way = self.url if through is None else address_of(through)
        run = Run(way, body_of(prompt, asked), view=view)
        self._check_alive()
        run.show()  # the first view of a kernel takes half a second: interrupted in it, nothing has begun
        self.runs.append(run)
        run.start()
        return run.wait() if wait else run

    async def astream(self, prompt: str = "", **options: Any) -> Run:
        """Do the same in an async cell; the options are those of `stream`."""
        return await self.stream(prompt, **{**options, "wait": False})

    def _check_alive(self) -> None:
        if self.closed:
            raise LabError("This lab is closed; run the cell with Lab() again.")

    def check(self) -> None:
        """Raise LabError if anything died in the background, is still open or was cut; put it in the last cell."""
        found = [f"the portal saw {type(error).__name__}: {error}" for error in portal().failures[self._before :]]
        found += [f"{run!r} is still running" for run in self.runs if not run.done]
        found += [f"{run!r} was cut" for run in self.runs if (run.error or {}).get("error") == "truncated"]
        found += [f"a view failed: {run.view.failure}" for run in self.runs if run.view.failure]
        if self.closed and self._finalizer.alive:
            found.append("the server has stopped")
        elif self.relay.runs.open:
            found.append(f"{self.relay.runs.open} upstream(s) are still open")
        if found:
            raise LabError("; ".join(found) + ".")

    def close(self) -> None:
        """Stop the runs, the server and the fake; twice is fine."""
        for run in self.runs:
            run.stop()
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the lab was closed, by `close()` or by another run of its cell."""
        return not self._served.alive

    @property
    def facts(self) -> dict[str, str]:
        """What the status card shows."""
        policy = self.policy
        facts = {"url": self.url, "model": self.model, "retries": policy.summary}
        if self.fake is not None:
            facts |= {"upstream": "a fake Claude: no key, no network, no cost", "scenario": told(self.fake.scenario)}
        else:
            spent = card.spent(self.ledger.spent, self.ledger.ceiling)
            facts |= {"upstream": "the real API", "key": "present", "spent": spent}
        return facts | ({"warning": self.relay.warnings[-1]} if self.relay.warnings else {})

    def _title(self) -> str:
        return "claude_lab, closed" if self.closed else "claude_lab, running"

    def _repr_html_(self) -> str:
        return card.html(self._title(), self.facts, url=self.url)

    def __repr__(self) -> str:
        return card.text(self._title(), self.facts)


def scenario_of(scenario: Scenario | str | None) -> Scenario | None:
    """Return a scenario, also by its name or as JSON. Raises ValueError for neither, TypeError for anything else."""
    if isinstance(scenario, str):
        return presets.read(scenario)
    if not isinstance(scenario, (Scenario, type(None))):
        raise TypeError(f"scenario={scenario!r:.60} is not a Scenario; use Scenario(...), or a name such as 'flaky'.")
    return scenario


def secret(text: str) -> Any:
    """Return a value that shows itself to nobody."""
    from pydantic import SecretStr

    return SecretStr(text)


def told(scenario: Scenario) -> str:
    """Return what differs from a plain scenario, in a few words."""
    plain = Scenario()
    names = [field.name for field in fields(scenario) if field.repr]
    changed = [name for name in names if getattr(scenario, name) != getattr(plain, name)]
    return ", ".join(f"{name}={getattr(scenario, name)!r:.60}" for name in changed) or "plain: no faults, no limits"


def warm_up() -> None:
    """Import the SDK while nobody waits for it."""
    import claude_lab.upstream  # noqa: F401


def stop_quietly(served: Any, fake: FakeClaude | None) -> None:
    """Stop what a lab started, also when it is collected or the interpreter ends."""
    served.stop()
    if fake is not None:
        fake.stop()


def watch(source: Iterable[T] | AsyncIterable[T], *, title: str = "") -> Watched[T]:
    """Return an iterator over `source`, of text or SDK events, that shows what passes: tqdm for token streams.

    Stop acts at once on an async source, at the next item on a blocking one.
    """
    return Watched(source, title=title)


def race(prompt: str, **urls: Any) -> Race:
    """Put one question through several routes at once: `race("...", direct=lab, buffered=proxy)`.

    A route is a URL or anything with a `.url`. Arrivals are shown as they come. Returns a trace for each label; a
    route that fails says why in its row, and has the `error` in its trace. Raises ValueError without a route, for one
    that has no URL, and for what cannot be asked.
    """
    if not urls:
        raise ValueError("There is no route to race; name some, such as direct=lab.")
    addresses, body = {label: address_of(route, label) for label, route in urls.items()}, body_of(prompt, {})
    view = StaircaseView(title=prompt).show()
    try:
        traces = course.ask_through(addresses, body, watching=view.watch)
    finally:
        view.freeze()
    return Race(traces, shown=view.shown)
