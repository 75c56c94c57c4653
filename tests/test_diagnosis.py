"""The doctor: on chains that exist only as rules, and on a few real ones."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from conftest import need
from simulated import chain, events_of

from claude_lab import background
from claude_lab.causes import FIXES, Cause
from claude_lab.chain import LARGE_EVENTS, NO_MARK, NO_TRANSFORM, Chain, findings_of, judge
from claude_lab.diagnosis import Asked, doctor, dying, examine, foreign, told
from claude_lab.nginx import Nginx
from claude_lab.observation import Observation, Question, Watch
from claude_lab.probe import MARK, Plan, Probe
from claude_lab.proxy import Proxy
from claude_lab.report import Report
from claude_lab.rule import Rule

SSE = frozenset({"text/event-stream"})
OLD, NEW = Rule(), Rule.preset("nginx-1.30")
DEAF = {"honor_x_accel": False}
WIDE = {"buffer_size": 65536, "buffers": (8, 65536)}
PASSES = {"pass_headers": frozenset({"x-accel-buffering"})}
ALWAYS, ANY_ACCEPT = "always", "with `Accept: */*`"

CHAINS = [
    # what the hops are, from the app outwards; where they hold; why
    ((), None, None),
    ((OLD.but(buffering=False),), None, None),
    ((NEW,), None, None),
    ((Rule.preset("article"),), None, None),
    ((Rule.preset("ingress-nginx", tls=True),), None, None),
    ((NEW.but(tls=True, http2=True),), None, None),
    ((OLD,), NO_MARK, Cause.PIPE),
    ((OLD.but(buffer_size=8192, buffers=(8, 8192)),), NO_MARK, Cause.PIPE),
    ((OLD.but(buffer_size=16384, buffers=(4, 32768)),), NO_MARK, Cause.PIPE),
    ((OLD.but(**WIDE),), NO_MARK, Cause.PIPE),
    ((OLD.but(**DEAF),), ALWAYS, Cause.DEAF_PIPE),
    ((OLD.but(**DEAF, **WIDE),), ALWAYS, Cause.DEAF_PIPE),
    ((OLD.but(**DEAF, buffer_size=1024, buffers=(4, 2048)),), ALWAYS, Cause.DEAF_PIPE),
    ((NEW.but(tls=True),), NO_MARK, Cause.TLS_RECORD),
    ((NEW.but(tls=True, record_size=4096),), NO_MARK, Cause.TLS_RECORD),
    ((NEW.but(tls=True, **DEAF),), ALWAYS, Cause.TLS_RECORD),
    ((OLD.but(tls=True),), NO_MARK, Cause.TLS_RECORD),
    ((NEW.but(gzip=True, gzip_types=SSE),), NO_MARK, Cause.COMPRESSION),
    ((OLD.but(gzip=True, gzip_types=SSE),), NO_MARK, Cause.COMPRESSION),
    ((NEW.but(gzip=True, gzip_types=SSE, **DEAF),), ALWAYS, Cause.COMPRESSION),
    ((OLD.but(gzip=True, gzip_types=SSE, **DEAF),), ALWAYS, Cause.COMPRESSION),
    ((Rule.preset("store-and-forward"),), ALWAYS, Cause.STORE),
    ((Rule.preset("haproxy-like clumps"),), ALWAYS, Cause.CLUMPS),
    ((Rule.preset("haproxy-like clumps", clump=0.3),), ALWAYS, Cause.CLUMPS),
    ((Rule.preset("jupyter-server-proxy"),), ANY_ACCEPT, Cause.ACCEPT),
    ((NEW, NEW), None, None),
    ((OLD, OLD.but(buffering=False)), NO_MARK, Cause.PIPE),
    ((OLD.but(buffering=False), OLD), ALWAYS, Cause.DEAF_PIPE),
    ((OLD, OLD), ALWAYS, Cause.DEAF_PIPE),
    ((OLD.but(**PASSES), OLD), NO_MARK, Cause.PIPE),
    ((NEW.but(buffering=False), NEW.but(tls=True)), ALWAYS, Cause.TLS_RECORD),
    ((NEW.but(**PASSES), NEW.but(tls=True)), NO_MARK, Cause.TLS_RECORD),
    ((NEW, Rule.preset("haproxy-like clumps")), ALWAYS, Cause.CLUMPS),
    ((OLD, Rule.preset("jupyter-server-proxy")), NO_MARK, Cause.PIPE),
    ((NEW, NEW, NEW.but(gzip=True, gzip_types=SSE)), ALWAYS, Cause.COMPRESSION),
]


def examined(ask: object, url: str = "http://chain") -> tuple[Chain, str, list[tuple[str, Cause]]]:
    """Run the reasoning over a simulated chain."""

    async def run() -> tuple[Chain, str, list[tuple[str, Cause]]]:
        at = Chain(url, ask)  # type: ignore[arg-type]
        findings = await findings_of(at)
        return at, await judge(at, findings), [(finding.when, finding.cause) for finding in findings]

    return asyncio.run(run())


@pytest.mark.parametrize(("hops", "when", "cause"), CHAINS)
def test_the_cause_is_named(hops: tuple[Rule, ...], when: str | None, cause: Cause | None) -> None:
    """For each chain the condition under which it holds, and why; nothing for those that stream."""
    secure = bool(hops) and hops[-1].tls
    _, verdict, found = examined(chain(*hops), "https://chain" if secure else "http://chain")

    assert found[:1] == ([(when, cause)] if cause else [])
    assert verdict == ("held" if when == ALWAYS else "streams")


def test_a_chunk_in_two_pieces_is_told_from_a_buffer() -> None:
    """Each event arrives with the next one, at every size and rate."""
    _, verdict, found = examined(chain(NEW.but(**DEAF), split=True))

    assert (verdict, found) == ("held", [(ALWAYS, Cause.SPLIT_CHUNKS)])


def packing(*, store: bool) -> Callable[[Question], Awaitable[Observation]]:
    """Return an `ask` for a hop that compresses whatever the client asks for, or stores it too."""

    async def ask(question: Question) -> Observation:
        plan, watch = question.plan or Plan(), Watch(question)
        packer, opener = zlib.compressobj(wbits=31), zlib.decompressobj(wbits=31)
        packed = question.encoding == "gzip"
        coding = b"content-encoding: gzip\r\n" if packed else b""
        head = b"HTTP/1.1 200 OK\r\n%s: 1\r\n%sconnection: close\r\n\r\n" % (MARK.encode(), coding)
        pieces = [(at, packer.compress(data)) for at, data in events_of(plan, lambda number: 0.0)]
        end = pieces[-1][0]
        watch.feed(head, seen=0.0)
        for at, piece in [*pieces, (end, packer.flush())]:
            if out := piece if packed else opener.decompress(piece):
                watch.feed(out, seen=end if store else at)
        watch.close()
        return watch.observation

    return ask


@pytest.mark.parametrize(("store", "cause"), [(False, Cause.COMPRESSION), (True, Cause.STORE)])
def test_a_compressor_that_nothing_switches_off_is_told_from_a_store(store: bool, cause: Cause) -> None:
    """Random text runs over in a compressor's buffer and not in a store's."""
    _, verdict, found = examined(packing(store=store))

    assert (verdict, found) == ("held", [(ALWAYS, cause)])


@pytest.mark.parametrize(
    ("least", "heeds", "when"), [(1000, False, LARGE_EVENTS), (0, True, NO_TRANSFORM), (1000, True, NO_TRANSFORM)]
)
def test_a_compressor_that_chooses_is_found_by_what_it_chooses(least: int, heeds: bool, when: str) -> None:
    """Some leave short answers alone, some what says no-transform: there is one finding, with that condition."""

    def ask(question: Question) -> Awaitable[Observation]:
        plan = question.plan or Plan()
        packs = question.encoding == "gzip" and plan.size >= least and not (heeds and "no-transform" in plan.cache)
        return packing(store=False)(question) if packs else chain()(question)

    _, verdict, found = examined(ask)

    assert (verdict, found) == ("streams", [(when, Cause.COMPRESSION)])


def test_nothing_is_called_compressed_that_did_not_come_compressed() -> None:
    """What a header cures is no compressor's work unless the held answer names a content coding."""

    def ask(question: Question) -> Awaitable[Observation]:
        marked = question.plan is None or "no-transform" in question.plan.cache
        return chain(*([] if marked else [Rule.preset("store-and-forward")]))(question)

    _, verdict, found = examined(ask)

    assert (verdict, found) == ("streams", [(NO_TRANSFORM, Cause.STORE)])


