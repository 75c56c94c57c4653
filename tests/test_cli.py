"""The command line, as a user meets it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from claude_lab.cli import main

CONF = "events {} http { server { location / { proxy_pass http://127.0.0.1:8000; } } }"
GRID = """
[scenario]
shape = "bursty"
rpm = 50
[grid]
max_retries = [0, 2]
base_delay = 1.0
seeds = 3
"""


def call(*arguments: str, **environment: str | None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "200", **environment})


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name: str) -> None:
    """`--help` says what a command does and shows one that works."""
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"claude-lab {name}" in result.output.partition("Example:")[2]


def test_lessons_are_copied_without_outputs(tmp_path: Path) -> None:
    """A copy has every cell and no output."""
    result = call("lessons", str(tmp_path / "mine"))
    assert result.exit_code == 0, result.output
    copies = sorted((tmp_path / "mine").glob("*.ipynb"))
    assert "03_nginx_buffering.ipynb" in {path.name for path in copies}
    cells = [cell for path in copies for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_lessons_never_overwrite(tmp_path: Path) -> None:
    """What a student wrote stays, and the command says so."""
    mine = tmp_path / "03_nginx_buffering.ipynb"
    mine.write_text("my work")
    result = call("lessons", str(tmp_path))
    assert mine.read_text() == "my work"
    assert f"kept  {mine}" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fake", "--scenario", "sunny"], "There is no scenario 'sunny'"),
        (["proxy", "http://127.0.0.1:1", "--preset", "sunny"], "Unknown preset 'sunny'"),
        (["proxy", "http://127.0.0.1:1", "--conf", "no.conf"], "No such file or directory: no.conf"),
        (["lint", "no.conf"], "There is no file 'no.conf'"),
        (["lint", "no.conf", "--nginx", "new"], "'new' is no version"),
        (["fake", "--host", "256.1.1.1"], "give an address of this machine, such as 127.0.0.1"),
        (["proxy", "http://127.0.0.1:1", "--host", "192.0.2.1"], "give an address of this machine"),
        (["conformance", "nonsense"], "'nonsense' is no address of a server; give one"),
        (["conformance", "http://127.0.0.1:9"], "Nothing answers at 'http://127.0.0.1:9'"),
        (["doctor", "nonsense"], "url='nonsense' is no way to a server; give a URL"),
        (["doctor", "http://127.0.0.1:9", "--watch", "nan"], "nan is no length of time; give seconds"),
        (["lint", __file__, "--heartbeat", "-1"], "-1.0 is no length of time"),
        (["stream", ""], "The message is empty"),
        (["stream", "hi", "--real", "--max-cost", "nan"], "max_cost=nan is no amount; give dollars"),
        (["stream", "hi", "--real", "--max-cost", "-1"], "max_cost=-1.0 is no amount; give dollars"),
        (["sweep", "no.toml"], "No such file or directory: no.toml"),
        (["lessons", __file__], "is a file"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_sentence(arguments: list[str], says: str) -> None:
    """Wrong values and missing files give a sentence and exit code 2, no traceback."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[scenario]\nrpm = 0\n", "rpm=0 is not a rate"),
        ("[scenario]\nfoo = 1\n", "'foo' means nothing in [scenario]"),
        ('[grid]\nbase_delay = ["a"]\n', "base_delay='a' is not a delay"),
        ('[grid]\nseeds = "x"\n', "seeds='x' is no number of days"),
        ("[grid]\nmax_retries = nan\n", "max_retries=nan is not a count"),
        ("[scenario]\nrequests = 1_000_000_000\n", "requests=1000000000 makes no day of traffic"),
    ],
)
def test_an_experiment_that_cannot_be_meant_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    """Whether the file or the sweep finds it: exit code 2, no traceback and no name from inside."""
    file = tmp_path / "grid.toml"
    file.write_text(text)
    result = call("sweep", str(file))
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "Traceback" not in result.output
    assert "__init__" not in result.output


