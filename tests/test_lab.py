"""The lab: one line up, nothing left behind, and every way a run can end."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import LONG, soon
from pydantic import SecretStr

from claude_lab import FakeClaude, Lab, RetryPolicy, Scenario, faults, race
from claude_lab.background import portal
from claude_lab.conversation import ChatRequest
from claude_lab.lab import LabError
from claude_lab.pacing import Pace
from claude_lab.proxy import Cut, Proxy
from claude_lab.replies import Voice
from claude_lab.rule import Rule
from claude_lab.run import Run
from claude_lab.settings import Settings

CANARY = "sk-ant-canary-4711"
ANSWER = "One two three four five six seven eight nine ten; naïve 🌊."
PLAIN = Voice(ANSWER, thinking=False)
INSTANT = Scenario(voice=PLAIN, pace="instant")
DIRECT = Rule(buffering=False)
SLOW = Scenario(voice=Voice(ANSWER * 50, thinking=False), pace=Pace(0.0, 0.05, 0.0, 0.0))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view is drawn, and no key comes from the machine that tests."""
    monkeypatch.setenv("CLAUDE_LAB_VIEW", "off")
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for the module; each test puts its scenario."""
    with Lab(INSTANT) as made:
        yield made


def follow(lab: Lab, scenario: Scenario) -> None:
    """Let a lab's fake follow another scenario, with an empty journal and no runs before."""
    fake = fake_of(lab)
    fake.put(scenario)
    fake.journal.clear()
    lab.runs.clear()


def fake_of(lab: Lab) -> FakeClaude:
    """Return a lab's fake."""
    assert lab.fake is not None
    return lab.fake


def listens(url: str) -> bool:
    """Whether anything answers at a URL."""
    port = int(url.split(":")[2].split("/")[0])
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def open_files() -> int:
    """Return how many file descriptors this process has, where the system tells."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_run_holds_the_whole_answer(lab: Lab) -> None:
    """Text, status, usage, attempts and times are the trace's."""
    follow(lab, INSTANT)

    run = lab.stream("Hello")

    assert (run.text, run.status, run.stop_reason, run.attempts) == (ANSWER, "complete", "end_turn", 1)
    assert run.usage["output_tokens"] > 0
    assert run.ttft is not None
    assert run.ttft > 0
    assert "complete" in repr(run)
    assert json.loads(run.to_json())
    lab.check()


def test_options_reach_the_upstream(lab: Lab) -> None:
    """`system`, `messages` and `max_tokens` go along; what cannot be asked raises before anything is sent."""
    follow(lab, INSTANT)

    lab.stream("Hello", system="Be brief.", max_tokens=50)
    for wrong in ({"prompt": ""}, {"prompt": "Hi", "max_tokens": 0}, {"prompt": "Hi", "model": ""}):
        with pytest.raises(ValueError, match="cannot be asked"):
            lab.stream(**wrong)
    with pytest.raises(TypeError, match="temprature"):
        lab.stream("Hi", temprature=1)

    (entry,) = fake_of(lab).requests
    assert (entry.body["system"], entry.body["max_tokens"]) == ("Be brief.", 50)


def test_every_field_of_a_request_is_a_keyword_of_stream() -> None:
    """So that the notebook completes them, and none is forgotten."""
    keywords = set(inspect.signature(Lab.stream).parameters)

    assert set(ChatRequest.model_fields) - {"message"} <= keywords


def test_a_cut_reader_comes_back_when_the_lab_waits_for_it() -> None:
    """Through a hop that breaks each connection the whole answer comes, with a mark for each return; without, a cut."""
    text = ANSWER * 30
    calm = Scenario(voice=Voice(text, thinking=False), pace="fast")
    ends = []
    for grace in (5.0, 0.0):
        with Lab(calm, orphan_grace=grace) as bench, Proxy(bench.url, DIRECT, fault=Cut(after_bytes=3000)) as hop:
            ends.append(bench.stream("Hello", through=hop))

    patient, careless = ends
    assert (patient.status, patient.text) == ("complete", text)
    assert len(list(patient.trace.of("resume"))) > 1
    assert careless.error is not None
    assert text.startswith(careless.text)
    assert careless.error["error"] == "truncated"


def test_a_detached_run_can_be_waited_for_and_awaited(lab: Lab) -> None:
    """`wait=False` returns at once; `wait()`, `await` and `astream` end with the same whole text."""
    follow(lab, INSTANT)

    async def both() -> list[str]:
        return [(await lab.stream("Hello", wait=False)).text, (await lab.astream("Hello")).text]

    begun = lab.stream("Hello", wait=False)
    assert begun.wait().text == begun.wait(LONG).text == ANSWER
    assert asyncio.run(both()) == [ANSWER, ANSWER]


