"""The client: asks a lab's server with httpx and reads the answer to its end, coming back by itself after a cut.

    for frame in ask(url, "Why is the sky blue?"):
        match frame:
            case Delta(text=text): print(text, end="")
            case Error(message=message): print(message)

The same object is read with `async for` where a loop runs. What happened, when, is in its `trace`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import httpx

from claude_lab.clock import now, sleep
from claude_lab.failure import Failure
from claude_lab.kinds import Error, Frame, Resume
from claude_lab.reading import RESUME, Reading, fail, sentence
from claude_lab.retry import RetryPolicy
from claude_lab.trace import Trace

__all__ = ["Answer", "ask", "fail", "sentence", "stream"]

CONNECT_TIMEOUT = 10.0
NEAR = 1.0
MOST_BYTES = 2**20
"""How much is read of a response without frames: a refusal is a sentence, whatever a broken server sends."""
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


class Answer:
    """One answer: iterate it, with `for` or `async for`; the last frame is a `Done` or an `Error`, and nothing raises.

    Leaving the loop early leaves the run to the server's mercy: it stops when nobody reads it for `ORPHAN_GRACE`
    seconds. Iterating again goes on where it was left.
    """

    def __init__(
        self, url: str, body: Mapping[str, Any], reading: Reading, *, token: str | None, timeout: float
    ) -> None:
        self.url = url.rstrip("/")
        self.body = dict(body)
        self.reading = reading
        self.stop_asked = False
        self.read_timeout = timeout
        self._options: dict[str, Any] = {
            "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            "trust_env": False,
            # Without TLS there is nothing to verify, and to read the certificates takes longer than a first token.
            "verify": not self.url.startswith("http://"),
            "headers": {} if token is None else {"authorization": f"Bearer {token}"},
        }
        self._read: deque[Frame] = deque()
        stopping = reading.stopping
        reading.stopping = lambda: self.stop_asked or stopping()

    @property
    def trace(self) -> Trace:
        """What happened, when."""
        return self.reading.trace

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.trace.text

    def __iter__(self) -> Iterator[Frame | Resume]:
        """Read to the end, blocking."""
        yield from self._taken()
        with httpx.Client(**self._options) as http:
            while not self.reading.ended:
                lost = Loss(self.reading, self.read_timeout)
                with lost, http.stream(**self._request()) as response:
                    if self.reading.head(response.status_code, response.headers):
                        for chunk in response.iter_bytes():
                            self._read += self.reading.feed(chunk)
                            yield from self._taken()
                            if self.reading.over:
                                break
                    else:
                        lost.refused(response, beginning(response.iter_bytes()))
                if (then := lost.verdict()) is not None:
                    yield then
                if isinstance(then, Resume):
                    time.sleep(then.wait)

    async def __aiter__(self) -> AsyncIterator[Frame | Resume]:
        """Read to the end, waiting on the running loop."""
        for frame in self._taken():
            yield frame
        async with httpx.AsyncClient(**self._options) as http:
            while not self.reading.ended:
                lost = Loss(self.reading, self.read_timeout)
                with lost:
                    async with http.stream(**self._request()) as response:
                        if self.reading.head(response.status_code, response.headers):
                            chunks = response.aiter_bytes()
                            async for chunk in chunks:
                                self._read += self.reading.feed(chunk)
                                for frame in self._taken():
                                    yield frame
                                if self.reading.over:
                                    await exhaust(chunks)
                                    break
                        else:
                            lost.refused(response, await abeginning(response.aiter_bytes()))
                if (then := lost.verdict()) is not None:
                    yield then
                if isinstance(then, Resume):
                    await sleep(then.wait)

    def _taken(self) -> Iterator[Frame]:
        """Yield what has been read; what a loop that is left here was not given, the next one is."""
        while self._read:
            yield self._read.popleft()

    def _request(self) -> dict[str, Any]:
        method, path, headers = self.reading.request()
        if method == "POST":
            self.trace.add("request", self.body)
        body = {"json": self.body} if method == "POST" else {}
        return {"method": method, "url": self.url + path, "headers": headers, **body}

    def stop(self) -> bool:
        """Ask the server to stop the run, and stop paying; return whether it heard. The loop then ends with `Done`."""
        self.stop_asked = True
        try:
            with httpx.Client(**self._options) as http:
                return http.delete(f"{self.url}/chat/stream/{self.reading.run}").is_success
        except httpx.HTTPError:
            return False

    async def astop(self) -> bool:
        """Do the same on the running loop."""
        self.stop_asked = True
        try:
            async with httpx.AsyncClient(**self._options) as http:
                return (await http.delete(f"{self.url}/chat/stream/{self.reading.run}")).is_success
        except httpx.HTTPError:
            return False


def beginning(chunks: Iterator[bytes]) -> bytes:
    """Return the beginning of a body, or all of it."""
    came = bytearray()
    for chunk in chunks:
        came += chunk
        if len(came) >= MOST_BYTES:
            break
    return bytes(came[:MOST_BYTES])


async def abeginning(chunks: AsyncIterator[bytes]) -> bytes:
    """Do the same on the running loop."""
    came = bytearray()
    async with contextlib.aclosing(chunks):  # type: ignore[type-var]  # httpx's is a generator
        async for chunk in chunks:
            came += chunk
            if len(came) >= MOST_BYTES:
                break
    return bytes(came[:MOST_BYTES])


async def exhaust(chunks: AsyncIterator[bytes]) -> None:
    """Read a body whose last frame has come to its end, which is near: httpx bears no iterator left half-way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(NEAR):
            async for _ in chunks:
                pass


