"""How a command speaks: one sentence for an error, an exit code, and an end at Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import click

from claude_lab.amounts import is_amount

Command = Callable[..., Any]


class Refused(click.ClickException):
    """A command that cannot be carried out."""

    exit_code = 2


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Say what a user can mend (a taken port, a file that is none, a wrong value) without a traceback."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise Refused(f"{error.strerror or error}{where}") from None
    except ValueError as error:
        told = getattr(error, "errors", None)  # pydantic's error is a paragraph
        first = told()[0] if told is not None else None
        raise Refused(wrong(first) if first else str(error)) from None


def wrong(error: Any) -> str:
    """Return one of pydantic's errors as a sentence: our own as it stands, else with the value where it is no secret.

    An error that has no place is about all settings together, and its value holds the key.
    """
    from claude_lab.settings import SECRETS

    name = str(error["loc"][0]) if error["loc"] else ""
    if ours := error.get("ctx", {}).get("error"):
        return f"{name}: {ours}" if name else str(ours)
    shown = "" if name in {"", *SECRETS} else f", not {error['input']!r}"
    return f"{name or 'settings'}: {error['msg']}{shown}."


def wait_for(told: SimpleQueue[int]) -> int:
    """Return the first number that was told."""
    while True:
        with contextlib.suppress(Empty):
            return told.get(timeout=0.2)  # in steps: Windows hears no Ctrl-C inside a long wait


@contextlib.contextmanager
def signals() -> Iterator[SimpleQueue[int]]:
    """Yield a queue that SIGINT and SIGTERM put their numbers in, for as long as the block runs.

    A handler may interrupt this queue's own `get`; inside the `wait` of an Event its `set` would wait for ever.
    """
    told: SimpleQueue[int] = SimpleQueue()
    before = {
        number: signal.signal(number, lambda number, _: told.put(number)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve_until_stopped(start: Callable[[], Any]) -> None:
    """Start a server, say where it listens, and stop it at the first SIGINT or SIGTERM."""
    with signals() as told:
        with one_sentence():
            server = start()
        try:
            click.echo(f"listening on {server.url}")
            wait_for(told)
        finally:
            server.stop()


def at(default: int) -> Callable[[Command], Command]:
    """Add `--host` and `--port`."""

    def add(command: Command) -> Command:
        host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
        port = click.option(
            "--port", default=default, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
        )
        return host(port(command))

    return add


def seconds_of(context: click.Context, option: click.Parameter, value: float) -> float:
    """Take a length of time; NaN and infinity are none."""
    if not is_amount(value):
        raise click.BadParameter(f"{value!r} is no length of time; give seconds, 0 or more")
    return value


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def put(report: Any, *, as_json: bool) -> None:
    """Print a report as text or as JSON."""
    click.echo(json.dumps(report, indent=2, ensure_ascii=False, default=str) if as_json else str(report))
