"""A call or a stream against a script of faults, with the real SDK and on virtual time: hours of waiting in a moment.

    rehearse(lambda client: client.messages.create(**ask), faults.RateLimited(retry_after=7))

What is rehearsed is the reader's own code; the fake, the in-memory transport and the clock are the plumbing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from claude_lab import clock
from claude_lab.fake import FakeClaude
from claude_lab.faults import Fault
from claude_lab.scenario import Scenario
from claude_lab.transport import StreamingASGI


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How it ended: "answered" or the name of the error, after so many virtual seconds and requests upstream.

    `value` is what the call returned, or the text that a stream brought, whole or not.
    """

    ending: str
    after: float
    requests: int
    value: Any = None

    def __str__(self) -> str:
        asked = f"{self.requests} request{'s' if self.requests != 1 else ''}"
        return f"{self.ending} after {asked} and {self.after:,.2f} virtual seconds"


def rehearse(ask: Callable[[Any], Any], *script: Fault, answer: str | None = None, **options: Any) -> Rehearsed:
    """Run `ask(client)` against a fake that plays `script` and then answers, with `answer` if it is given.

    `ask` returns an awaitable, or an async iterator of text; `client` is an `AsyncAnthropic`, and `options` are its
    own, such as `max_retries=0`. Whatever is raised becomes the ending. Works in a notebook's cell as well.
    """
    import anthropic
    import httpx2

    fake = FakeClaude(Scenario(script, pace="instant", answer=answer))
    transport = StreamingASGI(fake.app)

    async def main() -> tuple[str, float, Any]:
        pieces: list[str] = []
        began, value = clock.now(), None
        async with httpx2.AsyncClient(transport=transport) as http:
            client = anthropic.AsyncAnthropic(api_key="none", base_url="http://fake", http_client=http, **options)
            try:
                asked = ask(client)
                if isinstance(asked, AsyncIterator):
                    async for piece in asked:
                        pieces.append(piece)
                else:
                    value = await asked
                ending = "answered"
            except Exception as error:
                ending = type(error).__name__
        return ending, clock.now() - began, "".join(pieces) or value

    ending, after, value = clock.run_virtual(main())
    return Rehearsed(ending, after, len(fake.requests), value)