@pytest.mark.parametrize("command", [["fake"], ["proxy", "http://127.0.0.1:1"], ["serve", "--fake"]])
def test_a_taken_port_is_said_in_one_sentence(command: list[str]) -> None:
    """The sentence names the port; the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = call(*command, "--port", str(port))
    assert result.exit_code == 2, result.output
    assert f"Cannot listen on 127.0.0.1:{port}" in result.output


def test_serve_without_a_key_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the variable and `--fake`; the exit code is 2."""
    monkeypatch.chdir(tmp_path)
    result = call("serve", "--port", "0", ANTHROPIC_API_KEY=None, ANTHROPIC_BASE_URL=None)
    assert result.exit_code == 2, result.output
    assert "ANTHROPIC_API_KEY" in result.output
    assert "--fake" in result.output


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BASE_DELAYS", '{"tired": 1}', "Error: base_delays names ['tired']; use some of"),
        ("RETRY_BUDGET", '{"ratio": -1}', "Error: retry_budget: A budget of ratio=-1.0"),
        ("MAX_RETRIES", "many", "not 'many'."),
    ],
)
def test_a_setting_that_cannot_be_meant_shows_no_key(variable: str, value: str, says: str) -> None:
    """One sentence without anybody's wrapping, and without the other settings, among which the key is."""
    result = call("serve", "--port", "0", **{variable: value, "ANTHROPIC_API_KEY": "sk-ant-canary-4711"})
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "Value error" not in result.output
    assert "canary" not in result.output


def test_lint_finds_what_a_bare_location_holds(tmp_path: Path) -> None:
    """A location with nginx's defaults is found wanting, as text and as JSON."""
    conf = tmp_path / "nginx.conf"
    conf.write_text(CONF)
    text, data = call("lint", str(conf)), call("lint", str(conf), "--json")
    assert text.exit_code == data.exit_code == 1
    assert "proxy_buffering" in text.output
    assert json.loads(data.output)["locations"]


def test_a_sweep_prints_its_best_settings(tmp_path: Path) -> None:
    """Without a goal there is a table and no recommendation, and `--env` says so."""
    file = tmp_path / "grid.toml"
    file.write_text(GRID)
    result = call("sweep", str(file))
    assert result.exit_code == 0, result.output
    assert "max_retries=2 " in result.output
    assert call("sweep", str(file), "--env").exit_code == 1


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (
            {},
            "up to 2 retries after the first attempt (3 attempts a call), base_delay 1 s, max_delay 60 s, jitter full",
        ),
        ({"MAX_RETRIES": "4", "BASE_DELAY": "5"}, "up to 4 retries after the first attempt (5 attempts a call), base_"),
        ({"MAX_RETRIES": "3", "RETRY_UNIT": "attempts"}, "(3 attempts a call)"),
        ({"MAX_RETRIES": "3", "RETRY_UNIT": "attempts"}, "RETRY_UNIT=attempts: MAX_RETRIES=3 was read as so many att"),
        ({"MAX_RETRIES": "0"}, "none after the first attempt (1 attempt a call)"),
    ],
)
def test_serve_says_at_its_start_how_often_it_asks(environment: dict[str, str], says: str) -> None:
    """The effective policy is one line on stderr; stdout keeps the one line that says where it listens."""
    command = [sys.executable, "-m", "claude_lab", "serve", "--fake", "--port", "0"]
    clean = {name: value for name, value in os.environ.items() if name not in ("MAX_RETRIES", "BASE_DELAY", "JITTER")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**clean, **environment}) as process:
        try:
            assert process.stdout is not None
            listening = process.stdout.readline()
            process.terminate()
            rest, errors = process.communicate(timeout=15)
        finally:
            process.kill()
    assert listening.startswith("listening on http://127.0.0.1:")
    assert rest == ""
    lines = [line for line in errors.splitlines() if line.startswith("retries: ")]
    assert len(lines) == 1
    assert says in lines[0]


