"""Systems: a model here, the same model behind a server, a program, a search."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from idiolect import models, tune
from idiolect.core.call import (
    Call,
    Citation,
    Cited,
    Ctx,
    Delta,
    Event,
    Finished,
    Message,
    Mode,
    Passage,
    Retrieved,
    Sampling,
    Started,
    Usage,
)
from idiolect.core.errors import BadInput, Unavailable
from idiolect.engine import Engine, EngineConfig
from idiolect.evals.systems import HandlerSystem, HttpSystem, LocalConfig, LocalSystem, SearchSystem, encoding
from idiolect.evals.systems.http import told
from idiolect.evals.systems.local import weights_hash
from idiolect.evals.types import Choose, Document, Failed, Generate, Generated, Reply, Roll, Rolled, Search
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.local import LocalModel
from idiolect.gateway.upstream import Upstream
from idiolect.nn import Batch
from tests.engine.tiny import tiny_model
from tests.gateway.conftest import Running
from tests.tune.tiny import METHODS, shake

ASKED = [
    Choose("The sky is", (" blue", " green and red", " up")),
    Choose("The sky is ", ("blue", "red")),
    Choose("2 + 2 =", (" 4", " 5")),
    Roll("A text of some words, read as a whole."),
    Generate(prompt="abc", sampling=Sampling(max_tokens=5, temperature=0.0, logprobs=1, ignore_eos=True)),
]


def answers(system: Any, requests: Any) -> list[Reply]:
    async def collect() -> dict[int, Reply]:
        return {index: reply async for index, reply in system.answer(requests)}

    found = asyncio.run(collect())
    assert sorted(found) == list(range(len(requests)))
    return [found[i] for i in range(len(requests))]


def same(a: Reply, b: Reply, within: float = 1e-4) -> None:
    assert type(a) is type(b)
    if isinstance(a, Generated) and isinstance(b, Generated):
        assert (a.text, a.finish) == (b.text, b.finish)
    elif isinstance(a, Rolled) and isinstance(b, Rolled):
        assert abs(a.logprob - b.logprob) < within and (a.tokens, a.bytes) == (b.tokens, b.bytes)
    else:
        assert a.tokens == b.tokens and a.bytes == b.bytes and a.greedy == b.greedy  # type: ignore[union-attr]
        for x, y in zip(a.logprobs, b.logprobs, strict=True):  # type: ignore[union-attr]
            assert abs(x - y) < within


@pytest.fixture
def local() -> Iterator[LocalSystem]:
    """The tiny model in place of one from a file."""
    system = LocalSystem(LocalConfig("tiny"), progress=False)
    model = tiny_model()
    engine = Engine(model, EngineConfig(memory_bytes=1 << 22))
    system._loaded.update({"model": model, "engine model": model, "core": engine, "engine": engine})
    yield system
    system.close()


def test_a_batch_equals_each_alone(local: LocalSystem) -> None:
    together = answers(local, ASKED)
    for request, reply in zip(ASKED, together, strict=True):
        assert not isinstance(reply, Failed), reply
        same(reply, answers(local, [request])[0])


def test_spaces_at_the_end_of_a_context_belong_to_the_option(local: LocalSystem) -> None:
    one, two = answers(local, [Choose("The sky is ", ("blue", "red")), Choose("The sky is", (" blue", " red"))])
    assert one.logprobs == pytest.approx(two.logprobs)  # type: ignore[union-attr]
    assert one.tokens == two.tokens  # type: ignore[union-attr]


def test_a_text_s_size_is_that_of_its_scored_part(local: LocalSystem) -> None:
    """The first token has nothing before it: its bytes are nobody's bits, or a longer first token would look better."""
    (one,) = answers(local, [Roll("é is a letter")])
    assert (one.tokens, one.bytes, one.chars) == (13, 13, 13)  # type: ignore[union-attr]  # half of é is the first token
    (two,) = answers(local, [Roll("e is a letter")])
    assert (two.tokens, two.bytes, two.chars) == (12, 12, 12)  # type: ignore[union-attr]


def test_what_one_request_cannot_have_is_its_own_failure(local: LocalSystem) -> None:
    chat = Choose((Message("user", "hi"),), ("a", "b"))
    empty, good = Choose("x", ("", "b")), Choose("x", ("a", "b"))
    found = answers(local, [chat, good, empty, Roll("x"), Search("q", 3, "c")])
    assert [isinstance(reply, Failed) for reply in found] == [True, False, True, True, True]
    assert "chat template" in found[0].error  # type: ignore[union-attr]


def test_what_is_too_long_loses_its_beginning(local: LocalSystem) -> None:
    long = "x" * 400
    (found,) = answers(local, [Choose(long, (" a", " bcd"))])
    (cut,) = answers(local, [Choose(long[-253:], (" a", " bcd"))])  # 253 and 4 are one more than the context
    assert found.logprobs == pytest.approx(cut.logprobs, abs=1e-4)  # type: ignore[union-attr]


