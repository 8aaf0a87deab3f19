"""A model of this process as a handler: messages to ids by its own template, ids to the engine, outputs to events."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from idiolect.core.call import (
    Call,
    Ctx,
    Delta,
    Event,
    Finished,
    Message,
    Note,
    Prompted,
    Started,
    Timing,
    TokenInfo,
    Usage,
)
from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput, ContextOverflow, Unavailable
from idiolect.gateway.streams import closing, merge
from idiolect.models.identity import weights_hash

if TYPE_CHECKING:
    from idiolect.engine import Engine, Output
    from idiolect.engine.adapters import Using
    from idiolect.models import CausalModel


class LocalModel:
    """`LocalModel(model, engine)` is a handler.

    `call.options`: `overflow` is "error" (the default) or "trim" (drop the oldest turns until prompt and answer fit);
    `echo` puts a raw prompt in front of its completion; "only" ends there. A model without a chat template
    takes raw prompts only.
    """

    def __init__(self, model: CausalModel, engine: Engine | Using, id: str = "", adapter: str = "") -> None:
        """`adapter` is the hash of the one that `engine` goes through, if it does."""
        self.model, self.engine, self.id, self.adapter = model, engine, id or model.id, adapter

    @property
    def identity(self) -> str:
        """Stands for the weights that answer: what was measured of one identity holds for no other."""
        known = self.model.source.sha256
        weights = repr(sorted(known.items())) if known else weights_hash(self.model.source)
        return f"{weights} {self.adapter}" if self.adapter else weights

    @cached_property
    def fingerprint(self) -> str:
        """Changes with everything that could change an answer to a whole request: weights, adapter, who computes in
        which numbers, words and template."""
        model = self.model
        template = model.template.fingerprint if model.template is not None else ""
        runner = re.sub(r", \d+ threads?", "", self.engine.runner)
        return digest("model", self.identity, runner, template, model.tokenizer.fingerprint, canonical(model.sampling))

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self.engine.capacity

    async def __call__(self, call: Call, ctx: Ctx) -> AsyncGenerator[Event, None]:
        ctx.check()
        if call.options.get("response_format") is not None:
            raise BadInput(f"response_format is not available with {self.id}", param="response_format")
        ids, trimmed = self.prompt(call)
        streams = [self._choice(ids, call, ctx, index) for index in range(call.n)]
        yield Started(f"call-{uuid.uuid4().hex}", self.id, time.time())
        yield Prompted(tuple(ids), tuple(self.model.tokenizer.piece(token) for token in ids), trimmed=trimmed)
        if trimmed:
            yield Note("trimmed", trimmed)
        async with closing(merge(streams) if call.n > 1 else streams[0]) as events:
            async for event in events:
                yield event

    def prompt(self, call: Call) -> tuple[list[int], str]:
        """The ids that the model will read, and what was trimmed, in words."""
        tokenizer = self.model.tokenizer
        if call.prompt is not None:
            if isinstance(call.prompt, str):
                return tokenizer.encode(call.prompt, bos=True), ""
            return list(call.prompt), ""
        template = self.model.template
        if template is None:
            raise BadInput(f"{self.id} has no chat template", hint="use /v1/completions with a raw prompt")
        messages = list(call.messages)
        ids = template.render(messages, tools=call.tools).ids
        room = self.context - min(call.sampling.max_tokens or self.context // 4, self.context // 2)
        if call.options.get("overflow") != "trim" or len(ids) <= room:
            return ids, ""
        dropped = 0
        turns = groups(messages)
        while len(ids) > room and len(turns) > 1:
            dropped += len(turns.pop(0))
            ids = template.render([*system(messages), *(m for t in turns for m in t)], tools=call.tools).ids
        if len(ids) >= self.context:
            raise ContextOverflow(
                f"the last turn alone has {len(ids)} tokens, and the context holds {self.context}",
                hint="shorten it",
                param="messages",
            )
        return ids, f"the {dropped} oldest messages were left out to fit {self.context} tokens" if dropped else ""

    async def _choice(self, ids: list[int], call: Call, ctx: Ctx, index: int) -> AsyncGenerator[Event, None]:
        """One choice's deltas, timings and end."""
        if call.prompt is not None and call.options.get("echo") == "only":
            yield await self._echo(ids, call, ctx, index)
            yield Finished("length", Usage(len(ids)), index)
            return
        first = True
        async with closing(self.engine.stream(ids, call.sampling, ctx.cancel, n_index=index)) as outputs:
            async for output in outputs:
                if first and output.finish != "cancelled":
                    first = False
                    if index == 0:
                        yield Timing("queue", output.metrics.queue)
                    if call.prompt is not None and call.options.get("echo"):
                        yield await self._echo(ids, call, ctx, index)
                if output.text or output.tokens:
                    yield Delta(output.text, index, output.tokens)
                if output.finish is not None:
                    if index == 0:
                        yield Timing("prefill", output.metrics.prefill)
                        yield Timing("decode", output.metrics.decode)
                        yield self._speed(output)
                    yield Finished(output.finish, output.usage, index)
                    return
                if ctx.deadline is not None:
                    ctx.check()
        raise Unavailable("the engine ended the answer without a word")

    def _speed(self, output: Output) -> Note:
        """Who computed the answer and how fast it came, for the trace."""
        metrics, runner = output.metrics, self.engine.runner
        rate = metrics.tokens_per_second
        data = {"runner": runner, "ttft": metrics.ttft, "tokens_per_second": rate}
        return Note("speed", runner if rate is None else f"{rate:.1f} tokens/s by {runner}", data)

    async def _echo(self, ids: list[int], call: Call, ctx: Ctx, index: int) -> Delta:
        """The prompt as a delta; with log-probabilities when they were asked for (the first token has none)."""
        tokenizer = self.model.tokenizer
        if call.sampling.logprobs is None:
            return Delta(call.prompt if isinstance(call.prompt, str) else tokenizer.decode(ids), index)
        from idiolect.engine import Scored

        head = tokenizer.token_bytes(ids[0])
        tokens = [TokenInfo(ids[0], head.decode(errors="replace"), None, (), head)]
        if len(ids) > 1:
            tokens += (await self.engine.ascore([Scored(ids, 1)], call.sampling.logprobs, ctx.cancel))[0]
        return Delta("".join(t.text for t in tokens), index, tuple(tokens))


def system(messages: Sequence[Message]) -> list[Message]:
    """The leading system messages, which no trimming drops."""
    found = []
    for message in messages:
        if message.role != "system":
            break
        found.append(message)
    return found


def groups(messages: Sequence[Message]) -> list[list[Message]]:
    """Turns after the system messages: a user's message and all that answers it, tool calls with their results, so that
    dropping a turn never leaves half of a pair."""
    turns: list[list[Message]] = []
    for message in messages[len(system(messages)) :]:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns
