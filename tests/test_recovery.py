"""Recovery: answers that break off, mended over a real socket; the fake knows what they should have been."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from pydantic import SecretStr

from claude_lab import answers, faults
from claude_lab.attempts import Attempts
from claude_lab.background import portal
from claude_lab.clock import now, run_virtual
from claude_lab.contract import Frame, Translator
from claude_lab.failure import Failure
from claude_lab.fake import FakeClaude
from claude_lab.mending import finished, last_frame, mended
from claude_lab.pacing import Pace
from claude_lab.recovery import LEAST, ROOM, Came, Strategy, continuing, planned, room
from claude_lab.replies import Voice
from claude_lab.retry import RetryPolicy
from claude_lab.scenario import Scenario
from claude_lab.settings import Settings
from claude_lab.spending import Ledger, cost
from claude_lab.trace import Trace
from claude_lab.transport import StreamingASGI
from claude_lab.upstream import asker, failure_of, make_client
from claude_lab.utf16 import Tape

NEW, OLD = "claude-haiku-5-5", "claude-haiku-4-5"
TEXT = answers.RESUMING
SLOW = Pace(0.0, 0.003, 0.0, 0.0)
"""Slow enough for a beginning to be read: what is still unread when the connection breaks is never seen."""
FAST = RetryPolicy(max_retries=2, base_delay=0.001)
Work = Callable[[Any, Attempts], Coroutine[Any, Any, None]]


class Bench(FakeClaude):
    """A fake, and one client of it on the same loop: they take turns, however late the machine is."""

    runner: Any

    def __enter__(self) -> Bench:
        self.start()
        self.runner = portal()
        self.client = self.runner.run(self._client())
        return self

    async def _client(self) -> Any:
        return make_client(Settings(api_key=SecretStr("x"), base_url=self.url))

    def __exit__(self, *error: Any) -> None:
        self.runner.run(self.client.close())
        self.stop()


@pytest.fixture(scope="module")
def fake() -> Iterator[Bench]:
    """One fake for the module."""
    with Bench() as made:
        yield made


def request(model: str = NEW, **fields: Any) -> dict[str, Any]:
    """Return a request."""
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": "Hello"}], **fields}


class Talk:
    """Asks a fake as a server does, and keeps the frames."""

    def __init__(
        self,
        fake: Bench,
        *script: faults.Fault,
        voice: Voice | None = None,
        pace: Pace | str | None = None,
        **rest: Any,
    ) -> None:
        pace = pace or (SLOW if script else "instant")
        fake.put(Scenario(faults=script, voice=voice or Voice(TEXT, thinking=False), pace=pace, **rest))
        fake.journal.clear()
        self.fake = fake
        self.frames: list[Frame] = []
        self.idle_timeout = 10.0

    async def work_under(self, policy: RetryPolicy, work: Work, ledger: Ledger | None = None) -> None:
        """Do some work with what asks the fake under a policy."""
        attempts = Attempts(policy, watch=lambda attempt: None)
        ask = asker(self.fake.client, attempts, ledger=ledger or Ledger(), idle_timeout=self.idle_timeout)
        await work(ask, attempts)

    def ask(
        self,
        strategy: Strategy,
        asked: dict[str, Any] | None = None,
        *,
        policy: RetryPolicy = FAST,
        ledger: Ledger | None = None,
    ) -> Talk:
        """Ask, and mend."""
        translator = Translator("run", now())

        def came() -> Came:
            return Came.of(self.frames, ended=translator.stop_reason is not None)

        async def work(ask: Any, attempts: Attempts) -> None:
            batches = mended(ask, asked or request(), came, strategy=strategy, attempts=attempts, judge=failure_of)
            try:
                async for batch in batches:
                    self.frames += translator.frames(batch, now)
            except Exception as error:
                self.frames.append(last_frame(error, failure_of))

        self.fake.runner.run(self.work_under(policy, work, ledger))
        return self

    def take_over(self, strategy: Strategy, written: list[Frame], asked: dict[str, Any] | None = None) -> Talk:
        """Finish what another worker wrote."""

        async def work(ask: Any, attempts: Attempts) -> None:
            made = finished(
                ask, asked or request(), written, run="run", strategy=strategy, attempts=attempts, judge=failure_of
            )
            self.frames += [*written, *[frame async for some in made for frame in some]]

        self.fake.runner.run(self.work_under(FAST, work))
        return self

    @property
    def text(self) -> str:
        """The text as a client has it that reads the frames into a trace."""
        trace = Trace()
        for kind, frame in self.frames:
            trace.add(kind, frame["text"] if kind in ("delta", "thinking") else frame)
        return trace.text

    @property
    def kinds(self) -> list[str]:
        """The types of the frames, deltas in a row as one."""
        kinds = [kind for kind, _ in self.frames]
        return [kind for at, kind in enumerate(kinds) if not at or kind != kinds[at - 1]]

    def only(self, kind: str) -> dict[str, Any]:
        """Return the one frame of a type."""
        (frame,) = (frame for each, frame in self.frames if each == kind)
        return frame


BREAKS = [faults.Drop, faults.Reset, faults.Truncate, faults.StreamError]


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize(("strategy", "kept"), [("restart", False), ("continue", True)])
def test_however_it_breaks_the_answer_gets_whole(
    fake: Bench, fault: Callable[..., faults.Fault], strategy: Strategy, kept: bool
) -> None:
    """One reset, then the new text, then `done`: nothing is lost, nothing is there twice, nothing is spliced unseen."""
    talk = Talk(fake, fault(after=30)).ask(strategy)

    assert talk.kinds == ["start", "delta", "reset", "delta", "done"]
    assert talk.text == TEXT
    assert (talk.only("reset")["keep_chars"] > 0) == kept
    assert len(fake.journal) == 2


def test_a_stall_is_mended_too() -> None:
    """An upstream that falls silent is left after `idle_timeout`, and asked for the rest: in virtual time."""
    fake = Bench()
    fake.runner = SimpleNamespace(run=run_virtual)
    client = httpx2.AsyncClient(transport=StreamingASGI(fake.app))
    fake.client = AsyncAnthropic(api_key="x", base_url="http://fake", max_retries=0, http_client=client)
    talk = Talk(fake, faults.Stall(after=30, seconds=30)).ask("continue")

    assert talk.text == TEXT
    assert "timeout" in talk.only("reset")["reason"]
    assert len(fake.journal) == 2


def test_fail_is_what_it_was(fake: Bench) -> None:
    """Without a strategy the text stays as it came, and the failure is raised."""
    talk = Talk(fake, faults.Drop(after=30)).ask("fail")

    assert talk.kinds == ["start", "delta", "error"]
    assert TEXT.startswith(talk.text)
    assert len(fake.journal) == 1


@pytest.mark.parametrize("model", [NEW, OLD])
@pytest.mark.parametrize("voice", [{}, {"overlap": 20}, {"preamble": True}, {"overlap": 40, "preamble": True}], ids=str)
def test_every_cut_is_mended_exactly(fake: Bench, model: str, voice: dict[str, Any]) -> None:
    """Wherever it breaks and however imperfectly it goes on, with either kind of continuation."""
    recoveries = 0
    for after in range(1, 60, 5):
        talk = Talk(fake, faults.Drop(after=after), voice=Voice(TEXT, thinking=False, **voice), pace="instant")
        talk.ask("continue", request(model))

        assert talk.text == TEXT, after
        recoveries += talk.only("done").get("recoveries", 0)
    assert recoveries  # where nothing had been read yet the first request was just retried


@pytest.mark.parametrize("repeated", [1, 4, 7])
def test_what_is_too_short_to_tell_stands_and_nothing_is_lost(fake: Bench, repeated: int) -> None:
    """A repetition below the seam's minimum is the error that remains: it is there twice, and no text is missing."""
    for after in (12, 25, 33):
        talk = Talk(fake, faults.Drop(after=after), voice=Voice(TEXT, thinking=False, overlap=repeated)).ask("continue")
        keep = talk.only("reset")["keep_chars"]

        assert talk.text[:keep] == TEXT[:keep]
        assert talk.text.endswith(TEXT[keep:])
        assert len(talk.text) - len(TEXT) <= repeated + 1


