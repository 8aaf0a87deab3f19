"""A server that speaks OpenAI's protocol: it writes answers, and scores options where it echoes prompts with
log-probabilities (`/v1/completions` with `echo` and `logprobs`: ours, vLLM, llama.cpp's Python server; OpenAI's own
chat models do not)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from idiolect.core.call import Handler
from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput, Unavailable
from idiolect.evals.systems.handler import HandlerSystem
from idiolect.evals.types import Choose, Chosen, Failed, Kind, Reply, Request, Roll, Rolled

CANNOT = "this server gives no log-probabilities of a prompt (/v1/completions with echo and logprobs)"
VOLATILE = ("created", "permission", "fingerprint")  # of a list of models: changes with the time of day
WAY_OUT = "use tasks whose answers are written (gsm8k, ifeval), or a server that echoes, such as `idiolect up`"


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of a model. `weak`: why another model could be behind the same `fingerprint`."""

    model: str
    fingerprint: str
    weak: str = ""


async def told(url: str, model: str = "", key: str | None = None, version: str = "") -> Told:
    """Ask `/models`. Ours gives a fingerprint of weights, adapter, rounding and template; of others, what their list
    says (llama.cpp: sizes, vLLM: the path) and `version`, the caller's own word for what runs there, have to do.
    `model` "": the first of the list, and `Unavailable` without one."""
    entries: list[Mapping[str, Any]] = []
    why = ""
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(timeout=10.0, headers=headers) as client:
            entries = [dict(one) for one in (await client.get(f"{url}/models")).json()["data"]]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        why = str(error) or type(error).__name__
    if not model and not entries:
        raise Unavailable(f"{url} does not say which models it has: {why or 'an empty list'}", hint="add ,model=ID")
    model = model or str(entries[0].get("id"))
    entry = next((one for one in entries if str(one.get("id")) == model), {})
    if entry.get("fingerprint"):
        return Told(model, digest("http", model, str(entry["fingerprint"]), version))
    stable = {name: value for name, value in entry.items() if name not in VOLATILE}
    weak = "" if version else f"{url} does not say which weights answer as {model}"
    return Told(model, digest("http", url, model, version, canonical(stable)), weak)


class HttpSystem(HandlerSystem):
    """`handler` writes the answers (gateway's `Upstream`); `url` is the server's address with /v1. `weak`: see `Told`;
    a fingerprint that is made of the address alone always is."""

    kinds: frozenset[Kind] = frozenset({"generate", "choose", "roll"})

    def __init__(
        self,
        handler: Handler,
        url: str,
        model: str,
        name: str = "",
        *,
        key: str | None = None,
        fingerprint: str = "",
        weak: str = "",
        width: int = 4,
        timeout: float = 300.0,
    ) -> None:
        super().__init__(handler, name or model, fingerprint or f"http {url} {model}", model=model, width=width)
        self.about = {"address": url, "model": model}
        self.url = url.rstrip("/")
        self.weak = weak or ("" if fingerprint else f"nothing but the address {url} and the name {model} is known")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        scored = [i for i, r in enumerate(requests) if isinstance(r, (Choose, Roll))]
        if scored:
            gate = asyncio.Semaphore(self._width)
            async with httpx2.AsyncClient(timeout=self._timeout, headers=self._headers) as client:

                async def one(index: int) -> tuple[int, Reply]:
                    async with gate:
                        return index, await self._score(client, requests[index])

                tasks = [asyncio.create_task(one(i)) for i in scored]
                try:
                    for done in asyncio.as_completed(tasks):
                        yield await done
                finally:
                    for task in tasks:
                        task.cancel()
        rest = [i for i in range(len(requests)) if i not in set(scored)]
        if rest:
            async for index, reply in super().answer([requests[i] for i in rest]):
                yield rest[index], reply

    async def _score(self, client: httpx2.AsyncClient, request: Request) -> Reply:
        if isinstance(request, Roll):
            if request.window is not None or request.stride is not None:
                return Failed("a server reads a text in one piece; leave out window and stride")
            values, offsets, _ = await self._echo(client, request.text, 1)
            known = [(v, at) for v, at in zip(values, offsets, strict=True) if v is not None]
            if not known:
                return Failed("this server gave no log-probability of any token")
            scored = request.text[known[0][1] :]
            return Rolled(sum(v for v, _ in known), len(known), len(scored.encode()), len(scored))
        assert isinstance(request, Choose)
        if not isinstance(request.context, str):
            return Failed("a server's template is its own: options can be scored in plain text only (format: plain)")
        sums, counts, greedy = [], [], []
        for option in request.options:
            values, offsets, top = await self._echo(client, request.context + option, 1)
            cut = len(request.context.rstrip()) if request.context.strip() else 0
            own = [i for i, at in enumerate(offsets) if at >= cut and values[i] is not None]
            sums.append(sum(values[i] or 0.0 for i in own))
            counts.append(len(own))
            greedy.append(all((values[i] or 0.0) >= max(top[i].values(), default=0.0) - 1e-6 for i in own))
        if not all(counts):
            return Failed("an option has no tokens of its own on this server")
        return Chosen(tuple(sums), tuple(counts), tuple(len(o.encode()) for o in request.options), tuple(greedy))

    async def _echo(
        self, client: httpx2.AsyncClient, text: str, top: int
    ) -> tuple[list[float | None], list[int], list[dict[str, float]]]:
        """Of each token of the text: its log-probability, its place, and the likeliest there."""
        body = {"model": self._model, "prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": top}
        try:
            answer = await client.post(f"{self.url}/completions", json=body)
        except httpx2.HTTPError as error:
            raise Unavailable(f"{self.url} does not answer: {error}", hint="is the server running?") from None
        try:
            data: Any = answer.json()
        except ValueError:
            data = {}
        if answer.status_code != 200:
            said = (data.get("error") or {}).get("message") if isinstance(data, dict) else None
            raise BadInput(f"{self.name}: {said or answer.status_code}; {CANNOT}", hint=WAY_OUT)
        found = (data.get("choices") or [{}])[0].get("logprobs") or {}
        values, offsets = found.get("token_logprobs"), found.get("text_offset")
        if not values or not offsets or len(values) != len(offsets) or sum(o < len(text) for o in offsets) < 2:
            raise BadInput(f"{self.name}: {CANNOT}", hint=WAY_OUT)
        inside = [i for i, at in enumerate(offsets) if at < len(text)]  # what was written after the text is not its
        tops = found.get("top_logprobs") or [None] * len(values)
        return [values[i] for i in inside], [offsets[i] for i in inside], [dict(tops[i] or {}) for i in inside]