async def ticking(question: Question) -> Observation:
    """A hop that lets go every 0.2 s of all but three bytes, which its compressor keeps."""
    plan, watch = question.plan or Plan(), Watch(question)
    events = events_of(plan, lambda number: 0.0)
    body = b"".join(data for _, data in events)
    watch.feed(b"HTTP/1.1 200 OK\r\n%s: 1\r\nconnection: close\r\n\r\n" % MARK.encode(), seen=0.0)
    sent = 0
    for tick in range(1, int(events[-1][0] / 0.2) + 1):
        ready = sum(len(data) for at, data in events if at < 0.2 * tick) - 3
        watch.feed(body[sent:ready], seen=0.2 * tick)
        sent = ready
    watch.feed(body[sent:], seen=events[-1][0])
    watch.close()
    return watch.observation


def test_a_timer_is_not_taken_for_a_buffer_because_equal_events_fill_equal_bytes() -> None:
    """Steps of equal bytes that end within events, but come in the same time at half the pace, are a timer's."""
    _, verdict, found = examined(ticking)

    assert (verdict, found) == ("held", [(ALWAYS, Cause.CLUMPS)])


def test_an_upstream_that_dies_may_become_an_error_page() -> None:
    """A proxy that stored the beginning answers 503 in its place; that is no clean end."""

    async def ask(question: Question) -> Observation:
        watch = Watch(question)
        watch.feed(b"HTTP/1.1 503 Backend fetch failed\r\ncontent-length: 5\r\n\r\nSorry", seen=0.1)
        return watch.observation

    assert asyncio.run(dying(ask)) == "0 of 20 events, an error page instead of the events"


