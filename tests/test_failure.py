"""Classification, against every error class of the installed SDK."""

from pathlib import Path

import anthropic
import httpx2
import pytest
from sdk_rows import below, rows

from claude_lab.failure import HOPELESS, KINDS, Failure, classify, kind_of

KNOWN = (Path(__file__).parent / "sdk_errors.txt").read_text().splitlines()
CLIENT = anthropic.Anthropic(api_key="sk-lab")
NO_RESPONSE = {
    "APIError": "the root",
    "APIStatusError": "in the rows",
    "APIResponseValidationError": "our side",
    "APIWebhookValidationError": "our side",
    "APIConnectionError": "network_error",
    "APITimeoutError": "timeout",
    "RetryableError": "a middleware's own wish",
    "CredentialsError": "our side",
    "IdentityTokenFileError": "our side",
    "WorkloadIdentityError": "our side",
    "StreamAlreadyConsumed": "our side",
    "MissingDependencyError": "our side",
    "MutuallyExclusiveAuthError": "our side",
    "ToolsetUsageError": "our side",
    "ToolsetConfigError": "our side",
    "ToolsetContractError": "our side",
    "ToolsetsFixedError": "our side",
    "ToolsetClosedError": "our side",
    "BrowserStateError": "our side",
    "NestedCallError": "our side",
    "AsyncOnSyncToolsetError": "our side",
    "SyncOnAsyncToolsetError": "our side",
}


def test_every_status_error_of_the_sdk_has_its_row():
    """A class the SDK gains, or one that changes its status, must be judged anew: compare with `sdk_errors.txt`."""
    assert rows() == KNOWN


def test_every_other_error_of_the_sdk_is_known():
    """Errors without a response are connection errors, or faults of this side that no retry cures."""
    status = set(below(anthropic.APIStatusError))
    others = {cls.__name__ for cls in below(anthropic.AnthropicError) if cls not in status}

    assert others - set(NO_RESPONSE) == set()


@pytest.mark.parametrize("line", KNOWN)
def test_the_verdict_is_the_sdks_except_for_spend_limits(line: str):
    """Row by row the SDK's own rule gives the same answer; only a spend limit differs."""
    name, status, code, _, verdict = line.split()

    sdk = CLIENT._should_retry(httpx2.Response(int(status)))

    assert (verdict == "retry") == (sdk and code not in HOPELESS), name


@pytest.mark.parametrize("should_retry", [True, False])
def test_x_should_retry_is_obeyed(should_retry: bool):
    """The server's word beats the status, both ways."""
    assert classify(Failure("invalid_request", status=405, should_retry=should_retry)).retryable is should_retry
    assert classify(Failure("rate_limit", status=429, should_retry=should_retry)).retryable is should_retry


def test_a_spend_limit_stops_even_when_the_server_says_retry():
    """No wait of a call's length lifts it."""
    verdict = classify(Failure("rate_limit", status=429, error_code="enforced_spend_limit_reached", should_retry=True))

    assert not verdict.retryable
    assert "spend limit" in verdict.reason


@pytest.mark.parametrize("kind", KINDS)
def test_in_stream_errors_are_judged_by_their_kind(kind: str):
    """Status 200 says nothing about an error event: overload, limits, drops and stalls are transient."""
    transient = {"rate_limit", "overloaded", "server_error", "network_error", "timeout", "truncated"}

    assert classify(Failure(kind, status=200, mid_stream=True)).retryable == (kind in transient)


def test_the_bodys_type_says_the_kind_better_than_the_status():
    """An error event comes with status 200; a proxy's page has no type."""
    assert kind_of(200, "overloaded_error") == "overloaded"
    assert kind_of(502, None) == "server_error"
    assert kind_of(None, None) == kind_of(200, None) == "unknown"


def test_an_unknown_kind_is_refused():
    """The sentence names the value and the choice."""
    with pytest.raises(ValueError, match="'tired' is unknown; use one of rate_limit"):
        Failure("tired")