def test_settings_are_checked() -> None:
    with pytest.raises(BadInput, match="q8_0"):
        LocalConfig("embedded", weights="q8")


def test_fingerprints(cache: Path) -> None:
    a = LocalSystem(LocalConfig("embedded"), progress=False)
    assert a.fingerprint == LocalSystem(LocalConfig("embedded"), "other", progress=False).fingerprint
    others = [LocalConfig("embedded", weights="q8_0"), LocalConfig("embedded", runner="torch")]
    prints = {LocalSystem(config, progress=False).fingerprint for config in others}
    assert len(prints | {a.fingerprint}) == 3


def test_a_real_model_alone_and_in_a_batch(smol: Any) -> None:
    """The embedded model, with its template: options are scored as they follow the assistant's header."""
    system = LocalSystem(LocalConfig("embedded"), progress=False)
    system._loaded["model"] = smol
    asked = [
        Choose("Question: What is the capital of France?\nAnswer:", (" Rome", " Paris", " the Atlantic Ocean")),
        Choose((Message("user", "What is the capital of France? One word."),), ("Paris", "Berlin")),
        Choose("The opposite of hot is", (" cold", " stone")),
    ]
    together = answers(system, asked)
    for request, reply in zip(asked, together, strict=True):
        same(reply, answers(system, [request])[0])
    assert [reply.best for reply in together] == [1, 0, 0]  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------------ servers


@pytest.fixture
def served(local: LocalSystem, tmp_path: Path) -> Iterator[Running]:
    model = local.model
    engine = Engine(model, EngineConfig(memory_bytes=1 << 22))
    app = App(
        AppConfig(store=str(tmp_path / "store"), http=HttpConfig(port=0)),
        {"tiny": Served("tiny", LocalModel(model, engine, "tiny"), "model", 256)},
    )
    app.closers.callback(engine.close)
    running = Running(app)
    yield running
    running.stop()


def test_a_server_gives_what_the_model_gives(local: LocalSystem, served: Running) -> None:
    system = HttpSystem(Upstream(f"{served.url}/v1", "tiny"), f"{served.url}/v1", "tiny")
    for request, there, here in zip(ASKED, answers(system, ASKED), answers(local, ASKED), strict=True):
        assert not isinstance(there, Failed), (request, there)
        same(there, here, within=1e-3)


class Listing:
    """A server that lists one model; what it says of it can change."""

    def __init__(self, **said: Any) -> None:
        import http.server
        import threading

        self.said = said

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                body = json.dumps({"data": [{"id": "m", "created": time.time(), **self.said}]}).encode()
                handler.send_response(200)
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_changed_server_behind_the_same_address_is_another_system() -> None:
    """What the server says of its model is in the fingerprint; the time of day is not; what it cannot say is told."""
    ours, other = Listing(fingerprint="weights a"), Listing(meta={"n_params": 7})
    try:
        strong = asyncio.run(told(ours.url))
        assert strong == asyncio.run(told(ours.url)) and not strong.weak and strong.model == "m"
        weak = asyncio.run(told(other.url))
        assert weak == asyncio.run(told(other.url)) and "does not say which weights" in weak.weak
        named = asyncio.run(told(other.url, version="v2"))
        assert named.fingerprint != weak.fingerprint and not named.weak
        ours.said, other.said = {"fingerprint": "weights b"}, {"meta": {"n_params": 8}}
        assert asyncio.run(told(ours.url)).fingerprint != strong.fingerprint
        assert asyncio.run(told(other.url)).fingerprint != weak.fingerprint
    finally:
        ours.close()
        other.close()
    with pytest.raises(Unavailable, match="which models it has"):
        asyncio.run(told(ours.url))
    assert asyncio.run(told(ours.url, "m")).weak  # a server that lists nothing can still be asked
    assert HttpSystem(Upstream(ours.url, "m"), ours.url, "m").weak


def test_our_server_says_what_it_runs(served: Running, tmp_path: Path) -> None:
    found = asyncio.run(told(f"{served.url}/v1"))
    assert found.model == "tiny" and found.weak  # a handler that was given knows nothing of its weights
    served.app.served["tiny"] = replace(served.app.served["tiny"], fingerprint=lambda: "abc")
    assert not asyncio.run(told(f"{served.url}/v1")).weak
    assert served.http.get("/v1/models/tiny").json()["fingerprint"] == "abc"


def test_weights_of_one_name_and_other_content_are_not_mistaken(tmp_path: Path, cache: Path) -> None:
    """A local file has no checked hash: it is read, so what was measured of one model is not told of another."""
    prints, identities = [], []
    for seed in (0, 1):
        model: Any = tiny_model(seed)
        model.float()
        folder = tmp_path / str(seed) / "model"
        models.save(without_words(model), folder)
        source = models.inspect(folder, progress=False)
        assert not source.sha256
        identities.append(LocalModel(SimpleNamespace(source=source), None, "model").identity)  # type: ignore[arg-type]
        prints.append(weights_hash(str(folder)))
    assert identities[0] != identities[1] and prints[0] != prints[1]


