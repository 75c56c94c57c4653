"""The command line: `claude-lab`. Without a command it opens JupyterLab on a copy of the lessons.

Exit codes: 0 done, 1 something was found or failed, 2 a command that cannot be carried out; errors are one sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from claude_lab.copies import FOLDER, copy_lessons, open_lessons
from claude_lab.terminal import as_json, at, one_sentence, put, seconds_of, serve_until_stopped


@click.group(invoke_without_command=True)
@click.version_option(package_name="claude_lab")
@click.option("--dir", "folder", default=FOLDER, show_default=True, help="Where the copy of the lessons goes.")
@click.option("--no-browser", is_flag=True, help="Print JupyterLab's address and open no browser.")
@click.pass_context
def main(context: click.Context, folder: str, no_browser: bool) -> None:
    """Break Claude streaming on a laptop before production does.

    Without a command: open JupyterLab on a copy of the lessons.

    \b
    Example:
      claude-lab
      claude-lab stream "Why is the sky blue?"
    """
    if context.invoked_subcommand is None:
        open_lessons(Path(folder), no_browser=no_browser)


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def lessons(folder: Path) -> None:
    """Copy the lessons to DIR, without outputs; files that exist are kept.

    \b
    Example:
      claude-lab lessons my_lessons
    """
    with one_sentence():
        copies = copy_lessons(folder)
    for path, new in copies.items():
        click.echo(f"{'wrote' if new else 'kept '} {path}")


@main.command()
@click.option("--fake", is_flag=True, help="Put a fake Claude behind it: no key, no network.")
@click.option("--scenario", default="calm", show_default=True, help="With --fake: a scenario's name, or JSON.")
@click.option("--open", "is_open", is_flag=True, help="Need no token, although a key for the API stands behind it.")
@at(8000)
def serve(fake: bool, scenario: str, is_open: bool, host: str, port: int) -> None:
    """Serve POST /chat/stream, with the key from ANTHROPIC_API_KEY or with --fake.

    With a key for the API it asks for a token: TOKEN, else one that it makes and prints; --open goes without.

    \b
    Example:
      claude-lab serve --fake --port 8000
      curl -N -H 'content-type: application/json' -d '{"message": "Hello"}' http://127.0.0.1:8000/chat/stream
    """
    with one_sentence():
        behind = fake_of(scenario) if fake else None
    try:
        serve_until_stopped(lambda: server_of(behind, host, port, is_open=is_open))
    finally:
        if behind is not None:
            behind.stop()


def server_of(behind: Any, host: str, port: int, *, is_open: bool) -> Any:
    """Start the server in front of a fake, or of the API that the environment names."""
    from claude_lab import background, entry
    from claude_lab.server import create_app
    from claude_lab.settings import Settings

    options: dict[str, Any] = {} if behind is None else {"base_url": behind.start().url, "api_key": "lab"}
    options |= {"open_to_all": True} if is_open else {}

    def say(line: str) -> None:
        click.echo(line, err=True)

    settings = Settings(**options)
    app = create_app(entry.reached_at(entry.with_token(settings, say), host), say=say)
    return background.serve_alone(app, host=host, port=port)


def fake_of(scenario: str, **options: Any) -> Any:
    """Return a fake that plays a scenario given by name or as JSON. Raises ValueError when it is neither."""
    from claude_lab import presets
    from claude_lab.fake import FakeClaude

    return FakeClaude(presets.read(scenario), **options)


@main.command()
@click.option("--scenario", default="calm", show_default=True, help="A scenario's name, or JSON.")
@at(8001)
def fake(scenario: str, host: str, port: int) -> None:
    """Serve a fake Messages API for any client of the real one.

    \b
    Example:
      claude-lab fake --port 8001 --scenario flaky
      claude-lab fake --scenario '{"faults": ["Overloaded", {"kind": "Drop", "after": 3}]}'
      ANTHROPIC_BASE_URL=http://127.0.0.1:8001 ANTHROPIC_API_KEY=lab python app.py
    """
    serve_until_stopped(lambda: fake_of(scenario, host=host, port=port).start())


@main.command()
@click.argument("prompt")
@click.option("--scenario", default="calm", show_default=True, help="A scenario's name, or JSON.")
@click.option("--real", is_flag=True, help="Ask the real API, with the key from ANTHROPIC_API_KEY.")
@click.option("--max-cost", default=0.25, show_default=True, help="With --real: the most it may cost, in dollars.")
def stream(prompt: str, scenario: str, real: bool, max_cost: float) -> None:
    """Stream an answer to the terminal, through the lab's own server.

    \b
    Example:
      claude-lab stream "Why is the sky blue?"
      claude-lab stream "Why is the sky blue?" --scenario flaky
    """
    from claude_lab import presets
    from claude_lab.lab import Lab

    os.environ.setdefault("CLAUDE_LAB_VIEW", "text")
    try:
        with (
            one_sentence(),
            Lab(upstream="anthropic", max_cost=max_cost) if real else Lab(presets.read(scenario)) as lab,
        ):
            run = lab.stream(prompt)
    except KeyboardInterrupt as stopped:
        raise click.ClickException(str(stopped) or "Interrupted.") from None
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(1 if run.trace.error else 0)


@main.command()
@click.argument("upstream")
@click.option("--preset", default="nginx-1.22", show_default=True, help="What it behaves like.")
@click.option("--conf", type=click.Path(path_type=Path), help="An nginx configuration to behave like.")
@click.option("--path", help="With --conf: the request path whose location counts.")
@at(8080)
def proxy(upstream: str, preset: str, conf: Path | None, path: str | None, host: str, port: int) -> None:
    """Forward to UPSTREAM as a proxy that may hold streams back.

    \b
    Example:
      claude-lab proxy http://127.0.0.1:8000 --preset nginx-1.22
      claude-lab proxy http://127.0.0.1:8000 --conf /etc/nginx/nginx.conf --path /chat/stream
    """
    from claude_lab.proxy import Proxy, Rule

    with one_sentence():
        rule = Rule.preset(preset) if conf is None else Rule.from_nginx_conf(conf.read_text(), path=path)
    serve_until_stopped(lambda: Proxy(upstream, rule, host=host, port=port).start())


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--env", is_flag=True, help="Print only the recommended settings, as lines of a .env file.")
def sweep(file: Path, env: bool) -> None:
    """Run the experiment in FILE (TOML): days of traffic under every retry setting of a grid.

    \b
    Example:
      claude-lab sweep experiment.toml
      claude-lab sweep experiment.toml --env >> .env
    """
    from claude_lab import sweep_files

    with one_sentence():
        grid, answer = sweep_files.read(file).run()
    if env and (answer is None or answer.winner is None):
        raise click.ClickException(f"No setting is recommended: {answer or 'the file has no goal'}")
    if env and answer is not None:
        click.echo(answer.to_env())
        return
    click.echo(best_of(grid))
    if answer is not None:
        click.echo(f"\n{answer}")


def best_of(grid: Any) -> str:
    """Return a sweep's best settings as lines of text."""
    lines = [f"{grid!r}; the most success first"]
    for place in grid.best():
        setting = grid.settings()[place]
        words = " ".join(f"{name}={value}" for name, value in setting.items())
        found = ", ".join(f"{metric} {grid.interval(metric, **setting)}" for metric in ("success", "p95_ttft"))
        lines.append(f"  {words}: {found}")
    return "\n".join(lines)


