"""Events as JSON and back: the one shape that the store keeps, the trace shows and the exact cache replays.

Every event class has a kind (its name in lower case), except `Delta`, whose kind is `tokens`: many of them are kept as
one row. `decode(kind(e), encode(e))` gives back an equal event; how a text was cut into deltas is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from idiolect.core.call import (
    Citation,
    Cited,
    Delta,
    Event,
    Finished,
    Message,
    Mode,
    Note,
    Passage,
    Prompted,
    Retrieved,
    Started,
    Timing,
    TokenInfo,
    ToolCall,
    Usage,
)


def kind(event: Event) -> str:
    """The kind under which an event is stored."""
    return "tokens" if isinstance(event, Delta) else type(event).__name__.lower()


def message(turn: Message) -> dict[str, Any]:
    """A message in OpenAI's shape."""
    shape: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.name is not None:
        shape["name"] = turn.name
    if turn.tool_calls:
        shape["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in turn.tool_calls
        ]
    if turn.tool_call_id is not None:
        shape["tool_call_id"] = turn.tool_call_id
    return shape


def parse_message(shape: Mapping[str, Any]) -> Message:
    calls = tuple(
        ToolCall(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in shape.get("tool_calls") or ()
    )
    return Message(shape["role"], shape.get("content") or "", shape.get("name"), calls, shape.get("tool_call_id"))


def token(info: TokenInfo) -> dict[str, Any]:
    """A token. `raw` (hex) is written only where the text does not give the same bytes."""
    shape: dict[str, Any] = {"id": info.id, "text": info.text, "logprob": info.logprob}
    if info.top:
        shape["top"] = [list(alternative) for alternative in info.top]
    if info.raw and info.raw != info.text.encode(errors="surrogatepass"):
        shape["raw"] = info.raw.hex()
    return shape


def parse_token(shape: Mapping[str, Any]) -> TokenInfo:
    top = tuple((int(i), str(text), float(logprob)) for i, text, logprob in shape.get("top", ()))
    raw = bytes.fromhex(shape["raw"]) if "raw" in shape else shape["text"].encode(errors="surrogatepass")
    return TokenInfo(shape["id"], shape["text"], shape["logprob"], top, raw)


def passage(found: Passage) -> dict[str, Any]:
    return {
        "id": found.id,
        "document": found.document,
        "heading": list(found.heading),
        "page": found.page,
        "span": list(found.span),
        "text": found.text,
        "score": float(found.score),
        "scores": {ranker: float(score) for ranker, score in found.scores.items()},
    }


def parse_passage(shape: Mapping[str, Any], span: Sequence[int]) -> Passage:
    return Passage(
        shape["id"],
        shape["document"],
        shape["text"],
        (span[0], span[1]),
        tuple(shape["heading"]),
        shape["page"],
        shape["score"],
        dict(shape["scores"]),
    )


def citation(cited: Citation) -> dict[str, Any]:
    """A citation. `span` is the quote's place in the document's text, `passage_span` the whole passage's."""
    return {
        **passage(cited.passage),
        "number": cited.number,
        "span": list(cited.span),
        "passage_span": list(cited.passage.span),
        "quote": cited.quote,
        "supported": cited.supported,
    }


def parse_citation(shape: Mapping[str, Any]) -> Citation:
    span = shape["span"]
    found = parse_passage(shape, shape["passage_span"])
    return Citation(shape["number"], found, shape["quote"], (span[0], span[1]), shape["supported"])


def tokens(deltas: Iterable[Delta], index: int) -> dict[str, Any]:
    """One `tokens` row for consecutive deltas of one choice."""
    parts = list(deltas)
    return {
        "index": index,
        "text": "".join(delta.text for delta in parts),
        "tokens": [token(info) for delta in parts for info in delta.tokens],
    }


def encode(event: Event) -> dict[str, Any]:
    """The payload of one event."""
    match event:
        case Started(id, model, created):
            return {"id": id, "model": model, "created": created}
        case Prompted():
            return {
                "ids": list(event.ids),
                "pieces": list(event.pieces),
                "messages": [message(m) for m in event.messages],
                "purpose": event.purpose,
                "trimmed": event.trimmed,
            }
        case Retrieved(query, passages):
            return {"query": query, "passages": [passage(p) for p in passages]}
        case Mode(mode, why):
            return {"mode": mode, "why": why}
        case Delta():
            return tokens([event], event.index)
        case Cited(citations):
            return {"citations": [citation(c) for c in citations]}
        case Timing(stage, seconds):
            return {"stage": stage, "seconds": seconds}
        case Note(code, text, data):
            return {"code": code, "text": text, "data": dict(data)}
        case Finished(reason, usage, index):
            return {"reason": reason, "usage": encode_usage(usage), "index": index}


def encode_usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }


def decode(kind: str, payload: Mapping[str, Any]) -> Event | None:
    """The event of a stored row; None when the row is no event of a stream (`call`, `done`, `failed`, ...)."""
    p = payload
    match kind:
        case "started":
            return Started(p["id"], p["model"], p["created"])
        case "prompted":
            messages = tuple(parse_message(m) for m in p["messages"])
            return Prompted(tuple(p["ids"]), tuple(p["pieces"]), messages, p["purpose"], p["trimmed"])
        case "retrieved":
            return Retrieved(p["query"], tuple(parse_passage(x, x["span"]) for x in p["passages"]))
        case "mode":
            return Mode(p["mode"], p["why"])
        case "tokens":
            return Delta(p["text"], p["index"], tuple(parse_token(t) for t in p["tokens"]))
        case "cited":
            return Cited(tuple(parse_citation(c) for c in p["citations"]))
        case "timing":
            return Timing(p["stage"], p["seconds"])
        case "note":
            return Note(p["code"], p["text"], dict(p["data"]))
        case "finished":
            return Finished(p["reason"], Usage(**p["usage"]), p["index"])
        case _:
            return None
