"""The models the fake knows, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT = "claude-haiku-5-5"
"""The model of the lessons: the cheapest current one."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its context and output limits in tokens, and its habits.

    `thinks` models begin with a thinking block unless told not to; `prefill` ones continue a final assistant turn.
    """

    id: str
    display_name: str
    created_at: str
    max_input_tokens: int = 1_000_000
    max_tokens: int = 128_000
    thinks: bool = True
    prefill: bool = False
    lifecycle: str = "active"
    cache_minimum: int = 1_024
    alias_of: str | None = None

    @property
    def adapts(self) -> bool:
        """Whether the model thinks as much as it sees fit: from the 4.6 generation on, which takes no prefill."""
        return not self.prefill


def old(id: str, display_name: str, created_at: str, alias_of: str | None = None) -> Model:
    """Return a model of the 4.5 generation: it takes a prefill, and thinks only when asked to."""
    return Model(id, display_name, created_at, 200_000, 64_000, thinks=False, prefill=True, alias_of=alias_of)


MODELS = {
    model.id: model
    for model in (
        Model("claude-fable-5-2", "Claude Fable 5.2", "2026-10-01T00:00:00Z"),
        Model("claude-mythos-5-2", "Claude Mythos 5.2", "2026-10-01T00:00:00Z"),
        Model("claude-haiku-5-5", "Claude Haiku 5.5", "2026-09-15T00:00:00Z", max_tokens=64_000, cache_minimum=2_048),
        Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "2026-09-01T00:00:00Z"),
        Model("claude-opus-5-5", "Claude Opus 5.5", "2026-08-20T00:00:00Z"),
        Model("claude-fable-5-1", "Claude Fable 5.1", "2026-08-01T00:00:00Z"),
        Model("claude-mythos-5-1", "Claude Mythos 5.1", "2026-08-01T00:00:00Z"),
        Model("claude-sonnet-5", "Claude Sonnet 5", "2026-06-01T00:00:00Z"),
        Model("claude-fable-5", "Claude Fable 5", "2026-06-01T00:00:00Z"),
        Model("claude-mythos-5", "Claude Mythos 5", "2026-06-01T00:00:00Z"),
        Model("claude-opus-5", "Claude Opus 5", "2026-05-20T00:00:00Z"),
        Model("claude-opus-4-8", "Claude Opus 4.8", "2026-04-10T00:00:00Z", thinks=False),
        Model("claude-opus-4-7", "Claude Opus 4.7", "2026-03-10T00:00:00Z", thinks=False),
        Model("claude-mythos-preview", "Claude Mythos Preview", "2026-02-20T00:00:00Z", thinks=False),
        Model("claude-opus-4-6", "Claude Opus 4.6", "2026-02-04T00:00:00Z", thinks=False),
        Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-01-20T00:00:00Z", thinks=False),
        old("claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24T00:00:00Z"),
        old("claude-opus-4-5", "Claude Opus 4.5", "2025-11-24T00:00:00Z", "claude-opus-4-5-20251101"),
        old("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z"),
        old("claude-haiku-4-5", "Claude Haiku 4.5", "2025-10-15T00:00:00Z", "claude-haiku-4-5-20251001"),
        old("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "2025-09-29T00:00:00Z"),
        old("claude-sonnet-4-5", "Claude Sonnet 4.5", "2025-09-29T00:00:00Z", "claude-sonnet-4-5-20250929"),
    )
}
"""By id, newest first. The dates and sizes are ours where the vendor's are not known."""


def thinks(model: str) -> bool:
    """Tell whether a model thinks of its own accord."""
    return model in MODELS and MODELS[model].thinks


def describe(model: Model) -> dict[str, object]:
    """Return a model as `GET /v1/models` shows it."""
    yes, no = {"supported": True}, {"supported": False}
    thinking = yes if model.adapts else no
    return {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": model.created_at,
        "lifecycle": model.lifecycle,
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": {
            "batch": yes,
            "citations": yes,
            "code_execution": no,
            "context_management": no,
            "effort": {**thinking, **dict.fromkeys(("low", "medium", "high", "xhigh", "max"), thinking)},
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": {**no, "code_execution": no, "web_search": no},
            "structured_outputs": no,
            "thinking": {
                **yes,
                "types": {"adaptive": thinking, "between_tools": thinking, "disabled": yes, "enabled": yes},
            },
        },
    }
