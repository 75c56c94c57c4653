"""A policy's faces for those who live with tenacity or stamina: the same verdicts, waits, budget and pacer.

Sources: tenacity 9's callbacks (`before`, `retry`, `wait`, `stop`) and stamina 25's `on=` hook.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from claude_lab.failure import Failure
from claude_lab.thrift import Share

Judge = Callable[[BaseException], Failure]


class Faces:
    """What a policy that can `begin` a call gives to other libraries; `failure_of` is such as `upstream.failure_of`.

    `share` is what the calls of one client have in common, a new one if none is handed in.
    """

    __slots__ = ()
    begin: Any
    share: Any
    pacer: Any

    def tenacity_kwargs(
        self,
        failure_of: Judge,
        *,
        rand: Callable[[], float],
        now: Callable[[], float],
        sleep: Callable[[float], Any] | None = None,
        share: Share | None = None,
    ) -> dict[str, Any]:
        """Return the keyword arguments that make `tenacity.retry` or `AsyncRetrying` follow this policy.

        `sleep` is `time.sleep`, or `asyncio.sleep` for coroutines. Raises ValueError for a pacer without it: tenacity
        knows no wait before the first attempt.
        """
        if self.pacer is not None and sleep is None:
            raise ValueError(f"pacer={self.pacer!r} waits before attempts; hand in sleep=time.sleep or asyncio.sleep.")
        calls: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        verdicts: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        common = share or self.share()

        def pause(state: Any) -> float:
            seconds: float = calls.setdefault(state, self.begin(now(), common)).pace(now())
            return seconds

        def before(state: Any) -> None:
            if (seconds := pause(state)) > 0 and sleep is not None:
                sleep(seconds)

        async def before_awaiting(state: Any) -> None:
            if (seconds := pause(state)) > 0 and sleep is not None:
                await sleep(seconds)

        def retry(state: Any) -> bool:
            if not state.outcome.failed:
                calls[state].succeeded()
            return state.outcome.failed and isinstance(state.outcome.exception(), Exception)

        def wait(state: Any) -> float:
            verdicts[state] = calls[state].after(failure_of(state.outcome.exception()), now=now(), rand=rand)
            return getattr(verdicts[state], "seconds", 0.0)

        return {
            "before": before_awaiting if inspect.iscoroutinefunction(sleep) else before,
            "retry": retry,
            "wait": wait,
            "stop": lambda state: not hasattr(verdicts[state], "seconds"),
            "reraise": True,
        } | ({} if sleep is None else {"sleep": sleep})

    def stamina_hook(
        self,
        failure_of: Judge,
        *,
        rand: Callable[[], float],
        now: Callable[[], float],
        share: Share | None = None,
    ) -> Callable[[Exception], bool | float]:
        """Return the `on=` hook for one `stamina.retry_context(..., attempts=None, timeout=None)`: make one a call.

        The hook hears of failures only: with a budget or a pacer hand in a `share`, wait `share.turn(now())` seconds
        before each attempt, and call `share.earn()` after a success.
        """
        call = self.begin(now(), share)

        def hook(error: Exception) -> bool | float:
            answer = call.after(failure_of(error), now=now(), rand=rand)
            seconds: bool | float = getattr(answer, "seconds", False)
            return seconds

        return hook
