"""An upstream is a real server: ours, on its own port. What comes through must equal what it would say directly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from idiolect.core.call import Call, Ctx, Delta, Finished, Message, Note, Prompted, Sampling, Started, Usage, fold
from idiolect.core.errors import BadInput, Cancelled, ContextOverflow, Overloaded, Unavailable
from idiolect.gateway.config import HttpConfig
from idiolect.gateway.keys import Keys
from idiolect.gateway.layers import LimitsConfig, RetryConfig
from idiolect.gateway.streams import closing
from idiolect.gateway.upstream import Upstream
from tests.gateway.programs import Speaker

CALL = Call("theirs", (Message("system", "s"), Message("user", "hi")), sampling=Sampling(logprobs=1), n=2)


async def test_an_answer_through_an_upstream_equals_the_direct_one(run: Callable[..., Any]) -> None:
    speaker = Speaker(["Hél", "lo", " 🌍"])
    upstream = Upstream(f"{run(speaker).url}/v1", "m")
    for call in (CALL, Call("theirs", prompt="raw", sampling=Sampling(logprobs=1), n=2)):
        direct, through = await fold(speaker(call, Ctx())), await fold(upstream(call, Ctx()))
        assert [c.text for c in through.choices] == [c.text for c in direct.choices]
        assert [c.reason for c in through.choices] == [c.reason for c in direct.choices]
        assert through.usage == Usage(3, 6, 1)
        for a, b in zip(through.choices, direct.choices, strict=True):
            assert [(t.text, t.logprob, t.raw) for t in a.tokens] == [
                (t.text, t.logprob, t.text.encode()) for t in b.tokens
            ]
        assert [type(e) for e in through.events[:2]] == [Started, Prompted]
        assert sorted(e.index for e in through.events if isinstance(e, Finished)) == [0, 1]
        assert through.model == "speaker"
    await upstream.aclose()


async def test_what_the_upstream_refuses_has_our_class_and_its_words(run: Callable[..., Any]) -> None:
    server = run(
        {
            "down": Speaker(error=Unavailable("sleeping")),
            "long": Speaker(error=ContextOverflow("too long")),
            "busy": Speaker(error=Overloaded("full")),
            "breaks": Speaker(error=Unavailable("broke"), fail_after=2),
        },
        retry=RetryConfig(attempts=1),
        limits=LimitsConfig(per_minute=600, burst=100),
    )

    async def error(model: str, url: str = "", **sampling: Any) -> Exception:
        upstream = Upstream(url or f"{server.url}/v1", model, timeout=5, connect=1)
        with pytest.raises(Exception) as caught:
            await fold(upstream(Call("x", CALL.messages, sampling=Sampling(**sampling)), Ctx()))
        await upstream.aclose()
        return caught.value

    found = await error("down")
    assert type(found) is Unavailable and "sleeping" in str(found)
    assert isinstance(await error("long"), ContextOverflow)
    assert isinstance(await error("busy"), Overloaded)
    found = await error("nobody")
    assert isinstance(found, BadInput) and "no model 'nobody'" in str(found)
    found = await error("breaks")
    assert isinstance(found, Unavailable) and "broke" in str(found)
    found = await error("m", url="http://127.0.0.1:9/v1")
    assert isinstance(found, Unavailable) and "cannot be reached" in str(found)
    with pytest.raises(BadInput):
        Upstream("file:///etc/passwd", "m")


async def test_a_key_is_sent_and_never_shown(run: Callable[..., Any], tmp_path: Any) -> None:
    keys = Keys(tmp_path / "keys.json")
    secret = keys.create("us")[1]
    server = run(Speaker(), http=HttpConfig(port=0, keys=str(keys.path)))  # asks for keys at /healthz: no
    good, bad = Upstream(f"{server.url}/v1", "m", secret), Upstream(f"{server.url}/v1", "m", "wrong")
    assert (await fold(good(Call("x", CALL.messages), Ctx()))).text == "Hello, world"
    with pytest.raises(Unavailable) as caught:
        await fold(bad(Call("x", CALL.messages), Ctx()))
    assert getattr(caught.value, "permanent", False)  # so that nobody retries it
    assert secret not in repr(vars(good)) and "wrong" not in str(caught.value)
    await good.aclose()
    await bad.aclose()


@pytest.mark.parametrize("how", ["close", "cancel", "task"])
async def test_leaving_closes_the_connection(how: str, run: Callable[..., Any]) -> None:
    speaker = Speaker(["word "] * 1000, pace=0.01)
    server = run(speaker)
    upstream = Upstream(f"{server.url}/v1", "m")
    ctx = Ctx()
    started = asyncio.Event()

    async def read() -> None:
        async with closing(upstream(Call("x", CALL.messages), ctx)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    started.set()
                    if how == "close":
                        return

    task = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), 10)
    if how == "cancel":
        ctx.cancel.cancel()
        with pytest.raises(Cancelled):
            await task
    elif how == "task":
        task.cancel()
        await asyncio.wait([task])
    else:
        await task
    deadline = time.monotonic() + 3
    while speaker.running:
        assert time.monotonic() < deadline, "the upstream goes on"
        await asyncio.sleep(0.01)
    await upstream.aclose()


async def test_tool_calls_come_back_whole(run: Callable[..., Any]) -> None:
    async def calls(call: Call, ctx: Ctx) -> Any:
        yield Started("x", "m", 0.0)
        for index in range(2):
            data = {"index": 0, "id": f"c{index}", "name": "look", "arguments": '{"x": "é"}'}
            yield Note("tool_call", "calls", data)
        yield Finished("tool_calls", Usage(1, 1))

    upstream = Upstream(f"{run(calls).url}/v1", "m")
    done = await fold(upstream(Call("x", CALL.messages, tools=({"type": "function"},)), Ctx()))
    notes = [e.data for e in done.events if isinstance(e, Note)]
    assert notes == [{"index": 0, "id": f"c{i}", "name": "look", "arguments": '{"x": "é"}'} for i in range(2)]
    assert done.choices[0].reason == "tool_calls"
    await upstream.aclose()