def test_a_wait_can_be_bounded_and_the_run_goes_on(lab: Lab) -> None:
    """TimeoutError says only that the time was short."""
    follow(lab, SLOW)
    run = lab.stream("Hello", wait=False)

    with pytest.raises(TimeoutError):
        run.wait(0.1)
    for timeout in (float("nan"), -1, "1"):
        with pytest.raises(ValueError, match=r"timeout=.* is no length of time; give seconds"):
            run.wait(timeout)

    assert run.status == "running"
    with pytest.raises(LabError, match="still running"):
        lab.check()
    run.stop()
    assert run.wait(LONG).status == "stopped"


def test_stop_ends_a_run_and_its_upstream_and_twice_is_fine(lab: Lab) -> None:
    """What came is kept, the reason is `stopped`, and the upstream is closed within a second."""
    follow(lab, SLOW)
    run = lab.stream("Hello", wait=False)
    assert soon(lambda: len(run.text) > 5)

    run.stop()
    run.stop()

    assert run.wait(LONG).status == "stopped"
    assert (ANSWER * 50).startswith(run.text)
    assert soon(lambda: fake_of(lab).journal[0].ended == "client left")
    run.stop()
    lab.check()


def test_a_run_whose_server_does_not_hear_the_stop_ends_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is in the trace by the time its wait is over."""
    monkeypatch.setattr("claude_lab.run.STOP_WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(10):
            run = Run(url, {"message": "Hello"}, view="off").start()
            run.stop()

            assert run.wait(LONG).status == "stopped"
            assert run.view.frozen


def test_a_cancelled_await_stops_the_run(lab: Lab) -> None:
    """An interrupted async cell cancels its task; the upstream is closed."""
    follow(lab, SLOW)
    run = lab.stream("Hello", wait=False)

    async def cell() -> None:
        await asyncio.wait_for(run, 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(cell())

    assert run.wait(LONG).status == "stopped"
    assert soon(lambda: fake_of(lab).journal.open == 0)


def test_a_cut_run_is_failed_and_the_check_says_so(lab: Lab) -> None:
    """A truncated answer is never complete; its text stays."""
    follow(lab, Scenario(faults=[faults.Truncate(after=2)], voice=PLAIN, pace=Pace(0.0, 0.01, 0.0, 0.0)))

    run = lab.stream("Hello")

    assert run.status == "failed"
    assert run.error is not None
    assert run.error["error"] == "truncated"
    assert run.text
    assert run.text != ANSWER
    with pytest.raises(LabError, match="was cut"):
        lab.check()


def test_retries_are_the_policys_and_are_counted() -> None:
    """The policy in the lab decides; the run knows its attempts and waits, the fake saw as many."""
    policy = RetryPolicy(max_retries=2, base_delay=0.01, jitter="none")
    with Lab(Scenario(faults=[faults.Overloaded()] * 5, pace="instant"), policy=policy) as lab:
        run = lab.stream("Hello")

        assert (run.status, run.attempts, run.trace.waits) == ("failed", 3, [0.01, 0.02])
        assert [entry.attempt for entry in fake_of(lab).requests] == [1, 2, 3]


def test_a_lab_leaves_no_thread_and_no_socket() -> None:
    """After close only the portal's thread is there, nothing listens, and the file descriptors are back."""

    def round_trip() -> list[str]:
        with Lab(INSTANT) as lab:
            lab.stream("Hello")
            urls = [lab.url, fake_of(lab).url]
            assert all(map(listens, urls))
        return urls

    round_trip()
    assert soon(lambda: not any(thread.name == "claude-lab-import" for thread in threading.enumerate()))
    threads, files = set(threading.enumerate()), open_files()
    urls = [url for _ in range(3) for url in round_trip()]

    assert not any(map(listens, urls))
    assert soon(lambda: set(threading.enumerate()) <= threads)
    assert portal().thread in threading.enumerate()
    assert soon(lambda: open_files() <= files)


def test_close_is_reentrant_and_stops_what_streams() -> None:
    """Closed in the middle of a stream, twice, and inside its own `with`, a lab does not wait for the answer's end."""
    with Lab(SLOW) as lab:
        run = lab.stream("Hello", wait=False)
        assert soon(lambda: len(run.text) > 5)
        fake = fake_of(lab)
        lab.close()
        lab.close()

    assert run.wait(LONG).status in ("stopped", "failed")
    assert fake.journal.open == 0
    assert "closed" in repr(lab)
    with pytest.raises(LabError, match="is closed"):
        lab.stream("Hello")