def test_nobody_waits_for_a_leaving_that_the_origin_cannot_see() -> None:
    """Once the origin has written everything, one look at its state is enough."""
    looks: list[str] = []

    async def state(name: str) -> dict[str, object]:
        looks.append(name)
        return {"written": 400, "ended": True, "left": None}

    assert asyncio.run(told(chain(), state)) is None
    assert len(looks) == 1


async def replaying(question: Question) -> Observation:
    """A cache that answers every question with what it kept of an earlier one."""
    watch = Watch(question)
    watch.observation.fresh = "new"
    watch.feed(b"HTTP/1.1 200 OK\r\n%s: old\r\nconnection: close\r\n\r\n" % MARK.encode(), seen=0.0)
    watch.feed(b"".join(data for _, data in events_of(Plan(), lambda number: 0.0)), seen=0.0)
    watch.close()
    return watch.observation


def test_a_cache_is_not_taken_for_a_store() -> None:
    """An answer that names another question's word was never asked of the app."""
    _, verdict, found = examined(replaying)

    assert (verdict, found) == ("held", [(ALWAYS, Cause.CACHE)])


@pytest.mark.parametrize("hops", [(), (NEW,), (OLD.but(buffering=False),)])
def test_a_blocked_event_loop_is_not_a_proxy(hops: tuple[Rule, ...]) -> None:
    """Events that were written late tell so themselves."""
    _, verdict, found = examined(chain(*hops, late=lambda number: 0.4 if number % 10 < 5 else 0.0))

    assert (verdict, found) == ("origin", [(ALWAYS, Cause.ORIGIN)])


@pytest.mark.parametrize("jitter", [0.005, 0.02, 0.05, 0.2])
def test_a_slow_machine_is_not_a_proxy(jitter: float) -> None:
    """However late our own loop is, a chain that streams is never called held."""
    _, verdict, found = examined(chain(NEW, jitter=jitter))

    assert verdict in ("streams", "cannot tell")
    assert not [cause for _, cause in found if cause is not Cause.UNKNOWN]


