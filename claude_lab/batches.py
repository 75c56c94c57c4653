"""Message batches: create, list, poll, results, cancel, delete. A batch is done some seconds after it was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_lab import bodies, clauses
from claude_lab.faults import Refusal
from claude_lab.frames import dump
from claude_lab.limits import stamp
from claude_lab.messages import Json, error_body
from claude_lab.replies import ident

DAY = 86_400
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")


@dataclass(slots=True)
class Batch:
    """One batch: its requests, its times (`created` and so on are Unix times), and its results once it has ended."""

    id: str
    requests: list[Json]
    created: float
    ends: float
    canceled: float | None = None
    ended: float | None = None
    results: list[Json] = field(default_factory=list)

    def status(self) -> str:
        """Return the processing status."""
        return "ended" if self.ended is not None else "in_progress" if self.canceled is None else "canceling"

    def counts(self) -> dict[str, int]:
        """Return how many requests are in each state; all are processing until the batch has ended."""
        tally = dict.fromkeys(COUNTS, 0)
        tally["processing"] = len(self.requests) - len(self.results)
        for line in self.results:
            tally[line["result"]["type"]] += 1
        return tally

    def json(self, base: str) -> Json:
        """Return the batch as the API shows it."""
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status(),
            "request_counts": self.counts(),
            "created_at": stamp(self.created),
            "expires_at": stamp(self.created + DAY),
            "ended_at": None if self.ended is None else stamp(self.ended),
            "cancel_initiated_at": None if self.canceled is None else stamp(self.canceled),
            "archived_at": None,
            "results_url": None if self.ended is None else f"{base}/v1/messages/batches/{self.id}/results",
        }


class Batches:
    """The batches of one fake. `answer` turns the params of one request into a message."""

    def __init__(self, answer: Callable[[Json, str], Json], seconds: float) -> None:
        self.answer = answer
        self.seconds = seconds
        self.kept: dict[str, Batch] = {}
        self.made = 0

    def create(self, body: Any, date: float) -> Batch | Refusal:
        """Take a batch in; raises nothing: what is wrong with single requests shows in their results."""
        if problem := bodies.BATCH(body, ""):
            return bodies.invalid(problem)
        names = [request["custom_id"] for request in body["requests"]]
        if len(set(names)) < len(names):
            return bodies.invalid("requests: custom_id must be unique within a batch")
        self.made += 1
        batch = Batch(ident("msgbatch", self.made), body["requests"], date, date + self.seconds)
        self.kept[batch.id] = batch
        return batch

    def find(self, id: str, date: float, version: str) -> Batch | None:
        """Return a batch as it is by now, or None."""
        batch = self.kept.get(id)
        if batch is not None and batch.ended is None and (batch.canceled is not None or date >= batch.ends):
            batch.results = [
                {"custom_id": request["custom_id"], "result": self._result(batch, request, version)}
                for request in batch.requests
            ]
            batch.ended = date
        return batch

    def _result(self, batch: Batch, request: Json, version: str) -> Json:
        if batch.canceled is not None:
            return {"type": "canceled"}
        params = request["params"]
        if refusal := clauses.check(params, version):
            return {"type": "errored", "error": error_body(refusal.error_type, refusal.message)}
        return {"type": "succeeded", "message": self.answer(params, batch.id + request["custom_id"])}

    def cancel(self, batch: Batch, date: float) -> None:
        """Begin to cancel a batch that is not done."""
        if batch.ended is None:
            batch.canceled = batch.canceled or date

    def delete(self, batch: Batch) -> Json | Refusal:
        """Delete a batch that is done."""
        if batch.ended is None:
            return bodies.invalid("Message Batches can only be deleted once they have finished processing.")
        del self.kept[batch.id]
        return {"id": batch.id, "type": "message_batch_deleted"}


def results(batch: Batch) -> str:
    """Return the results as JSON lines."""
    return "".join(f"{dump(line)}\n" for line in batch.results)


def page(items: list[Json], query: Mapping[str, str]) -> Json | Refusal:
    """Return one page of a list of objects with ids: `limit`, `after_id` and `before_id` are the query's."""
    limit = query.get("limit", "20")
    if not re.fullmatch("[0-9]{1,4}", limit) or not 1 <= int(limit) <= 1000:
        return bodies.invalid("limit: Input should be between 1 and 1000")
    ids = [item["id"] for item in items]
    start, stop = 0, len(items)
    if (after := query.get("after_id")) in ids:
        start = ids.index(after) + 1
    if (before := query.get("before_id")) in ids:
        stop = ids.index(before)
        start = max(start, stop - int(limit))
    chosen = items[start:stop][: int(limit)]
    return {
        "data": chosen,
        "has_more": start + len(chosen) < stop if before is None else start > 0,
        "first_id": chosen[0]["id"] if chosen else None,
        "last_id": chosen[-1]["id"] if chosen else None,
    }