def test_a_taken_port_is_one_clear_error() -> None:
    """OSError names the port, in the thread that asks, and the fake that had been started is gone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = open_files()
        with pytest.raises(OSError, match=f"{port}.*port=0"):
            Lab(port=port)
        assert soon(lambda: open_files() <= before)


def test_the_urls_have_an_unguessable_part(lab: Lab) -> None:
    """Each lab has its own, long enough that nobody tries."""
    with Lab(INSTANT) as other:
        ours, theirs = (each.url.rsplit("/", 1)[1] for each in (lab, other))

    assert ours != theirs
    assert min(len(ours), len(theirs)) >= 20


def test_the_real_api_needs_a_key_and_a_known_upstream() -> None:
    """Without a key, and for a word that is none, ValueError says what to do."""
    with pytest.raises(ValueError, match="ANTHROPIC_API_KEY"):
        Lab(upstream="anthropic")
    with pytest.raises(ValueError, match="'openai'"):
        Lab(upstream="openai")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="price"):
        Lab(upstream="anthropic", model="claude-nobody", settings=Settings(api_key=SecretStr("x")))


def test_the_real_upstream_goes_over_the_socket_and_names_its_price(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Key and place come from the environment; model and price are printed; what was used is on the account."""
    with FakeClaude(INSTANT) as fake:
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)
        with Lab(upstream="anthropic") as lab:
            told = capsys.readouterr().out
            run = lab.stream("Hello", max_tokens=500)
            spent = lab.ledger.spent
            shown = f"{lab!r} {lab._repr_html_()} {lab.facts} {lab.settings} {run!r} {run.to_json()} {vars(lab)}"

        assert lab.fake is None
        assert run.text == ANSWER
        assert (len(fake.journal), fake.journal[0].status) == (1, 200)
    assert (lab.model in told, "$0.10" in told, "$0.50" in told, "$0.25" in told) == (True,) * 4
    assert 0 < spent < 0.001
    assert CANARY not in shown + told


def test_the_ceiling_refuses_before_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that could cost more than is left is not sent; one that cannot, is."""
    with FakeClaude(INSTANT) as fake:
        monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)
        with Lab(upstream="anthropic", max_cost=0.001) as lab:
            dear = lab.stream("Hello", max_tokens=50_000)
            assert len(fake.journal) == 0
            cheap = lab.stream("Hello", max_tokens=100)

        assert (dear.status, cheap.status) == ("failed", "complete")
        assert dear.error is not None
        assert "max_cost" in dear.error["message"]
        assert len(fake.journal) == 1


@pytest.mark.parametrize("ceiling", [float("nan"), float("inf"), -1, "1"])
def test_a_ceiling_that_is_no_amount_never_gets_near_the_api(monkeypatch: pytest.MonkeyPatch, ceiling: Any) -> None:
    """Nothing is more than NaN: such a ceiling would be none. The error names it before anything is printed or sent."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)

    with pytest.raises(ValueError, match=r"max_cost=.*give dollars"):
        Lab(upstream="anthropic", max_cost=ceiling)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"port": 70000}, ValueError, "port=70000 is no port; give 1 to 65535"),
        ({"port": "8000"}, ValueError, "port='8000' is no port"),
        ({"orphan_grace": -1}, ValueError, "orphan_grace=-1 is no time; give seconds"),
        ({"orphan_grace": float("nan")}, ValueError, "orphan_grace=nan is no time"),
        ({"scenario": "sunny"}, ValueError, "There is no scenario 'sunny'"),
        ({"scenario": 5}, TypeError, "scenario=5 is not a Scenario; use"),
        ({"model": 5}, ValueError, "model=5 is no name; give one such as"),
        ({"settings": 5}, TypeError, "settings=5 are none; use"),
        ({"policy": 5}, TypeError, "policy=5 is not a RetryPolicy; use"),
    ],
)
def test_a_lab_that_cannot_be_meant_is_one_sentence(options: dict[str, Any], kind: type[Exception], said: str) -> None:
    """It names the value and what to give; nothing was started."""
    with pytest.raises(kind, match=said):
        Lab(**options)


def test_a_scenario_goes_by_its_name() -> None:
    """As at the command line."""
    with Lab("flaky") as lab:
        assert fake_of(lab).scenario.faults


def test_a_way_that_is_none_is_named(lab: Lab) -> None:
    """A number in the place of a proxy fails before a run begins."""
    follow(lab, INSTANT)
    with pytest.raises(ValueError, match="through=5 is no way to a server; give a URL"):
        lab.stream("Hello", through=5)
    with pytest.raises(ValueError, match="view='x' is unknown; use one of"):
        lab.stream("Hello", view="x")
    assert lab.runs == []