@pytest.mark.parametrize("busy", [1, 2])
def test_a_moment_too_busy_to_tell_is_looked_at_again(busy: int) -> None:
    """What the first looks leave open because of our own lateness, the next may tell."""
    rule, looks = Rule.preset("haproxy-like clumps"), Counter[Question]()

    def ask(question: Question) -> Awaitable[Observation]:
        looks[question] += 1
        return chain(rule, jitter=0.15 if looks[question] <= busy else 0.0)(question)

    _, verdict, found = examined(ask)

    assert (verdict, found) == ("held", [(ALWAYS, Cause.CLUMPS)])


def watched(*rules: Rule, group: int = 1) -> Observation:
    """Return what a foreign URL shows: the same reads, without the origin's own times."""
    ask = chain(*rules, late=lambda number: -(number % group) * 0.025)
    seen = asyncio.run(ask(Question(None)))
    seen.arrivals = [replace(arrival, n=-1, at=arrival.seen, due=arrival.seen) for arrival in seen.arrivals]
    return seen


@pytest.mark.parametrize("group", [1, 4, 10, 25])
def test_a_bursty_provider_behind_a_foreign_url_is_no_proof(group: int) -> None:
    """Without the probe's own times only exact steps count; bursts of whole events leave it open."""
    assert foreign("http://chain", watched(NEW, group=group)).verdict == "cannot tell"


def test_exact_stairs_behind_a_foreign_url_are_proof() -> None:
    """Bursts that end inside an event, every 4,096 bytes, are no provider's."""
    report = foreign("http://chain", watched(OLD))

    assert (report.verdict, report.findings[0].cause) == ("held", Cause.PIPE)


def test_every_cause_has_a_fix_for_any_proxy() -> None:
    """And each is a sentence."""
    assert set(FIXES) == set(Cause)
    assert all(text.endswith(".") for texts in FIXES.values() for text in texts.values() if "" in texts)


@pytest.fixture(scope="module")
def live() -> Iterator[dict[str, Report]]:
    """Real chains, examined at the same time: two nginx in a row, hops that stream, clump, or lose patience."""
    need("nginx", "/usr/sbin/nginx")

    async def all_of(inner: str, outer: str, clean: str, clumped: str, hasty: str) -> list[Report]:
        silences = examine(hasty, silences=[0.2, 8.0])
        return await asyncio.gather(examine(outer, [inner, outer]), examine(clean), examine(clumped), silences)

    with ExitStack() as stack:
        served = stack.enter_context(background.serve(Probe(), protocol=background.TransportProtocol))
        inner = stack.enter_context(Nginx(served.url))
        outer = stack.enter_context(Nginx(inner.url))
        clean = stack.enter_context(Proxy(served.url, NEW))
        clumped = stack.enter_context(Proxy(served.url, Rule.preset("haproxy-like clumps")))
        hasty = stack.enter_context(Proxy(served.url, NEW.but(read_timeout=5.0)))
        urls = (inner.url, outer.url, clean.url, clumped.url, hasty.url)
        yield dict(zip(("two hops", "clean", "clumped", "hasty"), background.portal().run(all_of(*urls)), strict=True))


def test_a_real_chain_of_two_hops_is_bisected(live: dict[str, Report]) -> None:
    """The outer hop buffers because the inner one removed the header; its address and its fix are named."""
    report = live["two hops"]
    (finding,) = report.findings

    assert (report.verdict, finding.cause, finding.where) == ("held", Cause.DEAF_PIPE, f"hop 2, {report.url}")
    assert "proxy_pass_header" in finding.fix
    assert "looks like a clean end" in report.death
    assert report.leaving is not None


