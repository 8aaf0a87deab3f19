"""What will be asked and when: Poisson arrivals and prompts, all fixed by a seed before the first request."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.core.errors import BadInput, NotFound
from idiolect.core.rng import Streams

PROMPTS = Path(__file__).parent / "prompts.txt"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `at`: seconds after the beginning at which it arrives, whatever became of those before it."""

    at: float
    prompt: str | tuple[Mapping[str, Any], ...]  # a text, or the messages of a chat
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A load. `warmup` requests are asked before, one after the other, and are not counted."""

    requests: tuple[Asked, ...]
    warmup: tuple[Asked, ...] = ()
    rate: float = math.inf
    seed: int = 0

    @classmethod
    def make(
        cls,
        prompts: Sequence[Line],
        *,
        rate: float,
        requests: int,
        max_tokens: int = 64,
        warmup: int = 2,
        seed: int = 0,
        same: bool = False,
    ) -> Plan:
        """`rate` requests a second on average (infinite: all at once). Prompts are drawn at random; unless `same`, each
        begins with a number of its own, so that no cache of answers or of beginnings flatters the server."""
        streams = Streams(seed)
        draw, number = streams.numpy("prompts"), streams.child("number")
        times = [0.0] * warmup + arrivals(rate, requests, seed)
        made = []
        for i, at in enumerate(times):
            line = prompts[int(draw.integers(len(prompts)))]
            mark = "" if same else f"[{number.integer(i) % 16**8:08x}] "
            made.append(Asked(at, line.marked(mark), line.max_tokens or max_tokens))
        return cls(tuple(made[warmup:]), tuple(made[:warmup]), rate, seed)


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Arrival times of a Poisson process: independent exponential gaps of mean 1 / rate; the first comes at once."""
    if not rate > 0:
        raise BadInput(f"rate is {rate:g}", hint="give requests a second, above 0, or inf", param="rate")
    if count < 1:
        raise BadInput(f"requests is {count}", hint="give 1 or more", param="requests")
    if math.isinf(rate):
        return [0.0] * count
    gaps = Streams(seed).numpy("arrivals").exponential(1 / rate, count - 1)
    times = [0.0]
    for gap in gaps.tolist():
        times.append(times[-1] + gap)
    return times


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file of prompts."""

    text: str = ""
    messages: tuple[Mapping[str, Any], ...] = field(default=())
    max_tokens: int | None = None

    def marked(self, mark: str) -> str | tuple[Mapping[str, Any], ...]:
        if not self.messages:
            return mark + self.text
        if not mark:
            return self.messages
        first, *rest = self.messages
        return ({**first, "content": mark + str(first.get("content", ""))}, *rest)


def read_prompts(path: Path | None = None) -> list[Line]:
    """The prompts of a file: one a line, or JSON lines with `prompt` or `messages` and perhaps `max_tokens`. None:
    sixteen questions of our own."""
    path = path or PROMPTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="give a file with one prompt a line", param="prompts") from None
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="give UTF-8 text, one prompt a line") from None
    found = [_line(line, path, i) for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise BadInput(f"{path} holds no prompts", hint="write one a line", param="prompts")
    return found


def _line(text: str, path: Path, number: int) -> Line:
    if not text.lstrip().startswith("{"):
        return Line(text.strip())
    try:
        data = json.loads(text)
        if "messages" in data:
            return Line(messages=tuple(dict(m) for m in data["messages"]), max_tokens=data.get("max_tokens"))
        return Line(str(data["prompt"]), max_tokens=data.get("max_tokens"))
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            f"{path}, line {number} is no prompt", hint='write {"prompt": ...} or {"messages": [...]}, or plain text'
        ) from None