@main.command()
@click.argument("url")
@click.option("--hop", "hops", multiple=True, help="The same endpoint at a proxy; repeat from the app outwards.")
@click.option(
    "--watch",
    metavar="SECONDS",
    default=0.0,
    callback=seconds_of,
    help="After a finding wait for the cure, and probe again.",
)
@as_json
def doctor(url: str, hops: tuple[str, ...], watch: float, as_json: bool) -> None:
    """Find out whether what stands before URL holds streams back, which hop it is, and the cure.

    With --watch the finding is printed first; the chain is probed again as soon as it streams, or the time is over.

    \b
    Example:
      claude-lab doctor https://chat.example.com --hop http://10.0.0.5:8000
      claude-lab doctor https://chat.example.com --watch 600
    """
    from claude_lab import diagnosis

    with one_sentence():
        report = diagnosis.doctor(url, hops, shown=not as_json)
        if watch and report.findings:
            click.echo(f"{report}\n\nwaiting for the cure, {watch:g} s at most ...\n", err=as_json)
            report = report.again(within=watch)
    put(report.as_dict() if as_json else report, as_json=as_json)
    raise SystemExit(report.exit_code)


def version_of(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read `1.22.1`."""
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no version; write it as 1.22.1") from None


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--nginx", "version", default="1.22.1", show_default=True, callback=version_of, help="nginx's version.")
@click.option(
    "--heartbeat", default=15.0, show_default=True, callback=seconds_of, help="Seconds between the server's heartbeats."
)
@as_json
def lint(file: Path, version: tuple[int, ...], heartbeat: float, as_json: bool) -> None:
    """Say from an nginx configuration alone what it will hold back.

    \b
    Example:
      claude-lab lint /etc/nginx/nginx.conf
    """
    from claude_lab import lint as linter

    with one_sentence():
        judgment = linter.lint(file, version=version, heartbeat=heartbeat)
    put(judgment.as_dict() if as_json else judgment, as_json=as_json)
    raise SystemExit(judgment.exit_code)


@main.command()
@click.argument("url")
@as_json
def conformance(url: str, as_json: bool) -> None:
    """Check how far the Messages API at URL keeps to the wire format.

    \b
    Example:
      claude-lab conformance http://127.0.0.1:8001
    """
    from claude_lab import conformance as checks

    with one_sentence():
        report = checks.run(url)
    put(report.json() if as_json else report, as_json=as_json)
    raise SystemExit(0 if report.ok else 1)
