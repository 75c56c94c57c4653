"""Why each assert of a lesson holds: for each, an edit that takes its cause away, after which it must fail.

A new assert needs a row: the lesson's number, the cell's id, how the assert begins, what is taken away, and the edits.
An edit is (old, new) in the assert's own cell, or (cell, old, new) in an earlier one; the old text must be there once,
and no edit may touch the assert itself. `python tests/lesson_runner.py notebooks/01_streaming.ipynb` tries one lesson.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Edit = tuple[str, str] | tuple[str, str, str]


@dataclass(frozen=True)
class Cause:
    """One assert, and the edits without which it holds."""

    lesson: str
    cell: str
    text: str
    removed: str
    edits: tuple[Edit, ...]

    @property
    def name(self) -> str:
        """Its name in a test."""
        return f"{self.lesson} {self.cell}: {self.text.removeprefix('assert ')}"

    def everywhere(self) -> Iterator[tuple[str, str, str]]:
        """Yield the edits with their cells."""
        for edit in self.edits:
            yield edit if len(edit) == 3 else (self.cell, *edit)


def cause(cell: str, text: str, removed: str, *edits: Edit) -> tuple[str, str, str, tuple[Edit, ...]]:
    """Return a row of the tables below."""
    return cell, f"assert {text}", removed, edits


CUT = "with Lab(Scenario(faults=[faults.Truncate(after=5)], pace='fast')) as quick:\n    "
UNSTOPPED = ("streaming-29", "run.stop()", "pass")
OWN = (
    "streaming-29",
    'lab.fake.put(Scenario(pace="slow"))\nrun = lab.stream("Why is the sky blue?"',
    'lab = Lab()\nlab.stream("Why is the sky blue?", max_tokens=5)\nrun = lab.stream("Why is the sky blue?"',
)
"""A lab of its own: the lesson reads the journal of the other one meanwhile."""
AGAIN = ("with lab, Proxy", 'with Lab(Scenario(pace="fast")) as lab, Proxy')
CUT_OFF = "ignoring, fault=__import__('claude_lab.route').route.Cut(2000, 'close')) as ignores"
LATER_BY_A_MILLISECOND = "answer.policy.but(base_delay=answer.policy.base_delay + 0.001)))"
UNBLOCKED = """\
made = measure((("async", 1, 5), ("async", 4, 24)))
table = {("sync", 1): made["async", 1], ("sync", 4): made["async", 4], ("async", 1): made["async", 1]}"""

MAP = [
    cause(
        "map-01",
        "run.status",
        "a whole answer",
        ("import Lab\n", "import Lab, Scenario, faults\n"),
        ("with Lab() as lab", "with Lab(Scenario(faults=[faults.Truncate(after=3)])) as lab"),
    ),
]

STREAMING = [
    cause("streaming-05", '"".join(pieces)', "the first piece", ('of("delta")]', 'of("delta")][1:]')),
    cause("streaming-05", "first.ttft", "the length", ("streaming-03", "Lab()", 'Lab(Scenario(answer="Blue."))')),
    cause("streaming-07", 'raw.headers["content-type"]', "the question", ('{"message": "Why is the sky blue?"}', "{}")),
    cause("streaming-07", '"content-length"', "the question", ('{"message": "Why is the sky blue?"}', "{}")),
    cause("streaming-09", "frames[0]", "the first frame", ("feed(raw.content)]", "feed(raw.content)][1:]")),
    cause("streaming-09", "frames[-1]", "the last bytes", ("feed(raw.content)]", "feed(raw.content[:-300])]")),
    cause(
        "streaming-11",
        "order ==",
        "a model that thinks",
        ("streaming-03", 'blue?")', 'blue?", model="claude-haiku-4-5")'),
    ),
    cause(
        "streaming-11",
        "first.trace.ttfe",
        "every frame but the text",
        (
            "kinds = [",
            "import copy\nwhole, first = first.trace, copy.copy(first)\nfirst.trace = type(whole)(whole.started)\n"
            "for mark in whole.of('delta'):\n    first.trace.add('delta', mark.value, at=mark.at)\nkinds = [",
        ),
    ),
    cause("streaming-15", 'broken.count("right")', "the cut", ("streaming-13", "in chunks:", 'in [b"".join(chunks)]:')),
    cause("streaming-15", '{"JSONDecodeError"', "the cut", ("streaming-13", "in chunks:", 'in [b"".join(chunks)]:')),
    cause(
        "streaming-17",
        "{outcome(patient",
        "the decoder's memory",
        ("in chunks for event in decoder.feed", "in chunks for event in sse.Decoder().feed"),
    ),
    cause("streaming-17", "slowly ==", "the decoder's memory", ("decoder.feed(bytes", "sse.Decoder().feed(bytes")),
    cause("streaming-19", "cut.stop_reason", "the truncation", ("faults=[faults.Truncate(after=12)], ", "")),
    cause("streaming-21", "short.error", "the truncation", ("asked(faults.Truncate(after=12))", "asked()")),
    cause("streaming-21", "0 <", "the truncation", ("asked(faults.Truncate(after=12))", "asked()")),
    cause(
        "streaming-23",
        "late.trace",
        "the words before the error",
        ("asked(faults.StreamError(after=12))", "asked(faults.Overloaded())"),
    ),
    cause("streaming-23", "late.error", "the error", ("asked(faults.StreamError(after=12))", "asked()")),
    cause("streaming-25", "(theirs.status_code", "the limit", ("faults=[faults.RateLimited(retry_after=7)]", "")),
    cause("streaming-27", "early.trace", "the limit", ("asked(faults.RateLimited(retry_after=7))", "asked()")),
    cause("streaming-27", "early.error", "the limit", ("asked(faults.RateLimited(retry_after=7))", "asked()")),
    cause("streaming-27b", 'table["sync", 1]', "the sync client", ("table = measure()", UNBLOCKED)),
    cause("streaming-27b", 'table["sync", 4]', "the sync client", ("table = measure()", UNBLOCKED)),
    cause("streaming-27b", 'table["async", 1]', "the sync client", ("table = measure()", UNBLOCKED)),
    cause("streaming-31", "run.status", "the stop", OWN, UNSTOPPED),
    cause("streaming-31", "first.text", "the patience", OWN, ("streaming-29", "len(run.text) < 80", "False")),
    cause("streaming-31", "stopped.ended", "the stop", OWN, UNSTOPPED),
    cause("streaming-31", "stopped.sent_bytes", "the stop", OWN, UNSTOPPED),
    cause("streaming-31d", 'ends["faithful"]', "the timeout", ("within(0.3, reader)", "within(30, reader)")),
    cause(
        "streaming-31d",
        'ends["swallowing"]',
        "the swallowing",
        ("streaming-31b", "        return\n", "        raise\n"),
    ),
    cause("streaming-31f", "connections", "the cut", (", fault=Cut(after_bytes=5000)", "")),
    cause("streaming-31f", "resumed.text", "the run that is kept", ("orphan_grace=5", "orphan_grace=0")),
    cause("streaming-31h", 'served("replay"', "the gap", ("listening = True", "listening, seen = True, list(log)")),
    cause(
        "streaming-31h",
        'served("subscribe"',
        "the overlap",
        ("list(log)", "[each for each in log if each not in queue]"),
    ),
    cause("streaming-31h", 'served("read on"', "the one operation", ("seen += log[", "seen = log[")),
    cause("streaming-31j", "[end.status", "the drop's cure", ("recovery=recovery)", 'recovery="fail")')),
    cause("streaming-31j", 'broken["restart"]', "the drop's cure", ("recovery=recovery)", 'recovery="fail")')),
    cause("streaming-31j", 'twice["restart"]', "the drop's cure", ("recovery=recovery)", 'recovery="fail")')),
    cause(
        "streaming-31l", "first.text.startswith", "the question", ("Why is the sky blue?", "How does streaming work?")
    ),
    cause(
        "streaming-31l",
        "(survivor.text",
        "the crash",
        ("Server(bench.fake.url)", "Server(bench.fake.url, keeps_runs=False)"),
        ("        server.kill()\n        server.start()\n", ""),
    ),
    cause(
        "streaming-31l",
        "(survivor.status",
        "the crash",
        ("Server(bench.fake.url)", "Server(bench.fake.url, keeps_runs=False)"),
        ("        server.kill()\n        server.start()\n", ""),
    ),
    cause(
        "streaming-31n",
        '["closed" in end',
        "the one client for four loops",
        (
            "    return (await shared.",
            "    own = {'base_url': quick.fake.url, 'api_key': 'none', 'max_retries': 0}\n"
            "    async with anthropic.AsyncAnthropic(**own) as shared:\n        return (await shared.",
        ),
    ),
    cause(
        "streaming-33",
        '"running event loop"',
        "the loop of the cell",
        ("pasted = main()", "pasted, refusal = main(), ''"),
        (
            "    asyncio.run(pasted)",
            "    from concurrent.futures import ThreadPoolExecutor\n"
            "    ThreadPoolExecutor().submit(asyncio.run, pasted).result()",
        ),
    ),
    cause("streaming-35", "nested ==", "an upstream that answers whole", ("nested = ", f"{CUT}nested = ")),
    cause(
        "streaming-37",
        "short_nap",
        "the nested loop",
        ("asyncio.run(asyncio.sleep(seconds))", "await asyncio.sleep(seconds)"),
    ),
    cause("streaming-37", "after.status", "an upstream that answers whole", ("after = ", f"{CUT}after = ")),
    cause(
        "streaming-41",
        'written["cache_read',
        "the mark of the cache",
        ("streaming-39", ', "cache_control": {"type": "ephemeral"}', ""),
    ),
    cause(
        "streaming-41",
        'read["cache_read',
        "the equal beginning",
        ("streaming-39", "for _ in range(2):\n", 'for _ in range(2):\n    handbook["text"] = "!" + handbook["text"]\n'),
    ),
    cause(
        "streaming-41",
        "starts[-1].at",
        "the first frame: it is read at the end",
        ("streaming-39", 'starts.append(cached.trace.last("start"))', 'starts.append(cached.trace.last("done"))'),
    ),
]

RETRY = [
    cause("cell-03", "refusal.status_code", "the limit", ("[faults.RateLimited(retry_after=7)]", "")),
    cause(
        "cell-08",
        "rehearse(articles, *refused).requests",
        "the SDK's own retries",
        ("faults.RateLimited()", "faults.RateLimited(should_retry=False)"),
    ),
    cause("cell-08", "rehearse(articles, *refused, max", "two of three attempts", ("cell-07", "= 3, 1.0", "= 1, 1.0")),
    cause(
        "cell-09b",
        "(twice.ending",
        "the third attempt",
        ("rehearse(articles, ", "rehearse(articles, faults.RateLimited(), "),
    ),
    cause("cell-09b", "waits ==", "the doubling", ("cell-07", "BASE_DELAY * 2**attempt", "BASE_DELAY")),
    cause("cell-09e", "(silent.ending", "the zero", ("MAX_RETRIES = 0", "MAX_RETRIES = 1")),
    cause(
        "cell-11",
        "overloaded.ending",
        "the short list of errors",
        ("cell-07", "(anthropic.RateLimitError, ", "(anthropic.APIStatusError, "),
    ),
    cause("cell-13", "alone.after", "the day that is told", ("retry_after=86_400", "")),
    cause("cell-15e", "str(pair[0])", "retry-after in the ten lines", ("cell-15", "failure.retry_after or 0", "0")),
    cause("cell-15e", "deaf.ending", "a wait too short", ("cell-07", "BASE_DELAY * 2**attempt", "7")),
    cause("cell-15b", "[attempt.failure", "the overload", (", faults.Overloaded(), max", ", max")),
    cause(
        "cell-19",
        "told(faults.StreamError(after=0))",
        "the retries",
        ("cell-17", "stream_with_retry(client, ", "stream_with_retry(client, RetryPolicy(max_retries=0), "),
    ),
    cause(
        "cell-19",
        "told(faults.StreamError(after=4))",
        "the rule of the first text",
        (
            "cell-17",
            "def streamed(client):\n    return retrying.stream_with_retry(client, **ask)",
            "async def streamed(client):\n    for attempt in range(2):\n        try:\n"
            "            async for text in retrying.stream_with_retry(client, **ask):\n                yield text\n"
            "            return\n        except retrying.StreamInterrupted:\n            pass",
        ),
    ),
    cause("cell-19", "wrapped.ending", "the stream", ("messages.stream(**ask)", "messages.create(**ask)")),
    cause("cell-20a", "twice.endswith", "the second try", ("range(2)", "range(1)")),
    cause(
        "cell-20a",
        "len(twice)",
        "the words before the error",
        ("faults.StreamError(after=4)", "faults.StreamError(after=0)"),
    ),
    cause("cell-23", 'served["full"]', "the lack of jitter", ("cell-21", "patient.but(jitter=jitter)", "patient")),
    cause("cell-23", 'drained["full"]', "the lack of jitter", ("cell-21", "patient.but(jitter=jitter)", "patient")),
    cause("cell-24b", 'cost["no bound"]', "most of the attempts", ("max_attempts=11", "max_attempts=4")),
    cause("cell-24b", 'cost["+ deadline 60 s"].longest', "the deadline", ("deadline=60.0", "deadline=600.0")),
    cause("cell-24b", 'cost["+ budget"]', "the budget", ("dated.but(budget=Budget(ratio=0.1))", "dated")),
    cause(
        "cell-26",
        'ends["spread"].served',
        "the jitter",
        ("both.but(honor_retry_after=False)", 'both.but(honor_retry_after=False, jitter="none")'),
    ),
    cause(
        "cell-26",
        'ends["told and spread"].requests',
        "the header",
        ('"told and spread": both,', '"told and spread": both.but(honor_retry_after=False),'),
    ),
    cause(
        "cell-26",
        'ends["thirty"].ended',
        "the thirty seconds",
        ("base_delay=30.0, max_delay=30.0", "base_delay=1.0, max_delay=1.0"),
    ),
    cause(
        "cell-28",
        "patience[2][0]",
        "the patience",
        ("RetryPolicy(max_retries=8, base_delay=2.0)", "RetryPolicy(max_retries=0)"),
    ),
    cause(
        "cell-28",
        "patience[-1][0]",
        "the overload",
        ("Scenario.steady(rpm=50, load", "Scenario.bursty(rpm=50, load"),
        ("1.1, 1.4]", "1.1, 0.8]"),
    ),
    cause("cell-28", "patience[-1][1]", "the overload", ("1.1, 1.4]", "1.1, 0.95]")),
    cause("cell-32", "asks[2, 0]", "the pacer", ("RetryPolicy(pacer=Pacer(rate=0.95 * 50 / 60))", "RetryPolicy()")),
    cause("cell-32", "asks[2, 4]", "the pacer", ("RetryPolicy(pacer=Pacer(rate=0.95 * 50 / 60))", "RetryPolicy()")),
    cause("cell-36", "answer.winner", "the goal", ("success=0.99", "success=0.5")),
    cause("cell-38b", "success[1]", "the longer base", ("in (1.0, 5.0)", "in (1.0, 1.0)")),
    cause("cell-38b", "p95[1]", "the longer base", ("in (1.0, 5.0)", "in (1.0, 1.0)")),
    cause(
        "cell-40",
        "check",
        "the one millisecond that is the same",
        (
            "ladder.verify(small, answer.policy, layer=layer)",
            'ladder.compare(("model", layer), ladder.rows("model", small, answer.policy), ladder.rows(layer, small, '
            + LATER_BY_A_MILLISECOND,
        ),
    ),
    cause(
        "cell-40b",
        "another_day()",
        "the one millisecond that is the same",
        (
            'ladder.verify(small, answer.policy, layer="sdk", seed=next(days))',
            'ladder.compare(("model", "sdk"), ladder.rows("model", small, answer.policy), ladder.rows("sdk", small, '
            + LATER_BY_A_MILLISECOND,
        ),
    ),
    cause("cell-42", '"attempt 2"', "the millisecond", ('{"overloaded": 1.001}', "{}")),
]

LARGER = ('"buffered": Rule()', '"buffered": Rule(buffer_size=8192, buffers=(8, 8192))')
UNBUFFERED = ('"buffered": Rule()', '"buffered": Rule(buffering=False)')

BUFFERING = [
    cause("cell-05", "last.count", "one of three events", ("cell-03", '"Some", "where", ', '"Some", ')),
    cause("cell-09", "steps[1]", "the page", ("cell-07", *LARGER)),
    cause("cell-09", "steps[0]", "the page", ("cell-07", *LARGER)),
    cause(
        "cell-09",
        'traces["buffered"]',
        "the orderly end",
        ("cell-07", "Rule(buffering=False)}, answer)", 'Rule(buffering=False)}, answer, ending="reset")'),
    ),
    cause("cell-11", 'felt["buffered"].first_share', "the buffer", ("cell-07", *UNBUFFERED)),
    cause("cell-11", 'felt["buffered"].hold', "the buffer", ("cell-07", *UNBUFFERED)),
    cause(
        "cell-13", "waited ==", "the head in the first buffer", ("-(-(buffer_size - head_bytes)", "-(-(buffer_size)")
    ),
    cause("cell-15", "chunked.bursts", "the chunks", ('Rule(http_version="1.1")', 'Rule(http_version="1.0")')),
    cause("cell-15", "chunked.first_share", "the chunks", ('Rule(http_version="1.1")', 'Rule(http_version="1.0")')),
    cause("cell-19", "https.first_share", "TLS", ("same.but(tls=True)}", "same}")),
    cause("cell-19", "h2.arrivals", "HTTP/2", ("http2=True", "http2=False")),
    cause("cell-21", "gzip.first_share", "gzip", ("gzip=True, ", "")),
    cause("cell-24a", 'live["obeys"].text', "a whole answer", AGAIN, ("ignoring) as ignores", CUT_OFF)),
    cause(
        "cell-24a",
        'reads["obeys"]',
        "the obedience",
        AGAIN,
        ("Proxy(lab.url) as obeys", "Proxy(lab.url, ignoring) as obeys"),
    ),
    cause("cell-23", "max(cured)", "the header", ('fields=[("x-accel-buffering", "no")], ', "")),
    cause("cell-25", "[line for line", "HTTPS", ("tls=tls)", "tls=False)")),
    cause("cell-25", 'late["proxy_buffering', "HTTPS", ("tls=tls)", "tls=False)")),
    cause(
        "cell-27",
        "first_stair",
        "the rule's blindness",
        ("Release(Rule())", 'Release(Rule(buffering=b"event" not in kind))'),
    ),
    cause(
        "cell-29",
        "report.verdict",
        "the outer buffer",
        ("Proxy(inner.url).start()", "Proxy(inner.url, Rule(buffering=False)).start()"),
        ("(finding,) = report.findings", "finding = (*report.findings, None)[0]"),
    ),
    cause(
        "cell-29",
        "finding.where",
        "the inner hop's obedience",
        ("Proxy(app.url).start()", "Proxy(app.url, Rule(honor_x_accel=False)).start()"),
        ("(finding,) = report.findings", "finding = report.findings[0]"),
    ),
    cause(
        "cell-31",
        "again.verdict",
        "the cure",
        ("cell-29", "print(report)", "pass"),  # its servers are stopped by now: begin there
        ("Rule(buffering=False)", "Rule()"),
    ),
    cause("cell-33", "shapes[H11Protocol]", "the other parser", ("protocol=parser", "protocol=HttpToolsProtocol")),
    cause("cell-36", "delivered ==", "the pause", ("(2.0, b", "(0.1, b")),
    cause("cell-38", 'traces["HTTP/1.0', "HTTP/1.0", ('"HTTP/1.0 to the app": Rule()', '"HTTP/1.0 to the app": same')),
    cause("cell-38", 'traces["HTTP/1.1', "HTTP/1.1", ('"HTTP/1.1 to the app": same', '"HTTP/1.1 to the app": Rule()')),
    cause("cell-39a", "through", "Jupyter's proxy", ('"jupyter-server-proxy"', '"article"')),
    cause("cell-40", "{trap.name", "the short timeout", ("proxy_read_timeout 20s;", "proxy_read_timeout 300s;")),
    cause(
        "cell-42",
        "len(forecast",
        "the buffer of the run",
        ('location": rule}', 'location": rule.but(buffering=False)}'),
    ),
    cause(
        "cell-44",
        "sum(stairs[0])",
        "the last event of one",
        ("ours = course.send_through(routes, answer)", "ours = course.send_through(routes, answer[:-1])"),
    ),
    cause("cell-44", "all(step", "the page", (LARGER[0], LARGER[1].replace("8192", "6000"))),
]

SOLUTIONS = [
    cause("solution-11", "len(inside)", "the cut", ("in chunks:", 'in [b"".join(chunks)]:')),
    cause(
        "solution-13",
        "{run.error",
        "the drop",
        ('faults.Drop(after=12, at="inside a character")', "faults.Truncate(after=9)"),
    ),
    cause(
        "solution-13",
        'not any("\\ufffd"',
        "the decoder",
        (
            '        return bench.stream("Why is the sky blue?")',
            "        import httpx\n        from types import SimpleNamespace\n        raw = b''\n"
            "        ask = {'model': 'claude-haiku-5-5', 'max_tokens': 900, 'stream': True,"
            " 'messages': [{'role': 'user', 'content': 'Why is the sky blue?'}]}\n"
            "        headers = {'x-api-key': 'none', 'anthropic-version': '2023-06-01'}\n        try:\n"
            "            url = bench.fake.url + '/v1/messages'\n"
            "            with httpx.stream('POST', url, json=ask, headers=headers) as answer:\n"
            "                for chunk in answer.iter_raw():\n                    raw += chunk\n"
            "        except httpx.HTTPError:\n            pass\n"
            "        return SimpleNamespace(text=raw.decode('utf-8', 'replace'), error={'error': 'cut'})",
        ),
    ),
    cause(
        "solution-15",
        "run.text",
        "the same question",
        ("**ask, stop", "**ask | {'messages': [{'role': 'user', 'content': 'Hello!'}]}, stop"),
    ),
    cause("solution-15", "sentence.stop_reason", "the stop sequence", ('stop_sequences=["."]', "stop_sequences=[]")),
    cause("solution-15", "by_itself.sent_bytes", "the stop sequence", ('stop_sequences=["."]', "stop_sequences=[]")),
    cause("solution-21", "waits[6]", "the doubling", ("retries).waits", "retries, max_delay=1.0).waits")),
    cause("solution-21", "days[6]", "the outage", ("outage=120", "outage=1")),
    cause("solution-23", 'rows["0.1"]', "the burst", ("Budget(ratio=0.1, burst=500)", "Budget(ratio=0.1)")),
    cause(
        "solution-25",
        "found[1, 0]",
        "pacer and retries",
        (
            "RetryPolicy(max_retries=4, base_delay=1.0, pacer=Pacer(rate=50 / 60, burst=10))",
            "RetryPolicy(max_retries=0)",
        ),
    ),
    cause("solution-25", "found[1, 4]", "the pacer", (", pacer=Pacer(rate=50 / 60, burst=10)", "")),
    cause("solution-25", "found[1, 2]", "the burst", ("rate=50 / 60, burst=10", "rate=0.95 * 50 / 60")),
    cause("solution-31", "steps[0]", "the larger buffers", ("buffers=(8, 16384)", "buffers=(8, 4096)")),
    cause("solution-33", "report.verdict", "the header that is passed on", ('{"x-accel-buffering"}', "")),
    cause("solution-35", "waited[:4]", "the falling order", ("(16384, 4096, 1369, 440,", "(440, 1369, 4096, 16384,")),
    cause("solution-35", "22 /", "the price", ("(16384, 4096, 1369, 440, 256)", "(16384, 4096, 1369, 640, 500)")),
]

TABLES = {"00": MAP, "01": STREAMING, "02": RETRY, "03": BUFFERING, "04": SOLUTIONS}
CAUSES = [Cause(lesson, *row) for lesson, rows in TABLES.items() for row in rows]