def without_words(model: Any) -> Any:
    model.tokenizer = None
    return model


@pytest.mark.parametrize("name", ["lora", "ia3", "prefix", "prompt", "bottleneck"])
def test_every_kind_of_adapter_can_be_scored(local: LocalSystem, name: str) -> None:
    """Options and texts through the system: those of the module that has the adapter, and not those of the base."""
    asked = [r for r in ASKED if not isinstance(r, Generate)]
    base = answers(local, asked)
    mounted = shake(tune.attach(local.model, METHODS[name]), scale=0.3)
    local.model.requires_grad_(False)
    for request, reply, plain in zip(asked, answers(local, asked), base, strict=True):
        if isinstance(request, Roll):
            ids = local.model.tokenizer.encode(request.text)
            expected = [logprob(local.model, ids, 1)]
            found = [reply.logprob]  # type: ignore[union-attr]
            before = [plain.logprob]  # type: ignore[union-attr]
        else:
            question = encoding.question(local.model, request)  # type: ignore[arg-type]
            expected = [logprob(local.model, i, s) for i, s in zip(question.ids, question.start, strict=True)]
            found, before = list(reply.logprobs), list(plain.logprobs)  # type: ignore[union-attr]
        assert found == pytest.approx(expected, abs=1e-4) and found != pytest.approx(before, abs=1e-3)
    mounted.detach()


def logprob(model: Any, ids: Any, start: int) -> float:
    with torch.no_grad():
        table = model(Batch.pack([list(ids)])).log_softmax(-1)
    return sum(float(table[p - 1, ids[p]]) for p in range(start, len(ids)))


def test_a_server_that_cannot_score_is_one_clear_error() -> None:
    import http.server
    import threading

    class Deaf(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b'{"choices": [{"text": "hello", "logprobs": null}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as deaf:
        threading.Thread(target=deaf.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{deaf.server_port}/v1"
        system = HttpSystem(Upstream(url, "m"), url, "m")
        with pytest.raises(BadInput, match="no log-probabilities of a prompt"):
            answers(system, [Choose("a", ("b", "c"))])
        deaf.shutdown()
    with pytest.raises(Unavailable, match="does not answer"):
        answers(system, [Choose("a", ("b", "c"))])


# ----------------------------------------------------------------------------------------------------- programs

PASSAGE = Passage("p", "d.md", "text", (0, 4))


async def program(call: Call, ctx: Ctx) -> AsyncIterator[Event]:
    """A RAG program's events."""
    asked = call.messages[-1].content
    if asked == "down":
        raise Unavailable("nobody is here")
    yield Started("1", "inner", time.time())
    yield Retrieved(asked, (PASSAGE,))
    yield Mode(str(call.options.get("mode", "plain")))
    for part in (asked, " ", "[1]"):
        yield Delta(part)
    yield Cited((Citation(1, PASSAGE, "text", (0, 4)),))
    yield Finished("stop", Usage(7, 3))


def ask(text: str, **options: Any) -> Generate:
    return Generate((Message("user", text),), options=options)


def test_a_program_is_folded_with_its_sources() -> None:
    system = HandlerSystem(program, "rag", "print", options={"mode": "quote"})
    one, two, other = answers(system, [ask("a"), ask("b", mode="generate"), Choose("x", ("y",))])
    assert isinstance(one, Generated) and isinstance(two, Generated)
    assert (one.text, one.mode, one.model, one.finish) == ("a [1]", "quote", "inner", "stop")
    assert one.passages == (PASSAGE,) and one.citations[0].quote == "text" and one.usage == Usage(7, 3)
    assert one.ttft is not None and one.ttft <= one.seconds
    assert two.mode == "generate"
    assert isinstance(other, Failed) and "cannot answer a choose request" in other.error


def test_one_failure_is_an_item_and_many_are_the_end() -> None:
    system = HandlerSystem(program, "rag", "print", width=1)
    found = answers(system, [ask("a"), ask("down"), ask("b")])
    assert [isinstance(reply, Failed) for reply in found] == [False, True, False]
    with pytest.raises(Unavailable, match="nobody is here"):
        answers(system, [ask("down")] * 10)


def test_a_search_knows_its_documents() -> None:
    def index(documents: Any) -> Any:
        def search(query: str, top: int) -> list[tuple[str, float]]:
            hits = [(d.id, float(d.text.count(query))) for d in documents]
            return sorted(hits, key=lambda hit: -hit[1])[:top]

        return search

    class Corpus:
        corpus = "c"

        def documents(self) -> list[Document]:
            return [Document("1", "a"), Document("2", "b b"), Document("3", "b")]

    system = SearchSystem(index, "count", "count")
    (unknown,) = answers(system, [Search("b", 2, "c")])
    assert isinstance(unknown, Failed)
    system.prepare(Corpus())
    (found,) = answers(system, [Search("b", 2, "c")])
    assert found.ids == ("2", "3") and found.scores == (2.0, 1.0)  # type: ignore[union-attr]