def test_a_route_that_fails_says_why_in_its_row(lab: Lab) -> None:
    """A port where nobody is, a refusal, a page that is no stream, a cut: each beside the one that arrives."""
    follow(lab, Scenario(voice=PLAIN, pace="instant"))
    refusing = Scenario(faults=[faults.RateLimited()] * 3, pace="instant")
    with Lab(refusing, policy=RetryPolicy(max_retries=0)) as limited, Lab(INSTANT) as gone:
        gone.close()
        told = race("Hello", ok=lab, limited=limited, gone=gone, elsewhere=lab.url.rsplit("/", 1)[0])

    rows = {line.split()[0]: line for line in str(told).splitlines()}
    assert rows["route"].endswith("error")
    assert "rate_limit: This request would exceed" in rows["limited"]
    assert "network_error" in rows["gone"]
    assert "does not answer" in rows["gone"]
    assert "answered 404 and no stream; give a lab" in rows["elsewhere"]
    assert rows["ok"].split()[-1] == str(len(told["ok"].bursts()))


@pytest.mark.parametrize(
    ("prompt", "routes", "said"),
    [
        ("", {"a": "http://127.0.0.1:9"}, "The message is empty"),
        ("Hi", {"a": 5}, "a=5 is no way"),
        ("Hi", {}, "no route"),
    ],
)
def test_a_race_that_cannot_be_run_is_one_sentence(prompt: str, routes: dict[str, Any], said: str) -> None:
    """Before anybody is asked and anything is shown."""
    with pytest.raises(ValueError, match=said):
        race(prompt, **routes)


INTERRUPTED = """
    import _thread, json, signal, sys, threading, time
    import claude_lab.run
    from claude_lab import Lab, Scenario
    from claude_lab.pacing import Pace
    from claude_lab.replies import Voice

    claude_lab.run.STOP_WITHIN = 30.0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    slow = Scenario(voice=Voice("word " * 2000, thinking=False), pace=Pace(0.0, 0.05, 0.0, 0.0))
    with Lab(slow) as lab:
        def interrupt():
            while not (lab.runs and lab.runs[0].text):
                time.sleep(0.01)
            lab.fake.journal[0].ended == "open" or sys.exit("not open")
            {how}

        threading.Thread(target=interrupt, daemon=True).start()
        try:
            lab.stream("Hello")
            told = None
        except KeyboardInterrupt as error:
            told, lines = str(error), error._render_traceback_()
        run = lab.runs[0]
        lab.fake.journal.settle()
        lab.check()
        print(json.dumps([told, lines, run.status, run.stop_reason, len(run.text), lab.fake.journal[0].ended]))
"""


@pytest.mark.parametrize("how", ["_thread.interrupt_main()", "import os; os.kill(os.getpid(), signal.SIGINT)"])
def test_an_interrupt_is_one_sentence_and_closes_the_upstream(how: str) -> None:
    """The run is stopped and holds what came; the lab lives on and is clean."""
    code = textwrap.dedent(INTERRUPTED).replace("{how}", how)
    environment = {**os.environ, "CLAUDE_LAB_VIEW": "off"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=120,
        encoding="utf-8",
        env=environment,
    )

    assert (done.returncode, done.stderr) == (0, "")
    told, lines, status, reason, length, ended = json.loads(done.stdout)
    assert told == f"Interrupted; the run was stopped after {length} characters."
    assert lines == [told]
    assert (status, reason, ended) == ("stopped", "stopped", "client left")
    assert length > 0


def test_what_is_set_for_a_deployment_does_not_lock_the_lab_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TOKEN and ALLOWED_HOSTS in the environment are for a server in public; a lab's own runs still pass."""
    monkeypatch.setenv("TOKEN", "right")
    monkeypatch.setenv("ALLOWED_HOSTS", "chat.example")

    with Lab(INSTANT) as lab:
        assert lab.stream("Hello").text == ANSWER


def test_many_runs_at_once_are_kept_apart(lab: Lab) -> None:
    """Detached runs share the portal and mix nothing up."""
    follow(lab, Scenario(pace="instant"))

    runs: list[Any] = [lab.stream(f"Question {number}", wait=False) for number in range(20)]
    for run in runs:
        run.wait(LONG)

    assert {run.status for run in runs} == {"complete"}
    assert len({run.name for run in runs}) == len(fake_of(lab).journal) == 20
    lab.check()