@pytest.mark.parametrize(("options", "status"), [([], 401), (["--open"], 200)])
def test_before_the_real_api_a_server_asks_for_a_token(tmp_path: Path, options: list[str], status: int) -> None:
    """It makes one and prints it, and the key nowhere; `--open` goes without."""
    command = [sys.executable, "-m", "claude_lab", "serve", "--port", "0", *options]
    left_out = ("ANTHROPIC_BASE_URL", "TOKEN", "ALLOWED_HOSTS")
    clean = {name: value for name, value in os.environ.items() if name not in left_out}
    environment = {**clean, "ANTHROPIC_API_KEY": "sk-ant-canary-4711"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            bare, health = (httpx.get(url + path, trust_env=False) for path in ("/openapi.json", "/health"))
            process.terminate()
            errors = process.communicate(timeout=15)[1]
        finally:
            process.kill()
    assert (bare.status_code, health.status_code) == (status, 200)
    assert len(re.findall(r"^token: (\S{32}) \(send `Authorization: Bearer \1`", errors, re.M)) == (status == 401)
    assert "canary" not in errors


def begin(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server in a process of its own; return it with the URL it names."""
    command = [sys.executable, "-m", "claude_lab", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    return process, process.stdout.readline().removeprefix("listening on ").strip()


@pytest.mark.parametrize(
    ("arguments", "path", "number"),
    [(["fake"], "/_lab/journal", signal.SIGTERM), (["serve", "--fake"], "/health", signal.SIGINT)],
)
def test_a_server_says_where_it_listens_and_stops_cleanly(
    arguments: list[str], path: str, number: signal.Signals
) -> None:
    """One line, an answer, and exit code 0 after the signal."""
    process, url = begin(*arguments)
    with process:
        try:
            assert httpx.get(url + path, trust_env=False).status_code == 200
            process.send_signal(number)
            rest, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert (process.returncode, rest) == (0, "")


def test_a_stream_is_printed() -> None:
    """`stream` shows the answer's text in the terminal."""
    command = [sys.executable, "-m", "claude_lab", "stream", "Why is the sky blue?", "--scenario", "instant"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 10


def test_a_proxy_in_the_environment_is_not_asked_for_what_is_here() -> None:
    """Nothing leaves the machine: neither the question nor the key goes to a proxy that the environment names."""
    command = [sys.executable, "-m", "claude_lab", "stream", "Hello", "--scenario", "instant"]
    nowhere = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:1")
    bare = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=bare | nowhere)
    assert done.returncode == 0, done.stdout


def test_a_stream_that_fails_has_an_exit_code() -> None:
    """An upstream that refuses every attempt is said in the terminal, and to scripts by exit code 1."""
    command = [sys.executable, "-m", "claude_lab", "stream", "Hello", "--scenario", "down"]
    environment = {**os.environ, "BASE_DELAY": "0.01"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert "server_error" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_stop_in_mid_stream_is_told_without_a_traceback() -> None:
    """The reader is cut off without a final frame; the terminal shows what it showed before."""
    stalled = '{"faults": [{"kind": "Stall", "after": 5, "seconds": 60}]}'
    command = [sys.executable, "-m", "claude_lab", "serve", "--fake", "--scenario", stalled, "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            with httpx.stream("POST", f"{url}/chat/stream", json={"message": "Hello"}, trust_env=False) as response:
                arriving = response.iter_text()
                came = next(arriving)
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(httpx.RemoteProtocolError):
                    came += "".join(arriving)
            errors = process.communicate(timeout=15)[1]
        finally:
            process.kill()
    assert '"done"' not in came
    assert [line.partition(":")[0] for line in errors.splitlines()] == ["retries"]
    assert process.returncode == 0


def test_without_a_command_jupyterlab_opens_on_the_map(tmp_path: Path) -> None:
    """The address that JupyterLab prints is the map's, in a folder of copies, and SIGTERM ends it."""
    folder = tmp_path / "mine"
    command = [sys.executable, "-m", "claude_lab", "--no-browser", "--dir", str(folder)]
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as lab:
        try:
            assert lab.stderr is not None
            address = next(line for line in lab.stderr if "http://" in line)
        finally:
            lab.terminate()
            lab.communicate(timeout=20)

    assert "/lab/tree/00_map.ipynb?token=" in address
    assert (folder / "01_streaming.ipynb").is_file()