def test_old_models_are_prefilled_and_new_ones_told(fake: Bench) -> None:
    """A prefill never ends in white space; a model that takes none gets a message that quotes the end."""
    Talk(fake, faults.Drop(after=30)).ask("continue", request(OLD))
    prefill = fake.requests[1].body["messages"]
    Talk(fake, faults.Drop(after=30)).ask("continue", request(NEW))
    told = fake.requests[1].body["messages"]

    assert [turn["role"] for turn in prefill] == ["user", "assistant"]
    assert prefill[1]["content"] == prefill[1]["content"].rstrip()
    assert TEXT.startswith(prefill[1]["content"])
    assert [turn["role"] for turn in told] == ["user", "assistant", "user"]
    assert "interrupted and ended with" in told[2]["content"]
    assert "Continue from where" in told[2]["content"]


def test_an_answer_may_break_more_than_once(fake: Bench) -> None:
    """Each break is an attempt of the same call, with a seam of its own; the policy bounds them."""
    twice = (faults.Drop(after=20), faults.Reset(after=20))

    whole = Talk(fake, *twice).ask("continue")
    resets = [frame for kind, frame in whole.frames if kind == "reset"]
    assert whole.text == TEXT
    assert len(resets) == 2
    assert [entry.attempt for entry in fake.requests] == [1, 2, 3]

    given_up = Talk(fake, *twice).ask("continue", policy=FAST.but(max_retries=1))
    assert given_up.kinds[-1] == "error"
    assert "max_retries=1" in given_up.only("error")["recovery"]
    assert TEXT.startswith(given_up.text[:200])


