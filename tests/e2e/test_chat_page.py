"""The chat page in a real browser: what is seen of an answer, of waits, of cuts, of a stop, and of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import soon
from cutter import Cutter
from pydantic import SecretStr

from claude_lab import faults
from claude_lab.background import Served, TransportProtocol, serve
from claude_lab.crash import Server, has_redis
from claude_lab.fake import FakeClaude
from claude_lab.pacing import Pace
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.server import create_app
from claude_lab.settings import Settings
from e2e.conftest import missing

ANSWER = "Air scatters blue light more than red 🌊 <script>document.title = 'hacked'</script> <b>naïve</b>. " * 3
CALM = Voice(ANSWER, thinking=False)
PACED = Pace(0.05, 0.03, 0.0, 0.0)
AT_ONCE = Pace(0.0, 0.0, 0.0, 0.0)
STALLED = Scenario(voice=CALM, pace=PACED, faults=[faults.Stall(after=60, seconds=8.0)])
HANGING = Scenario(voice=CALM, pace=PACED, faults=[faults.Hang(after=60)])
POLICY = RetryPolicy(max_retries=2, base_delay=1.5, jitter="none")
PREFIX = "/unguessable"
LAST = ".answer:last-of-type"
HEARD = """window.told = []; window.lengths = []; new MutationObserver(records => {
    for (const {target, addedNodes} of records) {
        if (target.id === "status") window.told.push(...[...addedNodes].map(node => node.textContent));
        const text = target.parentElement?.closest(".text") ?? target.closest?.(".text");
        if (text) window.lengths.push(text.textContent.length);
    }
}).observe(document, {childList: true, characterData: true, subtree: true});"""
"""Keeps all that the status says and each length of an answer, whoever looks when."""


class Bench:
    """A fake, the server, a road that can be cut, and a page that shows it."""

    def __init__(self, context: Any, stack: ExitStack, scenario: Scenario, **settings: Any) -> None:
        self.stack = stack
        self.fake = stack.enter_context(FakeClaude(scenario))
        usual = {"orphan_grace": 30.0, "token": None}
        self.settings = Settings(api_key=SecretStr("k"), base_url=self.fake.url, **(usual | settings))
        self.served = self.serve()
        self.road = stack.enter_context(Cutter(self.served.url + PREFIX))
        self.page = context.new_page()
        stack.callback(self.page.close)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(HEARD)
        self.page.goto(f"{self.road.url}/")

    def serve(self, port: int = 0) -> Served:
        """Serve the app; a second call is a server that has started anew and remembers nothing."""
        app = create_app(self.settings, policy=POLICY, prefix=PREFIX)
        return self.stack.enter_context(serve(app, port=port, protocol=TransportProtocol))

    def ask(self, question: str = "Why is the sky blue?") -> None:
        """Type a question and send it, as a user does."""
        self.page.fill("#message", question)
        self.page.press("#message", "Enter")

    def text(self) -> str:
        """The last answer, as it stands in the page."""
        found = self.page.locator(f"{LAST} .text")
        return str(found.evaluate("node => node.textContent")) if found.count() else ""

    def wait_text(self, least: int = 20) -> None:
        """Wait until so many characters of the last answer are there."""
        self.wait(f"[...document.querySelectorAll('.text')].at(-1)?.textContent.length >= {least}")

    def wait(self, claim: str) -> None:
        """Wait until a claim in JavaScript comes true."""
        self.page.wait_for_function(f"() => {claim}", timeout=30_000)

    def wait_status(self, words: str) -> None:
        """Wait until the status says these words."""
        self.wait(f"document.getElementById('status').textContent.includes({words!r})")

    def wait_told(self, words: str) -> None:
        """Wait until the status says these words, or has said them since the page was loaded."""
        self.wait(f"window.told.some(text => text.includes({words!r}))")

    def wait_end(self) -> None:
        """Wait until nothing is being answered."""
        self.wait("document.querySelector('.answer') && !document.querySelector('.streaming')")


Make = Callable[..., Bench]


@pytest.fixture
def bench(chromium: Any) -> Iterator[Make]:
    """Return a function that makes a bench with a page."""
    if not Path("/usr/bin/chromium").exists():
        missing("chromium is not installed; apt-get install chromium")
    with ExitStack() as stack:
        yield lambda scenario, **settings: Bench(chromium, stack, scenario, **settings)


def test_an_answer_grows_and_its_markup_stays_text(bench: Make, axe: str, screenshots: Path) -> None:
    """Words come one after the other; thinking is folded; a script stays text; light and dark pass axe."""
    answer = ANSWER * 3
    made = bench(Scenario(voice=Voice(answer), pace=PACED))
    page = made.page
    page.evaluate(axe)

    def violations() -> list[str]:
        found = page.evaluate("() => window.axe.run(document)")
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in found["violations"]]

    assert violations() == []
    made.ask()
    made.wait_text(1)
    page.screenshot(path=screenshots / "chat-live.png")
    made.wait_end()
    lengths = page.evaluate("() => window.lengths")

    assert len(set(lengths)) >= 4
    assert lengths == sorted(lengths)
    assert made.text() == answer
    assert (page.title(), page.locator(".text script, .text b").count()) == ("claude_lab", 0)
    assert page.locator(".thinking").get_attribute("open") is None
    page.click(".thinking summary")
    assert page.locator(".thought").inner_text()
    assert "tokens out" in page.locator(".meta").inner_text()
    assert "$" in page.locator(".meta").inner_text()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=screenshots / f"chat-{scheme}.png")
        assert violations() == []
    assert made.complaints == []


def test_keys_send_break_lines_and_stop(bench: Make) -> None:
    """Shift+Enter is a new line, Enter sends, Esc stops: the upstream is closed, the answer is marked."""
    made = bench(HANGING)
    page = made.page
    page.focus("#message")
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    made.wait_text()
    page.keyboard.press("Escape")
    made.wait_end()

    entry = made.fake.requests[0]
    assert entry.body["messages"] == [{"role": "user", "content": "One\ntwo"}]
    assert soon(lambda: entry.ended == "client left")
    assert page.locator("#status").inner_text() == "Stopped"
    assert page.locator(".meta").inner_text().startswith("stopped")
    assert made.text() != ANSWER
    assert page.evaluate("() => document.activeElement.id") == "message"
    outline = "() => getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Tab")
    assert (page.evaluate("() => document.activeElement.id"), page.evaluate(outline)) == ("send", "solid")


def test_the_button_stops_too(bench: Make) -> None:
    """Stop is there while an answer comes, and only then."""
    made = bench(HANGING)
    assert made.page.locator("#stop").is_hidden()
    made.ask()
    made.wait_text()
    made.page.click("#stop")
    made.wait_end()

    assert soon(lambda: made.fake.requests[0].ended == "client left")
    assert made.page.locator("#stop").is_hidden()
    assert made.page.locator("#send").is_visible()


def test_a_conversation_goes_along(bench: Make) -> None:
    """The second question carries the first and its answer; a new chat carries nothing."""
    made = bench(Scenario(voice=CALM, pace=AT_ONCE))
    for question in ("First?", "Second?"):
        made.ask(question)
        made.wait_status("Done")
        made.wait_end()
        made.page.evaluate("() => document.getElementById('status').textContent = ''")
    made.page.click("#fresh")
    made.ask("Third?")
    made.wait_status("Done")

    said = [entry.body["messages"] for entry in made.fake.requests]
    first, second = {"role": "user", "content": "First?"}, {"role": "user", "content": "Second?"}
    assert said == [
        [first],
        [first, {"role": "assistant", "content": ANSWER}, second],
        [{"role": "user", "content": "Third?"}],
    ]


def test_a_retry_is_told_while_it_waits(bench: Make) -> None:
    """The upstream is overloaded once: the page says so, and the answer comes."""
    made = bench(Scenario(voice=CALM, pace=AT_ONCE, faults=[faults.Overloaded()]), grace=0.2)
    made.ask()
    made.wait_told("asking again in 1.5 s")
    made.wait_end()

    assert made.text() == ANSWER


def test_an_answer_survives_a_network_that_goes_away(bench: Make, screenshots: Path) -> None:
    """Every connection breaks and none can be made; the page says so, and goes on where it was when they can."""
    made = bench(STALLED)
    made.ask()
    made.wait_text()
    made.road.vanish()
    made.wait_told("trying again")
    made.wait_told("(2)")
    made.page.screenshot(path=screenshots / "chat-away.png")
    made.road.return_()
    made.wait_end()

    assert made.text() == ANSWER
    assert made.page.locator(".note").count() == 0
    assert [entry.ended for entry in made.fake.requests] == ["complete"]


def test_offline_is_waited_out(bench: Make) -> None:
    """While the browser says that it is offline no tries are used up; back online, the answer goes on."""
    made = bench(STALLED)
    made.ask()
    made.wait_text()
    made.page.context.set_offline(True)
    try:
        made.road.vanish()
        made.wait_told("You are offline")
        asked = made.road.connections
        made.page.wait_for_timeout(1500)
        made.road.return_()
        waited = made.road.connections - asked
    finally:
        made.page.context.set_offline(False)
    made.wait_end()

    assert waited == 0
    assert made.text() == ANSWER


def test_a_reloaded_page_has_its_conversation_and_reads_on(bench: Make) -> None:
    """Reloaded in mid-stream, the page shows what was said and goes on with the answer; nothing is asked twice."""
    made = bench(replace(STALLED, faults=[faults.ok, *STALLED.faults]))
    made.ask("First?")
    made.wait_status("Done")
    made.ask("Second?")
    made.wait("document.querySelectorAll('.text').length === 2")
    made.wait_text()
    made.page.reload()
    made.wait_text(1)
    made.wait_status("Done")

    assert made.page.locator(".question").all_inner_texts() == ["First?", "Second?"]
    assert made.page.locator(".text").all_text_contents() == [ANSWER] * 2
    assert [entry.ended for entry in made.fake.requests] == ["complete"] * 2
    made.ask("Third?")
    made.wait("document.querySelectorAll('.meta').length === 2")
    assert len(made.fake.requests[-1].body["messages"]) == 5


def test_a_reloaded_page_whose_run_is_lost_asks_nothing_by_itself(bench: Make) -> None:
    """The run is unknown to the server: the page says so, spends nothing, and has the question ready."""
    made = bench(Scenario(voice=CALM, pace=AT_ONCE))
    known = "{history: [], question: 'Where was I?', run: 'a-run-that-nobody-knows'}"
    made.page.evaluate(f"() => sessionStorage.setItem(`claude_lab ${{location.href}}`, JSON.stringify({known}))")
    made.page.reload()
    made.wait_end()

    assert "does not have it any more" in made.page.locator(".note").inner_text()
    assert made.page.input_value("#message") == "Where was I?"
    assert made.fake.requests == []
    made.page.click(".note button")
    made.wait_status("Done")
    assert (made.text(), made.page.input_value("#message")) == (ANSWER, "")


def test_stop_works_where_the_server_cannot_be_told(bench: Make) -> None:
    """With the road gone, Stop ends the waiting at once and says what it could not do."""
    made = bench(HANGING)
    made.ask()
    made.wait_text()
    made.road.vanish()
    made.wait_told("trying again")
    made.page.keyboard.press("Escape")
    made.wait_end()

    assert made.page.locator(".note").inner_text().startswith("Stopped here. The server could not be told")


def test_a_server_that_restarts_has_lost_the_run_and_the_page_says_so(bench: Make, screenshots: Path) -> None:
    """What came stays and is marked as not whole; asked again, the new server answers."""
    made = bench(HANGING)
    made.ask()
    made.wait_text()
    port = made.served.port
    made.served.stop()
    made.serve(port)
    made.wait_end()

    note = made.page.locator(".note").inner_text()
    made.page.screenshot(path=screenshots / "chat-lost.png")
    assert note.startswith("Cut off.")
    assert "does not have it any more" in note
    assert len(made.text()) >= 20
    assert ANSWER.startswith(made.text())
    made.page.click(".note button")
    made.wait_status("Done")
    assert (made.text(), made.page.locator(".question").count()) == (ANSWER, 1)
    assert made.fake.requests[-1].body["messages"] == [{"role": "user", "content": "Why is the sky blue?"}]


def test_an_answer_survives_its_server_when_redis_keeps_it(chromium: Any) -> None:
    """kill -9 in mid-stream, and a new server at the same port: the page goes on and has the whole answer."""
    if not has_redis():
        missing("redis-server or the redis package is not installed")
    with FakeClaude(HANGING) as fake, Server(fake.url, keeps_runs=True) as server:
        page = chromium.new_page()
        page.goto(f"{server.url}/")
        page.fill("#message", "Why is the sky blue?")
        page.press("#message", "Enter")
        page.wait_for_function("() => document.querySelector('.text')?.textContent.length >= 20")
        server.kill()
        page.wait_for_function("() => document.getElementById('status').textContent.includes('trying again')")
        server.start()
        page.wait_for_function("() => document.querySelector('.meta')")
        text = page.locator(".text").evaluate("node => node.textContent")
        notes = page.locator(".note").count()
        page.close()

    assert (text, notes) == (ANSWER, 0)


def test_a_refusal_is_readable_and_the_question_is_not_lost(bench: Make) -> None:
    """An upstream that refuses for good: its sentence stands in the page, and the question back in the box."""
    made = bench(Scenario(voice=CALM, pace=AT_ONCE, faults=[faults.Unauthorized()]))
    made.ask()
    made.wait_end()

    assert made.page.locator(".note").get_attribute("role") == "alert"
    assert len(made.page.locator(".note").inner_text()) > 20
    assert made.page.input_value("#message") == "Why is the sky blue?"
    made.page.press("#message", "Enter")
    made.wait_status("Done")
    assert made.text() == ANSWER


def test_a_token_is_asked_for_where_one_is_needed(bench: Make, axe: str) -> None:
    """The page itself comes without; the first question shows the door, and the token opens it."""
    made = bench(Scenario(voice=CALM, pace=AT_ONCE), token=SecretStr("right"))
    made.ask()
    made.page.wait_for_selector("#door:not([hidden])")
    made.page.evaluate(axe)
    assert made.page.evaluate("() => window.axe.run(document).then(found => found.violations.length)") == 0
    made.page.fill("#token", "right")
    made.page.press("#token", "Enter")
    made.page.press("#message", "Enter")
    made.wait_status("Done")

    assert made.text() == ANSWER
    assert "right" not in made.page.content()
