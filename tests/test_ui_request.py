from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_lab.ui import WITHDRAWN
from claude_lab.ui_request import LONGEST_ID, read

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def text(words: str, **extra: Any) -> dict[str, Any]:
    """A part of text."""
    return {"type": "text", "text": words, **extra}


def tool(state: str, **extra: Any) -> dict[str, Any]:
    """A part of a tool."""
    return {"type": "tool-weather", "toolCallId": "toolu_1", "state": state, "input": {"in": "Oslo"}, **extra}


def asked(*messages: tuple[str, list[dict[str, Any]]], **extra: Any) -> Any:
    """Read a request of these messages, each a role and its parts."""
    said = [{"id": f"m{i}", "role": role, "parts": parts} for i, (role, parts) in enumerate(messages)]
    return read({"id": "c", "messages": said, "trigger": "submit-message", **extra})


def test_texts_become_a_conversation() -> None:
    """Roles and texts stay; the page's ids and its trigger do not go upstream, other fields do."""
    found = asked(("user", [text("One?")]), ("assistant", [text("Yes.")]), ("user", [text("Two?")]), max_tokens=7)

    assert found.chat == "c"
    assert found.fields.pop("max_tokens") == 7
    assert found.fields == {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "One?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
            {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
        ]
    }


def test_system_messages_join_the_system_prompt() -> None:
    """What the page sets as a field comes first, then its system messages."""
    found = asked(("system", [text("Be brief.")]), ("user", [text("Hi")]), system="Be kind.")

    assert found.fields["system"] == "Be kind.\n\nBe brief."
    assert [turn["role"] for turn in found.fields["messages"]] == ["user"]


def test_what_a_model_is_not_shown_stays_behind() -> None:
    """Reasoning, steps, sources, data, empty and withdrawn text are left out, and a message of nothing else too."""
    left = [
        {"type": "reasoning", "text": "Hm."},
        {"type": "step-start"},
        {"type": "source-url", "url": "http://127.0.0.1", "sourceId": "1"},
        {"type": "data-retry", "data": {}},
        text(" \n"),
        text("Void.", providerMetadata=WITHDRAWN),
    ]

    found = asked(("user", [text("Hi")]), ("assistant", [*left, text("Yes.")]), ("assistant", left))

    assert found.fields["messages"][1:] == [{"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}]


def test_images_and_pdfs_are_sent_as_blocks() -> None:
    """A data URL goes as its bytes, any other as a URL."""
    pdf = {"type": "file", "mediaType": "application/pdf", "url": "https://docs.example/a.pdf"}

    found = asked(("user", [{"type": "file", "mediaType": "image/png", "url": PIXEL}, pdf, text("What is it?")]))

    image, document, _ = found.fields["messages"][0]["content"]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert (document["type"], document["source"]["url"]) == ("document", "https://docs.example/a.pdf")


@pytest.mark.parametrize(
    ("part", "result"),
    [
        (tool("output-available", output="Rain."), {"content": "Rain."}),
        (tool("output-available", output={"sky": "grey"}), {"content": '{"sky": "grey"}'}),
        (tool("output-error", errorText="No."), {"content": "No.", "is_error": True}),
        (tool("output-denied"), {"content": "The user did not allow this call.", "is_error": True}),
    ],
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_tool_s_call_and_result_are_two_turns(part: dict[str, Any], result: dict[str, Any], dynamic: bool) -> None:
    """What the assistant said and called, then the result as the user's turn, then what it said to that."""
    if dynamic:
        part = {**part, "type": "dynamic-tool", "toolName": "weather"}

    found = asked(("user", [text("?")]), ("assistant", [text("I look."), part, {"type": "step-start"}, text("Wet.")]))

    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"in": "Oslo"}}
    assert found.fields["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", **result}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Wet."}]},
    ]


def test_a_message_that_goes_on_keeps_its_id() -> None:
    """When the last message is the assistant's, the answer belongs to it."""
    done = tool("output-available", output="Rain.")

    assert asked(("user", [text("?")]), ("assistant", [done])).continues["id"] == "m1"
    assert asked(("user", [text("?")])).continues is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "not what useChat sends"),
        ([], "not what useChat sends"),
        ({"message": "Hi"}, "not what useChat sends"),
        ({"id": "c", "messages": ["Hi"]}, "not what useChat sends"),
        ({"messages": []}, "chat's id 'None'"),
        ({"id": "", "messages": []}, "chat's id"),
        ({"id": "x" * (LONGEST_ID + 1), "messages": []}, "1 to 200 characters"),
        ({"id": "c", "messages": [{"id": "m", "role": "user"}]}, "'m' has no parts"),
        ({"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{}]}]}, "'m' has no parts"),
        ({"id": "c", "messages": [{"role": "data", "parts": []}]}, "role 'data'"),
        (
            {"id": "c", "messages": [{"role": "assistant", "parts": [tool("input-available")]}]},
            "'toolu_1' has no result",
        ),
        (
            {"id": "c", "messages": [{"role": "user", "parts": [{"type": "file", "mediaType": "text/csv"}]}]},
            "'text/csv'",
        ),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(body: Any, said: str) -> None:
    """The page shows the sentence; it says what to do."""
    with pytest.raises(ValueError, match=said) as refused:
        read(body)

    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 200


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["text", "file", "dynamic-tool"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "role", "parts", "type", "text", "state", "toolCallId", "input", "url", "mediaType"])
            | st.text(max_size=4),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)
parts = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "file", "dynamic-tool", "tool-x", "step-start", "reasoning"])},
        optional={
            "text": junk,
            "state": st.sampled_from(["output-available", "output-error", "input-streaming"]) | junk,
            "toolCallId": junk,
            "toolName": junk,
            "output": junk,
            "input": junk,
            "mediaType": st.just("image/png") | junk,
            "url": junk,
            "providerMetadata": junk,
        },
    ),
    max_size=4,
)
message = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "parts": parts | junk})


@given(st.fixed_dictionaries({"id": st.text(max_size=5), "messages": st.lists(message, max_size=4) | junk}) | junk)
def test_a_hostile_body_is_read_or_refused(body: Any) -> None:
    """Whatever is posted, the answer is a request that is JSON, or ValueError: never another exception."""
    try:
        found = read(body)
    except ValueError:
        return

    assert json.loads(json.dumps(found.fields)) == found.fields
    assert all(turn["role"] in ("user", "assistant") and turn["content"] for turn in found.fields["messages"])