def test_clean_and_clumped_chains_are_told_apart_live(live: dict[str, Report]) -> None:
    """On a machine too busy to tell, the clumps may be left open; they are never called something else."""
    clean, clumped = live["clean"], live["clumped"]

    assert (clean.verdict, clean.findings) == ("streams", ())
    assert (clumped.verdict, clumped.findings[0].cause) in (("held", Cause.CLUMPS), ("cannot tell", Cause.UNKNOWN))


def test_a_doctor_that_takes_long_says_whom_it_asks() -> None:
    """The line names the place and counts the questions; it knows nothing before the first."""
    asked = Asked()
    before = str(asked)
    asked("hop 1 of 2")
    asked("hop 2 of 2")

    assert "for the probe: question 0" in before
    assert "asking hop 2 of 2: question 2" in str(asked)


def test_a_report_is_text_and_data(live: dict[str, Report]) -> None:
    """For people: a line for each finding, its fix, each probe. For programs: the same as JSON."""
    report = live["two hops"]
    (finding,) = json.loads(json.dumps(report.as_dict()))["findings"]

    assert (finding["cause"], finding["fix"] in " ".join(str(report).split())) == ("deaf_pipe", True)
    assert "response head, no header" in report.as_dict()["probes"]
    assert "no X-Accel-Buffering, head status and headers: after" in " ".join(str(report).split())


def test_the_longest_silence_gives_the_heartbeat(live: dict[str, Report]) -> None:
    """A hop that waits five seconds survives a short gap and not a long one; half of it is the heartbeat."""
    assert live["hasty"].silence == 0.2
    assert "heartbeat every 0.1 s" in str(live["hasty"])
    assert "the cut is visible" in live["hasty"].death


def test_a_cured_chain_is_probed_again_by_itself() -> None:
    """The report waits until what was held streams, and says what was cured; a chain that went away is not cured."""
    with background.serve(Probe(), protocol=background.TransportProtocol) as origin, Proxy(origin.url, OLD) as proxy:
        before = doctor(proxy.url)
        cured = replace(proxy.routes[""], rule=NEW)
        timer = threading.Timer(0.5, proxy.routes.__setitem__, ("", cured))
        timer.start()
        after = before.again(within=30)
        timer.join()
    gone = before.again()

    assert [finding.cause for finding in before.findings] == [Cause.PIPE]
    assert (after.findings, after.cured) == ((), before.findings)
    assert "cured: a proxy collects the response in buffers" in str(after)
    assert after.as_dict()["cured"][0]["cause"] == "pipe"
    assert (gone.verdict, gone.cured) == ("unreachable", ())


def test_a_report_from_elsewhere_says_where_to_get_one() -> None:
    """One that was built by hand, or read from a file, has no chain to probe."""
    with pytest.raises(ValueError, match="ask doctor"):
        Report("http://chain", "held", (), {}).again()


def test_a_url_that_is_not_there_is_unreachable() -> None:
    """No verdict on buffering without an answer."""
    report = doctor("http://127.0.0.1:9")

    assert (report.verdict, report.exit_code) == ("unreachable", 2)


@pytest.mark.parametrize("url", [None, 5, "", "localhost:8000"])
def test_what_is_no_url_is_named(url: Any) -> None:
    """Before anybody is asked; the same goes for a hop."""
    with pytest.raises(ValueError, match=r"url=.* is no way to a server; give a URL"):
        doctor(url)
    with pytest.raises(ValueError, match=r"hop=.* is no way to a server; give a URL"):
        doctor("http://127.0.0.1:9", [url])


def test_a_url_that_refuses_is_unreachable() -> None:
    """With its status as the evidence."""
    with Proxy("http://127.0.0.1:9") as proxy:
        report = doctor(proxy.url)

    assert (report.verdict, report.findings[0].evidence) == ("unreachable", "it answers 502")


def test_chains_are_many_enough() -> None:
    """The table covers every cause that a rule can show."""
    causes = {cause for _, _, cause in CHAINS}

    assert len(list(itertools.chain(CHAINS))) >= 34
    assert causes >= {Cause.PIPE, Cause.DEAF_PIPE, Cause.TLS_RECORD, Cause.COMPRESSION, Cause.CLUMPS, Cause.STORE}
