"""What the fake says: a request's body in, a `Reply` out.

The rules are the API's where it has rules (stop sequences, `max_tokens`, the refusal test string); the words are ours.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from claude_lab import answers, chance, tokens
from claude_lab.messages import STOP_REASONS, Block, Json, Reply, Text, Thinking, ToolUse, Usage, cut
from claude_lab.prompts import blocks_of, place_of, text_of, turns, words_of
from claude_lab.refusals import sendable
from claude_lab.samples import sample

REFUSAL = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL"
"""The documented test string that makes a model refuse."""
WANTED = re.compile(r"(?<![\d,])(\d[\d,]{0,9})[ -](words?|tokens?)\b")
CONTINUE = re.compile(r"continue (exactly )?from where", re.I)
THINK_FROM = 256
"""Below so many `max_tokens` a model that thinks of its own accord goes straight to the answer."""
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
PREAMBLE = "Continuing from where I left off: "
OUT_OF_ROOM = "max_tokens"
CALL = 8
"""Tokens that a tool call takes besides its input."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How the fake answers: with a fixed `answer`, with `thinking` (None asks the model), and how well it continues.

    A continuation repeats the last `overlap` characters it was shown, after a `preamble` if wanted. `stop_reason` is
    put in place of `end_turn`, such as "pause_turn" or "model_context_window_exceeded".
    """

    answer: str | None = None
    thinking: bool | None = None
    overlap: int = 0
    preamble: bool = False
    refuse: bool = False
    stop_reason: str = "end_turn"

    def __post_init__(self) -> None:
        if not isinstance(self.answer, str | None):
            raise TypeError(f"answer={self.answer!r} is not a text.")
        if self.answer is not None and not sendable(self.answer):
            raise ValueError(f"answer={self.answer!r:.60} has half a surrogate pair in it, which UTF-8 cannot write.")
        if not isinstance(self.overlap, int) or self.overlap < 0:
            raise ValueError(f"overlap={self.overlap!r} counts repeated characters; give 0 or more.")
        for name in ("thinking", "preamble", "refuse"):
            if not isinstance(value := getattr(self, name), bool) and (value is not None or name != "thinking"):
                raise ValueError(f"{name}={value!r} is neither true nor false.")
        if self.stop_reason not in STOP_REASONS:
            raise ValueError(f"stop_reason={self.stop_reason!r} is not known; choose one of {STOP_REASONS}.")


def ident(prefix: str, *parts: int, length: int = 22) -> str:
    """Return an id such as `msg_01...`, the same for the same numbers in every process."""
    number = chance.key(f"{prefix}:{parts}") << 64 | chance.key(f"{parts}:{prefix}")
    letters = []
    for _ in range(length):
        number, digit = divmod(number, 58)
        letters.append(ALPHABET[digit])
    return f"{prefix}_01{''.join(letters)}"


@functools.lru_cache(maxsize=256)
def pieces_of(seed: int, text: str) -> tuple[str, ...]:
    """Cut a text into deltas: the same way for the same seed, and remembered."""
    numbers = iter(range(len(text) + 1))
    source = chance.key(text)
    return tuple(cut(text, lambda: chance.u(seed, source, next(numbers), chance.Purpose.CUT)))


@functools.lru_cache(maxsize=256)
def written(prompt: str) -> str:
    """Return the answer to a prompt, remembered, as long as the prompt asks for ("in 500 words", "2,000 tokens")."""
    text = answers.pick(prompt)
    if wanted := WANTED.search(prompt):
        words = int(wanted[1].replace(",", "")[:6])
        length = min(words, 50_000)
        text = " ".join(answers.fill(text, length).split(" ")[: max(1, length)])
    return text


def full_text(body: Mapping[str, Any], voice: Voice) -> str:
    """Return the text of the answer, before anything cuts it short."""
    prompts = turns(body, "user") or [""]
    if voice.answer is None and (shaped := formatted(body, prompts[-1])) is not None:
        return shaped
    results = blocks_of(body["messages"][-1], "tool_result")
    if results:
        return f"The tool answered: {text_of(results[-1].get('content') or '').strip() or 'nothing'}."
    asked = prompts[-1]
    if CONTINUE.search(asked):
        return continued(prompts, turns(body, "assistant"), voice)
    text = voice.answer if voice.answer is not None else written(asked)
    if body["messages"][-1]["role"] == "assistant":
        prefill = text_of(body["messages"][-1]["content"])
        return text[len(prefill) :] if text.startswith(prefill) else text
    return text


def continued(prompts: Sequence[str], said: Sequence[str], voice: Voice) -> str:
    """Return what follows the interrupted answer, with the overlap and preamble a real model may add."""
    asked = next((prompt for prompt in reversed(prompts) if not CONTINUE.search(prompt)), "")
    whole = voice.answer if voice.answer is not None else written(asked)
    start = max(0, place_of(whole, prompts[-1], said[-1].rstrip() if said else "") - voice.overlap)
    return (PREAMBLE if voice.preamble else "") + whole[start:]


def thinks(body: Mapping[str, Any], voice: Voice, *, by_default: bool) -> bool:
    """Tell whether the reply begins with thinking: as the request says, else as the voice, else as the model.

    A forced tool leaves no room for thoughts that nobody asked for.
    """
    asked = (body.get("thinking") or {}).get("type")
    if asked:
        return bool(asked != "disabled")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return False
    if voice.thinking is not None:
        return voice.thinking
    return by_default and body["max_tokens"] >= THINK_FROM


def thinking_block(body: Mapping[str, Any], seed: int, key: int) -> Thinking:
    """Return the thinking that comes first; "omitted" leaves only its signature."""
    omitted = (body.get("thinking") or {}).get("display") == "omitted"
    signature = "Ep" + ident("sig", seed, key, length=22)[6:] * 4 + "=="
    return Thinking(() if omitted else pieces_of(seed, answers.THINKING), signature)


def chosen_tool(body: Mapping[str, Any]) -> Json | None:
    """Return the tool to call, or None: the one demanded, else one named in the prompt, else the first."""
    tools: list[Json] = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    choice = body.get("tool_choice") or {"type": "auto"}
    if not tools or choice["type"] == "none" or blocks_of(body["messages"][-1], "tool_result"):
        return None
    if choice["type"] == "tool":
        return next((tool for tool in tools if tool["name"] == choice["name"]), None)
    prompt = (turns(body, "user") or [""])[-1].lower()
    return next((tool for tool in tools if tool["name"].lower().replace("_", " ") in prompt), tools[0])


def called(tool: Json, prompt: str, room: int, id: str) -> tuple[ToolUse, int, str]:
    """Return the call of a tool, the tokens it takes, and the stop reason: a call without room enough is cut short."""
    given = sample(tool["input_schema"], words_of(prompt))
    call = ToolUse(id, tool["name"], given if isinstance(given, dict) else {})
    size = CALL + len(call.pieces)
    if size <= room:
        return call, size, "tool_use"
    return replace(call, kept=max(0, room - CALL)), room, OUT_OF_ROOM


def formatted(body: Mapping[str, Any], prompt: str) -> str | None:
    """Return the answer that structured output asks for, as JSON, or None where nothing asks for it."""
    wanted = (body.get("output_config") or {}).get("format")
    return json.dumps(sample(wanted["schema"], words_of(prompt)), ensure_ascii=False) if wanted else None


def citations(body: Mapping[str, Any]) -> Iterator[Json]:
    """Yield a citation of the first sentence of each plain-text document that asks to be cited."""
    documents = [block for message in body["messages"] for block in blocks_of(message, "document")]
    for index, document in enumerate(documents):
        source = document.get("source") or {}
        if (document.get("citations") or {}).get("enabled") and source.get("type") == "text":
            end = source["data"].find(".") + 1 or len(source["data"])
            yield {
                "type": "char_location",
                "cited_text": source["data"][:end],
                "document_index": index,
                "document_title": document.get("title"),
                "start_char_index": 0,
                "end_char_index": end,
                "file_id": None,
            }


def stopped(text: str, body: Mapping[str, Any], room: int) -> tuple[str, str, str | None]:
    """Return the text as `stop_sequences` and `max_tokens` leave it, the stop reason and the stop sequence.

    The sequence itself is not part of the text.
    """
    found = [(text.find(stop), stop) for stop in body.get("stop_sequences") or () if stop and stop in text]
    reason, sequence = "end_turn", None
    if found:
        at, sequence = min(found)
        text, reason = text[:at], "stop_sequence"
    parts = tokens.split(text)
    if len(parts) > room:
        return "".join(parts[:room]), OUT_OF_ROOM, None
    return text, reason, sequence


def refused(id: str, body: Mapping[str, Any], usage: Usage) -> Reply:
    """Return a refusal: no content, and the reason under `stop_details`."""
    why = {"type": "refusal", "category": None, "explanation": "The request was refused by a test string."}
    return Reply(id, body["model"], (), usage, "refusal", None, why)


def compose(
    body: Mapping[str, Any], usage: Usage, *, voice: Voice, think: bool, seed: int, key: int, attempt: int
) -> Reply:
    """Return the reply to a valid request's body; `usage` brings the input counts, the output is counted here.

    `think` tells whether the model thinks of its own accord. Equal numbers give equal replies.
    """
    id = ident("msg", seed, key, attempt)
    prompt = (turns(body, "user") or [""])[-1]
    if voice.refuse or REFUSAL in prompt:
        return refused(id, body, usage)
    room = body["max_tokens"]
    blocks: list[Block] = []
    spent = 0
    if room and thinks(body, voice, by_default=think):
        block = thinking_block(body, seed, key)
        spent = min(room, tokens.count(answers.THINKING))
        blocks.append(block)
    sequence = None
    if room > spent and (tool := chosen_tool(body)):
        call, size, reason = called(tool, prompt, room - spent, ident("toolu", seed, key, attempt))
        blocks.append(call)
    else:
        text, reason, sequence = stopped(full_text(body, voice), body, room - spent)
        size = tokens.count(text)
        if text:
            blocks.append(Text(pieces_of(seed, text), tuple(citations(body))))
    counted = Usage(usage.input, spent + size, usage.cache_read, usage.cache_5m, usage.cache_1h, spent, usage.tier)
    reason = voice.stop_reason if reason == "end_turn" else reason
    return Reply(id, body["model"], tuple(blocks), counted, reason, sequence)
