"""The portal: one private event loop in one daemon thread, and ASGI apps served on it at 127.0.0.1.

A notebook's own loop is busy while a cell runs; everything that must go on meanwhile lives here.
The loop is made by `asyncio.Runner` with a factory of our own, so a loop policy or an `asyncio.run` that somebody
patched (nest-asyncio, uvloop) does not reach it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from claude_lab.sockets import listen

T = TypeVar("T")
TICK = 0.05
LEAVE_WITHIN = 1.5
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on every address is reached from its own machine."""
TRANSPORT = "claude_lab.transport"


class Portal:
    """One event loop in one daemon thread; `submit` and `run` hand it coroutines from any other thread."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop) -> None:
        self.pid = os.getpid()
        self._loop_factory = loop_factory
        self.failures: list[BaseException] = []
        self._ready = threading.Event()
        self.thread = threading.Thread(target=self._main, name="claude-lab-portal", daemon=True)
        self.thread.start()
        self._ready.wait()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, in this process."""
        return self.pid == os.getpid() and self.thread.is_alive()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            self.loop = runner.get_loop()
            self.loop.set_exception_handler(self._note)
            self._closing = asyncio.Event()
            self._ready.set()
            runner.run(self._closing.wait())

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what died unseen in a task, so that somebody can look: nothing is printed from this thread."""
        self.failures.append(context.get("exception") or RuntimeError(context["message"]))

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop and return at once."""
        if not self.alive:
            work.close()
            raise RuntimeError("The portal is closed; ask claude_lab.background.portal() for a new one.")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(
        self,
        work: Coroutine[Any, Any, T],
        *,
        timeout: float | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> T:
        """Run a coroutine on the loop and wait; an interrupt cancels it, and so does `timeout` (TimeoutError).

        `meanwhile` is called now and again while this thread waits.
        """
        if threading.current_thread() is self.thread:
            work.close()
            raise RuntimeError("Portal.run() was called on the portal's own thread and would wait for itself.")
        future = self.submit(work)
        try:
            return wait_for(future, timeout, meanwhile)
        except BaseException:
            future.cancel()
            raise

    def close(self, *, timeout: float = 5.0) -> None:
        """Stop the loop, cancelling what still runs on it, and wait for its thread."""
        if self.alive:
            self.loop.call_soon_threadsafe(self._closing.set)
            self.thread.join(timeout)


def wait_for(
    future: concurrent.futures.Future[T], timeout: float | None = None, meanwhile: Callable[[], object] | None = None
) -> T:
    """Wait for a future in short steps: a long wait on a lock would not hear the kernel's interrupt everywhere.

    `meanwhile` is called after each of them. The wait is on a queue: an interrupt in the midst of the future's own
    would leave its lock taken, and the portal would wait for that for ever.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    done: SimpleQueue[object] = SimpleQueue()
    future.add_done_callback(done.put)
    while True:
        try:
            done.get(timeout=TICK)
            break
        except Empty:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"Not done after {timeout} seconds.") from None
            if meanwhile is not None:
                meanwhile()
    return future.result()


def portal_log(record: logging.LogRecord) -> bool:
    """Keep what uvicorn logs on the portal's thread: a notebook shows it at `check()`, not in the middle of a cell.

    An app's failure is noted; a cancelled stream is none. What other threads log goes where it went before.
    """
    error = record.exc_info[1] if record.exc_info else None
    if "graceful shutdown exceeded" in str(record.msg) or isinstance(error, asyncio.CancelledError):
        return False  # a stop cuts what still streams: that is how it is meant
    if _portal is None or record.thread != _portal.thread.ident:
        return True
    if error is not None:
        _portal.failures.append(error)
    return False


_lock = threading.Lock()
_portal: Portal | None = None


def portal() -> Portal:
    """Return this process's portal, starting it at the first call, after a fork, and after `close`."""
    global _portal
    with _lock:
        if _portal is None or not _portal.alive:
            _portal = Portal()
        return _portal


class TransportProtocol(H11Protocol):
    """HTTP/1.1 that hands the connection's transport to the app, in `scope["extensions"]["claude_lab.transport"]`.

    ASGI alone can express neither a reset nor half a chunk; a fake that breaks on cue needs both.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wrap the app for this connection."""
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            extensions = {**scope.get("extensions", {}), TRANSPORT: transport}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = with_transport


class Served:
    """An app being served; `url` has no trailing slash. A context manager that stops it."""

    def __init__(self, server: uvicorn.Server, sock: socket.socket, on: Portal) -> None:
        self._server = server
        self._socket = sock
        self._portal = on
        self.host, self.port = sock.getsockname()[:2]
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        host = LOOPBACK_OF.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._portal.alive and self._task is not None and not self._task.done()

    async def _start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("The server stopped while starting; its app's startup failed.")
            await asyncio.sleep(0.001)

    async def _leave(self) -> None:
        """Let an app that has a `leave` tell its readers to come back, to another server: this one listens no more."""
        if (leave := getattr(self._server.config.app, "leave", None)) is None:
            return
        for server in self._server.servers:
            server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN):
                await leave()
                await asyncio.sleep(0.01)  # for the readers to be told

    async def _stop(self) -> None:
        await self._leave()
        self._server.should_exit = True
        running = list(self._server.server_state.tasks)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=2)
        if running:
            await asyncio.wait(running, timeout=1)
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def stop(self, *, timeout: float = 5.0) -> None:
        """Stop listening, cancel what still streams, and return within `timeout` seconds; twice is fine.

        On the portal's own thread, where the garbage collector may call it, it only begins to stop.
        """
        if self.alive and threading.current_thread() is self._portal.thread:
            self._portal.submit(self._stop()).add_done_callback(lambda _: self._socket.close())
            return
        if self.alive:
            self._portal.run(self._stop(), timeout=timeout)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    protocol: type[asyncio.Protocol] = H11Protocol,
    on: Portal | None = None,
) -> Served:
    """Serve an ASGI app on the portal and return once it answers.

    The socket is bound in the calling thread, so a taken port raises OSError here. `protocol` is a uvicorn HTTP
    protocol class, such as `TransportProtocol`.
    """
    sock = listen(host, port)
    logging.getLogger("uvicorn.error").addFilter(portal_log)  # once: a filter that is there is not added again
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=0,
    )
    running = on or portal()
    served = Served(uvicorn.Server(config), sock, running)
    try:
        running.run(served._start(), timeout=10)
    except BaseException:
        with contextlib.suppress(Exception):
            served.stop()
        sock.close()
        raise
    return served


def serve_alone(app: Any, *, host: str = "127.0.0.1", port: int = 0) -> Served:
    """Serve an app in a process that does nothing else: on a loop of its own, by uvloop and httptools if installed.

    What was made while starting is taken out of the garbage collector's sight, and it looks less often: events come
    and go by the hundred thousand, and hardly any is part of a cycle.
    """
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    protocol: type[asyncio.Protocol] = H11Protocol
    with contextlib.suppress(ImportError):  # there is none for Windows
        from uvloop import new_event_loop as loop_factory
    with contextlib.suppress(ImportError):
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as protocol
    served = serve(app, host=host, port=port, protocol=protocol, on=Portal(loop_factory))
    gc.freeze()
    gc.set_threshold(10_000, 200, 100)
    return served
