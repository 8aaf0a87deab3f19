"""The local handler on the embedded model: the prompt, the choices, the context policies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from idiolect.core.call import Call, Ctx, Delta, Finished, Message, Note, Prompted, Sampling, Started, Timing, fold
from idiolect.core.errors import BadInput, ContextOverflow
from idiolect.engine import Engine, EngineConfig
from idiolect.gateway.local import LocalModel, groups

GREEDY = Sampling(temperature=0, max_tokens=8)


@pytest_asyncio.fixture
async def local(smol: Any) -> AsyncIterator[LocalModel]:
    engine = Engine(smol, EngineConfig(context=256, memory_bytes=64 << 20))
    yield LocalModel(smol, engine)
    engine.close()


async def test_the_prompt_is_the_templates_and_the_words_are_the_engines(local: LocalModel) -> None:
    messages = (Message("user", "Name a colour."),)
    done = await fold(local(Call("x", messages, sampling=GREEDY), Ctx()))
    prompted = next(e for e in done.events if isinstance(e, Prompted))
    rendered = local.model.template.render(messages)  # type: ignore[union-attr]
    assert list(prompted.ids) == rendered.ids
    assert len(prompted.pieces) == len(prompted.ids) and prompted.pieces[0] == "<|im_start|>"
    (alone,) = await asyncio.to_thread(local.engine.generate, [rendered.ids], GREEDY)
    assert done.text == alone.text and [t.id for t in done.choices[0].tokens] == alone.ids
    assert isinstance(done.events[0], Started) and done.model == local.id
    assert {e.stage for e in done.events if isinstance(e, Timing)} == {"queue", "prefill", "decode"}
    assert done.usage.prompt_tokens == len(rendered.ids)


async def test_choices_differ_and_a_seed_repeats_them(local: LocalModel) -> None:
    call = Call("x", (Message("user", "Say a word."),), sampling=Sampling(seed=7, max_tokens=8), n=3)
    one, two = await asyncio.gather(fold(local(call, Ctx())), fold(local(call, Ctx())))
    assert [c.text for c in one.choices] == [c.text for c in two.choices]
    assert len({c.text for c in one.choices}) > 1
    assert sorted(e.index for e in one.events if isinstance(e, Finished)) == [0, 1, 2]


async def test_echo_gives_the_prompt_and_its_probabilities(local: LocalModel) -> None:
    plain = Call("x", prompt="The sky is", sampling=GREEDY, options={"echo": True})
    done = await fold(local(plain, Ctx()))
    assert done.text.startswith("The sky is") and len(done.text) > len("The sky is")
    scored = Call(
        "x", prompt="The sky is", sampling=Sampling(temperature=0, max_tokens=1, logprobs=2), options={"echo": True}
    )
    tokens = (await fold(local(scored, Ctx()))).choices[0].tokens
    assert "".join(t.text for t in tokens[:3]) == "The sky is"
    assert tokens[0].logprob is None and all(t.logprob is not None and t.logprob < 0 for t in tokens[1:3])


async def test_overflow_is_an_error_or_a_visible_trim(local: LocalModel) -> None:
    turns = [m for i in range(30) for m in (Message("user", f"Question {i}?"), Message("assistant", f"Answer {i}."))]
    messages = (Message("system", "Be brief."), *turns, Message("user", "The last question."))
    call = Call("x", messages, sampling=GREEDY)
    with pytest.raises(ContextOverflow):
        await fold(local(call, Ctx()))
    done = await fold(local(Call("x", messages, sampling=GREEDY, options={"overflow": "trim"}), Ctx()))
    prompted = next(e for e in done.events if isinstance(e, Prompted))
    text = "".join(prompted.pieces)
    assert len(prompted.ids) <= 256 - 8
    assert "brief" in text and "last" in text and "oldest messages were left out" in prompted.trimmed
    assert [e.code for e in done.events if isinstance(e, Note)] == ["trimmed", "speed"]
    huge = (Message("user", "word " * 400),)
    with pytest.raises(ContextOverflow):
        await fold(local(Call("x", huge, sampling=GREEDY, options={"overflow": "trim"}), Ctx()))


async def test_cancelling_frees_the_pages(local: LocalModel) -> None:
    ctx = Ctx()
    call = Call("x", (Message("user", "Count."),), sampling=Sampling(temperature=0, max_tokens=200, ignore_eos=True))
    reasons = []
    async for event in local(call, ctx):
        if isinstance(event, Delta):
            ctx.cancel.cancel()
        if isinstance(event, Finished):
            reasons.append(event.reason)
    assert reasons == ["cancelled"]
    stats = local.engine.stats()
    assert stats.running == 0 and stats.pages_free == stats.pages_total


async def test_what_it_cannot_do_is_said(local: LocalModel) -> None:
    with pytest.raises(BadInput, match="response_format"):
        await fold(
            local(Call("x", (Message("user", "x"),), options={"response_format": {"type": "json_object"}}), Ctx())
        )


def test_turns_keep_tool_calls_with_their_results() -> None:
    talk = [Message(r, str(i)) for i, r in enumerate(["system", "user", "assistant", "tool", "assistant", "user"])]  # type: ignore[arg-type]
    assert [[m.content for m in turn] for turn in groups(talk)] == [["1", "2", "3", "4"], ["5"]]
