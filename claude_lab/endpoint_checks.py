"""Checks of the other endpoints: counting tokens, models, message batches, beta paths."""

from __future__ import annotations

import json
import time
from typing import Any

from claude_lab.error_checks import envelope
from claude_lab.exchange import ASK, Api, Exchange, answered, equal, expect, rule
from claude_lab.tool_checks import WEATHER

COUNTING = "API reference: count tokens"
MODELS = "API reference: models"
BATCHES = "API reference: message batches"
COUNTED = {name: ASK[name] for name in ("model", "messages")}
PATIENCE = 30.0


def count(api: Api, **changes: Any) -> Exchange:
    """Count the tokens of a request."""
    return api.send("POST", "/v1/messages/count_tokens", {**COUNTED, **changes})


@rule(COUNTING)
def tokens_are_counted(api: Api) -> None:
    """`count_tokens` answers `{"input_tokens": n}`, and nothing else."""
    body = count(api).json
    expect(set(body) == {"input_tokens"} and body["input_tokens"] > 0, f"it answers {body!r:.100}")


@rule(COUNTING)
def tokens_are_counted_as_used(api: Api) -> None:
    """The count is the `input_tokens` that the message itself reports."""
    equal(count(api).json["input_tokens"], api.ask().usage["input_tokens"], "input_tokens")


@rule(COUNTING)
def longer_prompts_count_more(api: Api) -> None:
    """Ten times the text counts several times as much."""
    long = [{"role": "user", "content": "Why is the sky blue? " * 10}]
    few, many = count(api).json["input_tokens"], count(api, messages=long).json["input_tokens"]
    expect(many > 3 * few, f"{few} and {many}")


@rule(COUNTING)
def system_and_tools_are_counted(api: Api) -> None:
    """A system prompt and tools count too."""
    plain, more = count(api).json["input_tokens"], count(api, system="Be brief.", tools=[WEATHER]).json["input_tokens"]
    expect(more > plain, f"{plain} and {more}")


@rule(COUNTING)
def counting_takes_no_max_tokens(api: Api) -> None:
    """`max_tokens` is no field of `count_tokens`: 400."""
    envelope(count(api, max_tokens=10), 400, "invalid_request_error", "max_tokens")


@rule(COUNTING)
def counting_knows_its_models(api: Api) -> None:
    """An unknown model is a 404 here too."""
    envelope(count(api, model="claude-0"), 404, "not_found_error")


@rule(MODELS)
def models_are_listed(api: Api) -> None:
    """`GET /v1/models` is a page of models with its four fields."""
    page = api.send("GET", "/v1/models").json
    equal(set(page), {"data", "has_more", "first_id", "last_id"}, "the fields")
    expect(page["data"] and all(model["type"] == "model" for model in page["data"]), "no models")


@rule(MODELS)
def models_have_their_fields(api: Api) -> None:
    """A model has id, display name, creation time, lifecycle and limits."""
    wanted = {"id", "display_name", "created_at", "lifecycle", "max_input_tokens", "max_tokens"}
    model = api.send("GET", "/v1/models").json["data"][0]
    expect(wanted <= set(model), f"missing: {sorted(wanted - set(model))}")


@rule(MODELS)
def models_come_in_pages(api: Api) -> None:
    """`limit` cuts the page, and `has_more` says so."""
    page = api.send("GET", "/v1/models?limit=2").json
    equal((len(page["data"]), page["has_more"]), (2, True), "the page")


@rule(MODELS)
def models_go_on_after_an_id(api: Api) -> None:
    """`after_id` goes on where the last page ended."""
    first = api.send("GET", "/v1/models?limit=2").json
    second = api.send("GET", f"/v1/models?limit=2&after_id={first['last_id']}").json
    expect(second["first_id"] not in (None, *[model["id"] for model in first["data"]]), "the pages overlap")


@rule(MODELS)
def page_sizes_are_checked(api: Api) -> None:
    """A `limit` of 0 is a 400."""
    envelope(api.send("GET", "/v1/models?limit=0"), 400, "invalid_request_error", "limit")


@rule(MODELS)
def one_model_can_be_had(api: Api) -> None:
    """`GET /v1/models/{id}` answers with that model."""
    equal(api.send("GET", "/v1/models/claude-opus-4-6").json.get("id"), "claude-opus-4-6", "the id")


@rule(MODELS)
def aliases_name_a_model(api: Api) -> None:
    """An alias answers with the dated model it stands for."""
    equal(api.send("GET", "/v1/models/claude-haiku-4-5").json.get("id"), "claude-haiku-4-5-20251001", "the id")


@rule(MODELS)
def absent_models_are_404(api: Api) -> None:
    """An unknown model's page is a 404."""
    envelope(api.send("GET", "/v1/models/claude-0"), 404, "not_found_error")


def params(**changes: Any) -> dict[str, Any]:
    """Return the params of one request of a batch."""
    return {**ASK, "max_tokens": 16, **changes}


