"""The official `openai` client against a running server with the embedded models."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from idiolect.engine import Embedder, Engine, EngineConfig
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.local import LocalModel
from tests.gateway.conftest import Running

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.parity

TALK: Any = [{"role": "user", "content": "Name a colour of the rainbow."}]


@pytest.fixture(scope="module")
def server(smol: Any, minilm: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    engine = Engine(smol, EngineConfig(context=512, memory_bytes=128 << 20))
    config = AppConfig(store=str(tmp_path_factory.mktemp("openai") / "store"), http=HttpConfig(port=0))
    app = App(config, {"smol": Served("smol", LocalModel(smol, engine, "smol"), "model", 512)})
    app.engine_stats = engine.stats
    app.closers.callback(engine.close)
    app.embedders["minilm"] = (Embedder(minilm), lambda text: len(minilm.tokenizer.encode(text)) + 2)
    running = Running(app)
    yield running
    running.stop()


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_chat_streamed_and_whole_are_equal(client: Any) -> None:
    whole = client.chat.completions.create(model="smol", messages=TALK, temperature=0, max_tokens=12)
    stream = client.chat.completions.create(
        model="smol", messages=TALK, temperature=0, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content and text
    assert chunks[-1].usage.model_dump() == whole.usage.model_dump()
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert whole.usage.completion_tokens <= 12 and whole.model == "smol"
    stop = {"model": "smol", "messages": TALK, "temperature": 0, "max_tokens": 12, "stop": text.split()[2]}
    with client.chat.completions.stream(**stop) as helper:  # the client's own fold; it wants a natural end
        folded = helper.get_final_completion().choices[0].message.content
    assert folded == client.chat.completions.create(**stop).choices[0].message.content


def test_logprobs_are_those_of_the_distribution(client: Any) -> None:
    answer = client.chat.completions.create(
        model="smol", messages=TALK, temperature=0, max_tokens=6, logprobs=True, top_logprobs=5
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    spoken = b"".join(bytes(t.bytes) for t in content if not t.token.startswith("<|"))
    assert spoken.decode() == answer.choices[0].message.content
    for token in content:
        best = [t.logprob for t in token.top_logprobs]
        assert len(best) == 5 and best == sorted(best, reverse=True)
        assert token.logprob == pytest.approx(best[0], abs=1e-5)  # greedy: the best one was taken
        assert sum(map(math.exp, best)) <= 1 + 1e-5


def test_n_stop_and_seed(client: Any) -> None:
    def ask(**given: Any) -> Any:
        return client.chat.completions.create(model="smol", messages=TALK, max_tokens=12, **given)

    one, two = ask(n=3, seed=5), ask(n=3, seed=5)
    texts = [c.message.content for c in one.choices]
    assert [c.index for c in one.choices] == [0, 1, 2] and len(set(texts)) > 1
    assert texts == [c.message.content for c in two.choices]
    full = ask(temperature=0).choices[0].message.content
    word = full.split()[2]
    cut = ask(temperature=0, stop=[word]).choices[0]
    assert cut.message.content == full[: full.index(word)] and cut.finish_reason == "stop"
    assert (
        ask(
            temperature=0,
            extra_body={"ignore_eos": True},
        )
        .choices[0]
        .finish_reason
        == "length"
    )


def test_raw_completions(client: Any) -> None:
    made = client.completions.create(
        model="smol", prompt=["The sky is", "Once"], temperature=0, max_tokens=4, logprobs=2
    )
    assert len(made.choices) == 2 and len(made.choices[0].logprobs.tokens) == 4
    stream = client.completions.create(model="smol", prompt="The sky is", temperature=0, max_tokens=4, stream=True)
    assert "".join(c.choices[0].text for c in stream) == made.choices[0].text
    echoed = client.completions.create(model="smol", prompt="The sky is", temperature=0, max_tokens=4, echo=True)
    assert echoed.choices[0].text == "The sky is" + made.choices[0].text


def test_the_likelihood_of_a_prompt_as_lm_eval_asks_for_it(client: Any, smol: Any) -> None:
    """`local-completions` sends token ids with echo, logprobs 1 and max_tokens 1, and cuts the last token off."""
    from idiolect.engine import Scored

    ids = [smol.tokenizer.encode(text) for text in ("The capital of France is Paris.", "Once upon a time")]
    made = client.completions.create(model="smol", prompt=ids, temperature=0, max_tokens=1, logprobs=1, echo=True)
    engine = Engine(smol, EngineConfig(context=512, memory_bytes=64 << 20))
    for own, choice, start in zip(ids, made.choices, (4, 1), strict=True):
        found = choice.logprobs
        assert len(found.tokens) == len(own) + 1
        (right,) = engine.score([Scored(own, start)], 1)
        assert sum(found.token_logprobs[start:-1]) == pytest.approx(sum(t.logprob or 0 for t in right), abs=2e-2)
        greedy = [
            v == max(top.values()) for v, top in zip(found.token_logprobs[start:-1], found.top_logprobs[start:-1])
        ]
        assert greedy == [t.id == t.top[0][0] for t in right]
    none = client.completions.create(model="smol", prompt=ids, temperature=0, max_tokens=0, logprobs=1, echo=True)
    for own, choice, longer in zip(ids, none.choices, made.choices, strict=True):
        assert choice.logprobs.token_logprobs[1:] == pytest.approx(longer.logprobs.token_logprobs[1:-1], abs=2e-2)
        assert choice.finish_reason == "length" and choice.text == smol.tokenizer.decode(own)
    assert none.usage.completion_tokens == 0 and none.usage.prompt_tokens == sum(map(len, ids))
    with pytest.raises(openai.BadRequestError, match="echo"):
        client.completions.create(model="smol", prompt="x", max_tokens=0)


def test_responses(client: Any) -> None:
    made = client.responses.create(model="smol", input="Name a colour.", temperature=0, max_output_tokens=6)
    assert made.output_text and made.usage.output_tokens <= 6
    stream = client.responses.create(
        model="smol", input="Name a colour.", temperature=0, max_output_tokens=6, stream=True
    )
    events = list(stream)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == made.output_text
    assert events[-1].response.output_text == made.output_text and events[-1].response.status == made.status


def test_embeddings(client: Any) -> None:
    texts = ["a cat sat", "a kitten was sitting", "interest rates rose"]
    floats = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
    coded = client.embeddings.create(model="minilm", input=texts)  # the client asks for base64
    single = client.embeddings.create(model="minilm", input=texts[0])
    for a, b in zip(floats.data, coded.data, strict=True):
        assert a.embedding == pytest.approx(b.embedding, abs=1e-6)
    assert single.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-5)
    a, b, c = (d.embedding for d in floats.data)
    assert sum(x * x for x in a) == pytest.approx(1, abs=1e-4)
    assert sum(x * y for x, y in zip(a, b)) > sum(x * y for x, y in zip(a, c)) + 0.2
    assert floats.usage.prompt_tokens > 9
    for bad in ({"input": ""}, {"input": []}, {"input": [1, 2]}, {"input": "x", "dimensions": 10}):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="minilm", **bad)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="smol", input="x")


def test_models(client: Any) -> None:
    assert {m.id for m in client.models.list()} == {"smol", "minilm"}
    assert client.models.retrieve("smol").id == "smol"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_errors_have_the_clients_classes(client: Any) -> None:
    def ask(**given: Any) -> Any:
        return client.chat.completions.create(**{"model": "smol", "messages": TALK, **given})

    with pytest.raises(openai.NotFoundError) as missing:
        ask(model="smal")
    assert missing.value.code == "model_not_found" and "did you mean 'smol'" in missing.value.message
    for bad in ({"temperature": -1}, {"extra_body": {"temprature": 1}}, {"max_tokens": 0}, {"messages": []}):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(**bad)
        assert caught.value.body["param"]
    with pytest.raises(openai.BadRequestError) as long:
        ask(messages=[{"role": "user", "content": "word " * 2000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError):
        ask(messages=[{"role": "user", "content": "word " * 2000}], stream=True)


def test_a_stream_that_is_closed_early_frees_its_pages(client: Any, server: Running) -> None:
    stream = client.chat.completions.create(
        model="smol", messages=TALK, max_tokens=400, stream=True, temperature=0, extra_body={"ignore_eos": True}
    )
    for count, _ in enumerate(stream):
        if count == 3:
            break
    assert server.metric("idiolect_engine_running") == 1
    stream.close()
    deadline = time.monotonic() + 5
    while server.metric("idiolect_engine_running"):
        assert time.monotonic() < deadline, "the engine goes on"
        time.sleep(0.02)
    assert server.metric("idiolect_engine_pages_free") == server.metric("idiolect_engine_pages_total")
    assert server.metric("idiolect_engine_cancelled_total") >= 1