ROUGH = dict.fromkeys(
    (
        *(faults.Drop(after=after) for after in (1, 5, 20, 55)),
        *(faults.Reset(after=after) for after in (3, 30)),
        *(faults.Truncate(after=after) for after in (4, 25)),
        *(faults.StreamError(after=after) for after in (6, 40)),
        faults.Drop(after=10, at="inside an event"),
        faults.Drop(after=10, at="inside a character"),
        faults.Truncate(at="after message_delta"),
        faults.Malformed(after=15),
        faults.Overloaded(),
    ),
    0.03,
)


@pytest.mark.parametrize("strategy", ["restart", "continue"])
@pytest.mark.parametrize("model", [NEW, OLD])
def test_a_rough_day_loses_nothing(fake: Bench, strategy: Strategy, model: str) -> None:
    """Two requests in five fail somewhere, again and again; every answer ends exact, with one `done` and no error."""
    voice = Voice(TEXT + " naïve 🌊 漢字.", preamble=True, overlap=16)
    resets = 0
    for seed in range(20):
        talk = Talk(fake, voice=voice, odds=ROUGH, seed=seed)
        talk.ask(strategy, request(model), policy=FAST.but(max_retries=20))

        assert talk.text == voice.answer, seed
        assert [kind for kind, _ in talk.frames if kind in ("start", "done", "error")] == ["start", "done"]
        resets += talk.kinds.count("reset")
    assert resets  # how many depends on what a read happens to take together


def test_a_stop_while_it_waits_to_ask_again_is_a_stop(fake: Bench) -> None:
    """Leaving in the wait before a further request ends at once, and nothing more is asked."""
    talk = Talk(fake, faults.Drop(after=30))

    async def work(ask: Any, attempts: Attempts) -> None:
        def judge(error: BaseException) -> Failure:
            broken.set()
            return failure_of(error)

        broken = asyncio.Event()
        came = Came(TEXT[:100])
        batches = mended(ask, request(), lambda: came, strategy="continue", attempts=attempts, judge=judge)
        reading = asyncio.ensure_future(read(batches))
        await broken.wait()
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()

    async def read(batches: Any) -> None:
        async for _ in batches:
            pass

    slow = FAST.but(base_delay=60.0, jitter="none")
    fake.runner.run(talk.work_under(slow, work))
    assert len(fake.journal) == 1


def test_a_refused_further_request_is_retried_too(fake: Bench) -> None:
    """Overloaded in between costs an attempt and nothing else."""
    talk = Talk(fake, faults.Drop(after=30), faults.Overloaded()).ask("continue")

    assert talk.text == TEXT
    assert len(fake.journal) == 3


@pytest.mark.parametrize("strategy", ["restart", "continue"])
def test_each_further_request_is_reserved(fake: Bench, strategy: Strategy) -> None:
    """What broke keeps its reservation, and no request is sent that could pass the ceiling."""
    worst = Ledger(1.0).reserve(request())

    stopped = Talk(fake, faults.Drop(after=30)).ask(strategy, ledger=Ledger(worst * 1.5))
    assert stopped.only("error")["error"] == "invalid_request"
    assert len(fake.journal) == 1

    ledger = Ledger(1.0)
    talk = Talk(fake, faults.Drop(after=30)).ask(strategy, ledger=ledger)
    assert talk.text == TEXT
    assert ledger.spent > worst