def create(api: Api, *requests: tuple[str, dict[str, Any]]) -> Exchange:
    """Create a batch."""
    listed = [{"custom_id": name, "params": body} for name, body in requests]
    return api.send("POST", "/v1/messages/batches", {"requests": listed}, fresh=True)


def ended(api: Api, id: str) -> Any:
    """Poll a batch until it has ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        batch = api.send("GET", f"/v1/messages/batches/{id}", fresh=True).json
        if batch.get("processing_status") == "ended":
            return batch
        time.sleep(0.05)
    raise AssertionError(f"batch {id} has not ended within {PATIENCE:.0f} seconds")


def lines(api: Api, id: str) -> dict[str, Any]:
    """Return the results of a batch, by custom id."""
    body = api.send("GET", f"/v1/messages/batches/{id}/results", fresh=True).body.decode()
    return {line["custom_id"]: line["result"] for line in map(json.loads, body.splitlines())}


@rule(BATCHES)
def batches_begin_in_progress(api: Api) -> None:
    """A new batch is in progress, all its requests processing, and has no results yet."""
    batch = create(api, ("a", params()), ("b", params())).json
    equal(batch.get("processing_status"), "in_progress", "processing_status")
    equal((batch["request_counts"]["processing"], batch["results_url"]), (2, None), "processing, results_url")


@rule(BATCHES)
def batches_look_like_batches(api: Api) -> None:
    """A batch's id begins with `msgbatch_`, and it expires a day after it was made."""
    batch = create(api, ("a", params())).json
    expect(batch["id"].startswith("msgbatch_") and batch["type"] == "message_batch", f"it is {batch!r:.100}")
    equal(batch["expires_at"][11:], batch["created_at"][11:], "the time of day it expires")


@rule(BATCHES)
def batches_end(api: Api) -> None:
    """A batch ends, and its counts add up."""
    batch = ended(api, create(api, ("a", params()), ("b", params())).json["id"])
    equal((batch["request_counts"]["succeeded"], batch["request_counts"]["processing"]), (2, 0), "the counts")
    expect(batch["ended_at"] and batch["results_url"], "no ended_at or results_url")


@rule(BATCHES)
def batch_results_are_messages(api: Api) -> None:
    """Each result has its custom id and a message."""
    id = create(api, ("a", params()), ("b", params())).json["id"]
    ended(api, id)
    found = lines(api, id)
    equal(sorted(found), ["a", "b"], "the custom ids")
    equal(found["a"]["message"]["type"], "message", "the type of a result's message")


@rule(BATCHES)
def batch_errors_are_results(api: Api) -> None:
    """A request that is wrong shows as an errored result; the others succeed."""
    id = create(api, ("good", params()), ("bad", params(max_tokens=-1))).json["id"]
    counts = ended(api, id)["request_counts"]
    equal((counts["succeeded"], counts["errored"]), (1, 1), "succeeded, errored")
    equal(lines(api, id)["bad"]["error"]["error"]["type"], "invalid_request_error", "the error")


@rule(BATCHES)
def batches_can_be_canceled(api: Api) -> None:
    """A canceled batch is canceling first, and then ended."""
    id = create(api, ("a", params())).json["id"]
    batch = api.send("POST", f"/v1/messages/batches/{id}/cancel", fresh=True).json
    expect(batch["processing_status"] == "canceling" and batch["cancel_initiated_at"], f"it is {batch!r:.120}")
    equal(ended(api, id)["request_counts"]["canceled"], 1, "canceled")


@rule(BATCHES)
def batches_are_listed(api: Api) -> None:
    """A new batch is in the list."""
    id = create(api, ("a", params())).json["id"]
    page = api.send("GET", "/v1/messages/batches?limit=5", fresh=True).json
    expect(id in [batch["id"] for batch in page["data"]], "it is not")


@rule(BATCHES)
def batches_can_be_deleted(api: Api) -> None:
    """A batch that has ended can be deleted, and is a 404 then."""
    id = create(api, ("a", params())).json["id"]
    ended(api, id)
    equal(
        api.send("DELETE", f"/v1/messages/batches/{id}", fresh=True).json["type"], "message_batch_deleted", "the type"
    )
    envelope(api.send("GET", f"/v1/messages/batches/{id}", fresh=True), 404, "not_found_error")


@rule(BATCHES)
def batches_are_not_empty(api: Api) -> None:
    """A batch without requests is a 400."""
    envelope(create(api), 400, "invalid_request_error", "requests")


@rule(BATCHES)
def custom_ids_are_unique(api: Api) -> None:
    """Two requests with one custom id are a 400."""
    envelope(create(api, ("a", params()), ("a", params())), 400, "invalid_request_error", "custom_id")


@rule("SDK: beta paths")
def beta_paths_are_served(api: Api) -> None:
    """`/v1/messages?beta=true` answers like `/v1/messages`."""
    equal(api.send("POST", "/v1/messages?beta=true", ASK).json.get("type"), "message", "the type")


@rule("API docs: beta headers")
def beta_names_are_taken(api: Api) -> None:
    """A beta header with a dated name is taken."""
    answered(api.ask(headers={"anthropic-beta": "output-300k-2026-03-24"}))
