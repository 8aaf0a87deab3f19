"""Pieces of OpenAI's response shapes that several endpoints share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from idiolect.core.call import Completion, FinishReason, Note, Timing, TokenInfo, Usage
from idiolect.gateway import wire


def usage(used: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }


def finish_reason(reason: FinishReason | None, mode: str = "") -> str:
    """OpenAI's word for the end. A refusal for want of sources is an ordinary answer; an upstream's is its filter."""
    if reason == "refused":
        return "stop" if mode == "refuse" else "content_filter"
    return reason or "stop"


def spelled(text: str, raw: bytes) -> str:
    """A token as text; bytes that are no UTF-8 are written out as OpenAI does (`bytes:\\xe2\\x82`)."""
    if not raw:
        return text
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def chat_logprobs(tokens: Sequence[TokenInfo]) -> dict[str, Any]:
    def entry(text: str, raw: bytes, logprob: float | None) -> dict[str, Any]:
        return {
            "token": spelled(text, raw),
            "logprob": -9999.0 if logprob is None or logprob < -9999 else logprob,
            "bytes": list(raw or text.encode(errors="replace")),
        }

    return {
        "content": [
            {
                **entry(t.text, t.raw, t.logprob),
                "top_logprobs": [entry(text, b"", logprob) for _, text, logprob in t.top],
            }
            for t in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: Sequence[TokenInfo], offset: int) -> dict[str, Any]:
    """The older shape; `offset` is where the first token's text begins."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [spelled(t.text, t.raw) for t in tokens],
        "token_logprobs": [t.logprob for t in tokens],
        "top_logprobs": [{text: logprob for _, text, logprob in t.top} or None for t in tokens],
        "text_offset": offsets,
    }


def tool_calls(done: Completion, index: int) -> list[dict[str, Any]]:
    """The calls that the model wants of choice `index`."""
    return [
        {
            "id": e.data["id"],
            "type": "function",
            "function": {"name": e.data["name"], "arguments": e.data["arguments"]},
        }
        for e in done.events
        if isinstance(e, Note) and e.code == "tool_call" and e.data.get("index") == index
    ]


def timings(done: Completion) -> dict[str, float]:
    """Seconds of each stage, added up where it ran more than once."""
    total: dict[str, float] = {}
    for event in done.events:
        if isinstance(event, Timing):
            total[event.stage] = total.get(event.stage, 0.0) + event.seconds
    return total


def notes(done: Completion) -> list[dict[str, Any]]:
    return [
        {"code": e.code, "text": e.text, "data": dict(e.data)}
        for e in done.events
        if isinstance(e, Note) and e.code != "tool_call"
    ]


def extras(done: Completion, trace: str, node: str | None, user_node: str | None) -> dict[str, Any]:
    """What we say beside OpenAI's fields: `citations` and `idiolect`."""
    return {
        "citations": [wire.citation(c) for c in done.citations],
        "idiolect": {
            "trace": trace,
            "mode": done.mode.mode if done.mode else "plain",
            "why": done.mode.why if done.mode else "",
            "node": node,
            "user_node": user_node,
            "timings": timings(done),
            "notes": notes(done),
        },
    }