@pytest.mark.parametrize("strategy", ["restart", "continue"])
def test_what_was_billed_twice_is_counted(fake: Bench, strategy: Strategy) -> None:
    """`usage` and `cost` add up all requests; `billed_twice` is what a whole first answer would not have cost."""
    plain = Talk(fake).ask(strategy).only("done")
    done = Talk(fake, faults.Drop(after=30)).ask(strategy).only("done")

    twice, usage = done["billed_twice"], done["usage"]
    assert "billed_twice" not in plain
    assert usage["input_tokens"] == plain["usage"]["input_tokens"] + twice["input_tokens"]
    assert usage["output_tokens"] == pytest.approx(plain["usage"]["output_tokens"] + twice["output_tokens"], abs=2)
    assert done["cost"] == pytest.approx(cost(NEW, usage))
    assert done["cost"] > plain["cost"]


def test_only_the_last_event_missing_is_the_end(fake: Bench) -> None:
    """Once the stop reason has come the answer is whole: nothing is asked again."""
    talk = Talk(fake, faults.Truncate(at="after message_delta")).ask("continue")

    assert talk.kinds == ["start", "delta", "done"]
    assert talk.text == TEXT
    assert len(fake.journal) == 1


def test_thinking_is_thought_again(fake: Bench) -> None:
    """What broke before the first text starts over, and says so; a client forgets the first thoughts."""
    talk = Talk(fake, faults.Drop(after=0), voice=Voice(TEXT, thinking=True)).ask("continue")

    assert talk.kinds == ["start", "thinking", "reset", "thinking", "delta", "done"]
    assert talk.only("reset") == {
        "keep_chars": 0,
        "reason": "started over after network_error, there was too little text to continue",
    }
    assert Came.of(talk.frames).thinking == answers.THINKING


def test_thinking_before_a_continuation_keeps_the_seam(fake: Bench) -> None:
    """A model that thinks before it goes on is joined at its text."""
    voice = Voice(TEXT, thinking=True, preamble=True, overlap=20)
    talk = Talk(fake, faults.Drop(after=50), voice=voice).ask("continue")

    assert talk.kinds == ["start", "thinking", "delta", "thinking", "reset", "delta", "done"]
    assert talk.text == TEXT


TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def test_a_tool_call_that_was_handed_out_is_never_asked_again() -> None:
    """It may have been run; the failure stays, with its reason."""
    came = Came("Let me look that up for you.", tools=1)

    for strategy in ("fail", "restart", "continue"):
        assert planned(strategy, request(tools=[TOOL]), came, "network_error", Came()) is None  # type: ignore[arg-type]


def test_a_tool_call_under_way_starts_over(fake: Bench) -> None:
    """Half a call was handed to nobody: nothing came that could be there twice, and the whole call comes."""
    asked = request(tools=[TOOL], messages=[{"role": "user", "content": "What is the weather in Oslo?"}])
    talk = Talk(fake, faults.Drop(after=1)).ask("continue", asked)

    assert talk.kinds == ["start", "tool", "done"]
    assert len(fake.journal) == 2


WRITTEN: list[Frame] = [
    ("start", {"run": "run", "model": NEW, "usage": {"input_tokens": 5, "output_tokens": 1}, "cached": False}),
    ("delta", {"text": TEXT[:150]}),
    ("delta", {"text": TEXT[150:200]}),
]


@pytest.mark.parametrize("strategy", ["restart", "continue"])
def test_another_worker_finishes_the_answer(fake: Bench, strategy: Strategy) -> None:
    """From the request and the frames alone: no second `start`, one reset, the whole text."""
    talk = Talk(fake).take_over(strategy, WRITTEN)

    assert talk.kinds == ["start", "delta", "reset", "delta", "done"]
    assert talk.text == TEXT
    assert talk.only("reset")["reason"].endswith("the worker died")
    assert talk.only("done")["recoveries"] == 1


@pytest.mark.parametrize("strategy", ["restart", "continue"])
def test_a_takeover_after_a_tool_call_is_an_error(fake: Bench, strategy: Strategy) -> None:
    """Whoever read the call may have run it: nothing is asked, and the error says why."""
    call: Frame = ("tool", {"tool_id": "toolu_1", "name": "weather", "input": {}})
    talk = Talk(fake).take_over(strategy, [*WRITTEN, call])

    assert talk.kinds[-1] == "error"
    assert "tool call had been handed out" in talk.only("error")["message"]
    assert len(fake.journal) == 0