class Loss:
    """Around one connection: catches how it broke, and asks the reading what to do then."""

    def __init__(self, reading: Reading, timeout: float) -> None:
        self.reading = reading
        self.timeout = timeout
        self.failure: Failure | None = None
        self.sent = True

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> bool:
        """Keep how a connection broke; let everything else pass."""
        if not isinstance(error, httpx.HTTPError):
            return False
        self.sent = not isinstance(error, UNSENT)
        if isinstance(error, httpx.TimeoutException):
            self.failure = Failure("timeout", f"Nothing came for {self.timeout:g} seconds.")
        elif self.reading.begun:
            told = f"The connection broke ({type(error).__name__}) before the answer ended."
            self.failure = Failure("truncated", told)
        else:
            self.failure = Failure("network_error", str(error) or type(error).__name__)
        return True

    def refused(self, response: httpx.Response, body: bytes) -> None:
        """Keep a response without frames."""
        self.failure = self.reading.refuse(response.status_code, response.headers, body)

    def verdict(self) -> Resume | Error | None:
        """Return what comes of it."""
        return self.reading.lost(self.failure, now=now(), rand=random.random, sent=self.sent)


def ask(
    url: str,
    message: str = "",
    *,
    token: str | None = None,
    read_timeout: float = 60.0,
    resume: RetryPolicy = RESUME,
    **fields: Any,
) -> Answer:
    """Ask the server at `url` and return the `Answer` to iterate; the request leaves at the first step.

    `fields` are the contract's others: `messages`, `system`, `model`, `max_tokens`. `read_timeout` is the longest
    silence in seconds (a server's heartbeats break it), `resume` the policy by which a cut stream is taken up again.
    """
    return Answer(url, {"message": message, **fields}, Reading(policy=resume), token=token, timeout=read_timeout)


async def stream(
    url: str,
    body: Mapping[str, Any],
    trace: Trace,
    *,
    run: str | None = None,
    token: str | None = None,
    read_timeout: float = 60.0,
    resume: RetryPolicy = RESUME,
    stopping: Callable[[], bool] = lambda: False,
) -> Trace:
    """Ask, write every frame into `trace`, and return it when the answer has ended, one way or another.

    A stream that is cut for good gets an `error` mark, `truncated`; a server that cannot be reached, or that falls
    silent for `read_timeout` seconds, `network_error` or `timeout`; a refusal, the kind of its status. Nothing is
    raised for them. `stopping` tells whether a stop was asked for elsewhere.
    """
    reading = Reading(trace, policy=resume, stopping=stopping)
    reading.run = run or reading.run
    async for _ in Answer(url, body, reading, token=token, timeout=read_timeout):
        pass
    return trace