def test_a_takeover_under_fail_is_an_error(fake: Bench) -> None:
    """What came stays, and the end is told."""
    talk = Talk(fake).take_over("fail", WRITTEN)

    assert talk.kinds == ["start", "delta", "error"]
    assert "worker" in talk.only("error")["message"]
    assert len(fake.journal) == 0


@pytest.mark.parametrize("strategy", ["fail", "restart", "continue"])
@pytest.mark.parametrize("written", [[], WRITTEN[:1]], ids=["nothing", "start"])
def test_a_takeover_before_the_first_text_is_just_asked(fake: Bench, strategy: Strategy, written: list[Frame]) -> None:
    """Nobody has read anything that a first answer could repeat: it needs no reset, and never a second `start`."""
    talk = Talk(fake).take_over(strategy, written)

    assert talk.kinds == ["start", "delta", "done"]
    assert talk.text == TEXT


def test_a_run_that_had_ended_is_left_alone(fake: Bench) -> None:
    """After a final frame nothing follows."""
    ended: list[Frame] = [*WRITTEN, ("done", {"stop_reason": "end_turn", "usage": {}})]

    assert Talk(fake).take_over("continue", ended).frames == ended


def test_the_rest_has_the_room_that_is_left() -> None:
    """`max_tokens` bounds the whole answer, as far as a count that is not the API's can tell."""
    kept = "one two three four " * 20

    assert room(request(max_tokens=1000), kept) < 1000
    assert room(request(max_tokens=300), kept) == ROOM
    assert room(request(max_tokens=10), kept) == 10
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert room(request(OLD, max_tokens=2000, thinking=thinking), kept) == 2000


def test_a_prefill_of_ones_own_is_continued_with_it() -> None:
    """What the client put into the model's mouth goes before what came; in blocks it cannot, and starts over."""
    own = {"role": "assistant", "content": "Here goes:"}
    asked = request(OLD, messages=[{"role": "user", "content": "Go"}, own])
    further = continuing(asked, " one two three four five six")

    assert further is not None
    assert further["messages"][-1]["content"] == "Here goes: one two three four five six"
    blocks = {"role": "assistant", "content": [{"type": "text", "text": "Here goes:"}]}
    assert continuing({**asked, "messages": [asked["messages"][0], blocks]}, "x" * LEAST) is None


def test_a_model_that_thinks_is_told_instead_of_prefilled() -> None:
    """Thinking and a prefill exclude each other."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    further = continuing(request(OLD, thinking=thinking), "one two three four five six")

    assert further is not None
    assert further["messages"][-1]["role"] == "user"


def test_frames_tell_what_came() -> None:
    """Deltas are joined; a reset takes back what it says, in code points, half characters made whole first."""
    frames: list[Frame] = [
        ("thinking", {"text": "hm"}),
        ("delta", {"text": "wave \ud83c"}),
        ("delta", {"text": "\udf0a and more"}),
        ("reset", {"keep_chars": 6, "reason": ""}),
        ("delta", {"text": "!"}),
    ]

    assert Came.of(frames) == Came("wave 🌊!", "hm")
    assert Came.of([*frames, ("reset", {"keep_chars": 0, "reason": ""})]) == Came()
    assert as_read(frames) == "wave 🌊!"


def as_read(frames: list[Frame]) -> str:
    """Return the text as a trace has it."""
    trace = Trace()
    for kind, frame in frames:
        trace.add(kind, frame["text"] if kind == "delta" else frame)
    return trace.text


@pytest.mark.parametrize("keep", range(5))
def test_half_a_character_at_a_seam_counts_for_nobody(keep: int) -> None:
    """What came, the trace and the live view's tape agree on what a reset keeps."""
    deltas = ["a🌊", "b\ud83c"]
    frames: list[Frame] = [("delta", {"text": text}) for text in deltas]
    frames += [("reset", {"keep_chars": keep, "reason": ""}), ("delta", {"text": "!"})]
    tape = Tape()
    for text in deltas:
        tape.add(text)
    tape.keep(keep)
    tape.add("!")

    assert Came.of(frames).text == as_read(frames) == tape.text == "a🌊b"[:keep] + "!"
