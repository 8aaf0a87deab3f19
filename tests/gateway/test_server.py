"""The HTTP server around handlers whose events are known: shapes, errors, keys, and bad input over real sockets."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from idiolect.core.call import Citation, Cited, Delta, Finished, Mode, Note, Passage, Started, Usage
from idiolect.core.errors import BadInput, ContextOverflow, Unavailable
from idiolect.core.store import Store
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.keys import Keys
from idiolect.gateway.layers import LimitsConfig, RetryConfig
from idiolect.gateway.server.run import bind
from tests.gateway.programs import Speaker, ask

CHAT = "/v1/chat/completions"


def chunks(response: httpx2.Response) -> list[dict[str, Any]]:
    """The JSON objects of a stream, which must end with [DONE]."""
    data = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


# ------------------------------------------------------------------------------------------------------- shapes


def test_a_complete_answer_and_its_stream_say_the_same(run: Callable[..., Any]) -> None:
    http = run(Speaker(["Hél", "lo", " 🌍"])).http
    body = ask(n=2, logprobs=True, top_logprobs=2)
    whole = http.post(CHAT, json=body).json()
    assert whole["object"] == "chat.completion" and whole["model"] == "speaker"
    assert [c["message"]["content"] for c in whole["choices"]] == ["Héllo 🌍"] * 2
    assert [c["finish_reason"] for c in whole["choices"]] == ["stop"] * 2
    assert whole["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 6,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    response = http.post(CHAT, json={**body, "stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["content-type"].startswith("text/event-stream")
    got = chunks(response)
    for index in range(2):
        mine = [c["choices"][0] for c in got if c["choices"] and c["choices"][0]["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content") or "" for c in mine) == "Héllo 🌍"
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == ["stop"]
        tokens = [t for c in mine if c["logprobs"] for t in c["logprobs"]["content"]]
        assert tokens == whole["choices"][index]["logprobs"]["content"]
    assert got[-1]["usage"] == whole["usage"] and got[-1]["choices"] == []
    assert all(c["usage"] is None for c in got[:-1])
    assert got[-1]["idiolect"]["mode"] == "plain" and got[-1]["citations"] == []
    assert got[-1]["idiolect"]["timings"]["decode"] == 0.25
    assert "layer:trace" in got[-1]["idiolect"]["timings"]


def test_citations_and_notes_come_beside_openais_fields(run: Callable[..., Any]) -> None:
    passage = Passage("p", "a/b.md", "One. Two.", (10, 19), ("Top", "Sub"), 3, 0.5, {"bm25": 2.0})

    async def cites(call: Any, ctx: Any) -> Any:
        yield Started("x", "m", 0.0)
        yield Mode("quote", "measured")
        yield Delta("Two. [1]")
        yield Note("why", "because", {"a": 1})
        yield Cited((Citation(1, passage, "Two.", (15, 19), True),))
        yield Finished("stop", Usage(1, 1))

    http = run(cites).http
    whole = http.post(CHAT, json=ask()).json()
    assert whole["citations"] == [
        {
            "id": "p",
            "document": "a/b.md",
            "heading": ["Top", "Sub"],
            "page": 3,
            "span": [15, 19],
            "passage_span": [10, 19],
            "text": "One. Two.",
            "score": 0.5,
            "scores": {"bm25": 2.0},
            "number": 1,
            "quote": "Two.",
            "supported": True,
        }
    ]
    assert whole["idiolect"]["mode"] == "quote" and whole["idiolect"]["why"] == "measured"
    assert whole["idiolect"]["notes"] == [{"code": "why", "text": "because", "data": {"a": 1}}]
    trace = http.get(f"/api/traces/{whole['idiolect']['trace']}").json()["events"]
    assert [e["kind"] for e in trace if e["kind"] != "timing"] == [
        "call",
        "started",
        "mode",
        "tokens",
        "note",
        "cited",
        "finished",
        "done",
    ]
    assert trace[0]["messages"] == [{"role": "user", "content": "hi"}]


def test_raw_completions_of_several_prompts(run: Callable[..., Any]) -> None:
    http = run(Speaker(["a", "b"])).http
    body = {"model": "m", "prompt": ["x", "y"], "n": 2, "logprobs": 1}
    whole = http.post("/v1/completions", json=body).json()
    assert whole["object"] == "text_completion"
    assert [(c["index"], c["text"]) for c in whole["choices"]] == [(0, "ab"), (1, "ab"), (2, "ab"), (3, "ab")]
    assert whole["choices"][0]["logprobs"] == {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"a": -0.5, "x": -2.0}, {"b": -0.5, "x": -2.0}],
        "text_offset": [0, 1],
    }
    got = chunks(http.post("/v1/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}))
    for index in range(4):
        mine = [c["choices"][0] for c in got if c["choices"] and c["choices"][0]["index"] == index]
        assert "".join(c["text"] for c in mine) == "ab"
    assert got[-1]["usage"]["completion_tokens"] == 8 and whole["usage"]["completion_tokens"] == 8


def test_the_newer_responses_shape(run: Callable[..., Any]) -> None:
    http = run(Speaker()).http
    body = {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}
    whole = http.post("/v1/responses", json=body).json()
    assert whole["status"] == "completed"
    assert whole["output"][0]["content"][0]["text"] == "Hello, world"
    lines = http.post("/v1/responses", json={**body, "stream": True}).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created" and events[-1]["type"] == "response.completed"
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == "Hello, world"
    refused = http.post("/v1/responses", json={**body, "previous_response_id": "r"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "previous_response_id"


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"{not json", None, "not JSON"),
        (b"", None, "not JSON"),
        (b"[1]", None, "object"),
        (b"\xff\xfe", None, "JSON"),
        (ask(temprature=1), "temprature", "did you mean 'temperature'"),
        (ask(temperature=-1), "temperature", "0 to 100"),
        (ask(temperature="hot"), "temperature", "number"),
        (ask(top_p=1.5), "top_p", "0 to 1"),
        (ask(n=0), "n", "greater"),
        (ask(n=17), "n", "at most 16"),
        (ask(max_tokens=-5), "max_tokens", "-5"),
        (ask(max_tokens=5, max_completion_tokens=6), "max_tokens", "differ"),
        (ask(presence_penalty=-9), "presence_penalty", "-2 to 2"),
        (ask(top_logprobs=3), "top_logprobs", "needs logprobs"),
        (ask(top_logprobs=-1, logprobs=True), "top_logprobs", "greater"),
        (ask(logit_bias={"a": 1}), "logit_bias", "token id"),
        (ask(logit_bias={"5": 1000}), "logit_bias", "-100 to 100"),
        (ask(stop=[""]), "stop", "non-empty"),
        (ask(seed=1.5), "seed", "integer"),
        (ask(response_format={"type": "json_object"}), "response_format", "not available"),
        (ask(audio={"voice": "x"}), "audio", "null"),
        (ask(messages=[]), "messages", "at least 1"),
        (ask(messages=[{"role": "robot", "content": "x"}]), "messages.0.role", "'system'"),
        (ask(messages=[{"role": "user", "content": "x", "contnt": 1}]), "messages.0.contnt", "unknown field"),
        (
            ask(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            "messages",
            "text only",
        ),
        ({"messages": [{"role": "user", "content": "x"}]}, "model", "missing"),
        (ask(idiolect={"mod": "quote"}), "idiolect.mod", "unknown field"),
        (ask(idiolect={"length": 9}), "idiolect.length", "less than or equal to 5"),
        (ask(idiolect={"conversation": "../x"}), "idiolect.conversation", "no id"),
        (ask(idiolect={"regenerate": True}), "idiolect.conversation", "need a conversation"),
    ],
)
def test_bad_requests_are_named_in_openais_shape(body: Any, param: str | None, says: str, shared: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    for stream in (False, True):
        if stream and not isinstance(body, bytes):
            content = json.dumps({**body, "stream": True}).encode()
        response = shared.http.post(CHAT, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error" and error["param"] == param
        assert says in error["message"], error["message"]
        assert "\n" not in error["message"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for the many requests that change nothing."""
    from idiolect.gateway.app import App, Served
    from tests.gateway.conftest import Running

    config = AppConfig(
        store=str(tmp_path_factory.mktemp("shared") / "s"),
        http=HttpConfig(port=0, body_bytes=100_000),
        retry=RetryConfig(base=0.0),
    )
    handlers = {
        "m": Speaker(),
        "down": Speaker(error=Unavailable("the upstream is down", hint="start it")),
        "breaks": Speaker(error=Unavailable("it broke"), fail_after=1),
        "long": Speaker(error=ContextOverflow("too long", param="messages")),
        "bug": Speaker(error=ZeroDivisionError("secret detail")),  # type: ignore[arg-type]
    }
    running = Running(App(config, {id: Served(id, h, "model") for id, h in handlers.items()}))
    yield running
    running.stop()


def test_what_http_itself_refuses(shared: Any) -> None:
    http = shared.http

    def error(response: httpx2.Response, status: int, code: str) -> str:
        assert response.status_code == status, response.text
        assert response.json()["error"]["code"] == code
        return str(response.json()["error"]["message"])

    error(http.get(CHAT), 405, "method_not_allowed")
    assert http.get(CHAT).headers["allow"] == "POST"
    error(http.get("/v1/nothing"), 404, "not_found")
    assert "did you mean 'm'" in error(http.post(CHAT, json={**ask(), "model": "mm"}), 404, "model_not_found")
    error(http.post(CHAT, json=ask("x" * 200_000)), 413, "body_too_large")

    def endless() -> Any:  # no declared length
        for _ in range(30):
            yield b"x" * 10_000

    error(http.post(CHAT, content=endless()), 413, "body_too_large")
    assert error(http.post(CHAT, json={**ask(), "model": "down"}), 503, "unavailable").endswith("(start it)")
    error(http.post(CHAT, json={**ask(), "model": "down", "stream": True}), 503, "unavailable")
    error(http.post(CHAT, json={**ask(), "model": "long"}), 400, "context_length_exceeded")
    said = error(http.post(CHAT, json={**ask(), "model": "bug"}), 500, "internal_error")
    assert "secret" not in said
    got = chunks(http.post(CHAT, json={**ask(), "model": "breaks", "stream": True}))
    assert got[-1]["error"]["message"] == "it broke"  # after visible text it is an event of the stream
    deep = b'{"model":"m","messages":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert http.post(CHAT, content=deep).status_code == 400


def test_every_answer_has_the_safe_headers(shared: Any) -> None:
    for response in (shared.http.get("/healthz"), shared.http.get("/nowhere"), shared.http.post(CHAT, json=ask())):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers


def test_foreign_hosts_and_pages_are_kept_out(shared: Any) -> None:
    for host in ("evil.example", "evil.example:8017", "127.0.0.1.evil.example", ""):
        assert shared.http.get("/v1/models", headers={"host": host}).status_code in (400, 421), host
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert shared.http.get("/v1/models", headers={"host": host}).status_code == 200, host
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{shared.port + 1}"):
        response = shared.http.post(CHAT, json=ask(), headers={"origin": origin})
        assert response.status_code == 403 and response.json()["error"]["code"] == "wrong_origin"
    assert shared.http.post(CHAT, json=ask(), headers={"origin": shared.url}).status_code == 200


def test_allowed_origins_get_cors(run: Callable[..., Any]) -> None:
    http = run(Speaker(), http=HttpConfig(port=0, origins=("https://app.example",))).http
    ok = http.post(CHAT, json=ask(), headers={"origin": "https://app.example"})
    assert ok.headers["access-control-allow-origin"] == "https://app.example"
    assert http.post(CHAT, json=ask(), headers={"origin": "https://other.example"}).status_code == 403


def test_keys_are_hashed_and_checked_and_revoked_at_once(run: Callable[..., Any], tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    key, secret = keys.create("laptop")
    assert secret not in keys.path.read_text() and stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    server = run(Speaker(), http=HttpConfig(port=0, keys=str(keys.path)), limits=LimitsConfig(per_minute=1, burst=2))
    http = server.http
    for path in ("/v1/models", "/api/info", "/metrics", "/api/traces"):
        assert http.get(path).status_code == 401
    assert http.get("/healthz").status_code == 200
    error = http.post(CHAT, json=ask()).json()["error"]
    assert error["type"] == "authentication_error" and error["code"] == "missing_api_key"
    for wrong in (secret[:-1], secret + "x", "x", secret.upper()):
        response = http.post(CHAT, json=ask(), headers={"authorization": f"Bearer {wrong}"})
        assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    good = {"authorization": f"Bearer {secret}"}
    assert http.post(CHAT, json=ask(), headers=good).status_code == 200
    assert http.post(CHAT, json=ask(), headers=good).status_code == 200
    limited = http.post(CHAT, json=ask(), headers=good)  # the rate is the key's
    assert limited.status_code == 429 and int(limited.headers["retry-after"]) >= 1
    assert limited.json()["error"]["type"] == "rate_limit_error"
    other = keys.create("phone")[1]
    assert http.post(CHAT, json=ask(), headers={"authorization": f"Bearer {other}"}).status_code == 200
    keys.revoke("laptop")
    assert http.post(CHAT, json=ask(), headers=good).status_code == 401
    rows = list(server.app.store.events(kind="call"))
    assert rows[0].payload["tenant"] == key.id
    with pytest.raises(BadInput):
        bind(HttpConfig(host="0.0.0.0", port=0), keys=False)


def test_a_busy_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} on 127.0.0.1 is in use"):
            bind(HttpConfig(port=port), keys=False)


def test_configurations_that_cannot_work() -> None:
    for settings in ({"layers": ("cache", "trace")}, {"layers": ("cash",)}, {"layers": ("trace", "trace")}):
        with pytest.raises(BadInput):
            AppConfig(**settings)  # type: ignore[arg-type]
    for http in ({"port": -1}, {"port": 70000}, {"body_bytes": 1}):
        with pytest.raises(BadInput):
            HttpConfig(**http)
    with pytest.raises(BadInput):
        LimitsConfig(concurrent=0)


# ------------------------------------------------------------------------------------------------ the caller goes


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_that_hangs_up_stops_the_answer(stream: bool, run: Callable[..., Any]) -> None:
    speaker = Speaker(["word "] * 500, pace=0.01)
    server = run(speaker)
    wishes = {"conversation": "talk", "mode": "auto"}
    with httpx2.Client(base_url=server.url, timeout=10, trust_env=False) as client:
        if stream:
            with client.stream("POST", CHAT, json=ask("count", stream=True, idiolect=wishes)) as response:
                lines = response.iter_lines()
                while "word" not in next(lines):
                    pass
        else:
            with pytest.raises(httpx2.ReadTimeout):
                client.post(CHAT, json=ask("count", idiolect=wishes), timeout=0.3)
    deadline = time.monotonic() + 3
    while speaker.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert speaker.running == 0 and speaker.closed == 1
    assert server.metric("idiolect_requests_in_flight") == 0
    server.app.recorder.flush()
    nodes = server.http.get("/api/conversations/talk").json()["nodes"]
    assert [n["role"] for n in nodes] == ["user", "assistant"]
    assert nodes[1]["finish"] == "cancelled" and nodes[1]["content"].startswith("word ")
    trace = server.http.get(f"/api/traces/{nodes[1]['trace']}").json()["events"]
    assert [e["code"] for e in trace if e["kind"] == "failed"] == ["cancelled"]


def test_a_server_that_stops_records_what_it_was_saying(run: Callable[..., Any]) -> None:
    server = run(Speaker(["word "] * 1000, pace=0.01))
    with server.http.stream("POST", CHAT, json=ask(stream=True, idiolect={"conversation": "c"})) as response:
        lines = response.iter_lines()
        while "word" not in next(lines):
            pass
        begin = time.monotonic()
        server._server.handle_exit(2, None)
        server._thread.join(timeout=20)
        assert time.monotonic() - begin < 8
    with Store.open(server.app.store_path) as store:
        assert [r.payload["role"] for r in store.events(kind="node")] == ["user", "assistant"]
        assert store.verify().ok


# -------------------------------------------------------------------------------------------------- the page's api


def test_conversations_are_trees_and_survive_a_restart(run: Callable[..., Any]) -> None:
    server = run(Speaker())
    http = server.http

    def say(text: str, **wishes: Any) -> dict[str, Any]:
        reply = http.post(CHAT, json=ask(text, idiolect={"conversation": "c1", **wishes}))
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()["idiolect"]
        return found

    one = say("first question")
    two = say("second", parent=one["node"])
    branch = say("second, edited", parent=one["node"])
    again = say("second", parent=two["user_node"], regenerate=True)
    assert again["user_node"] == two["user_node"] and again["node"] != two["node"]
    for bad in ({"parent": "nothing"}, {"parent": one["node"], "regenerate": True}):
        reply = http.post(CHAT, json=ask(idiolect={"conversation": "c1", **bad}))
        assert reply.status_code in (400, 404)
    feedback = {"trace": two["trace"], "node": two["node"], "value": -1, "reason": "wrong", "correction": "right"}
    assert http.post("/api/feedback", json=feedback).json()["id"]
    assert http.post("/api/feedback", json={"trace": "none", "value": 1}).status_code == 404
    assert http.post("/api/feedback", json={"trace": two["trace"], "value": 2}).status_code == 400
    before = http.get("/api/conversations/c1").json()
    server.stop()

    http = run(Speaker()).http
    after = http.get("/api/conversations/c1").json()
    assert after == before and after["title"] == "first question"
    nodes = {n["id"]: n for n in after["nodes"]}
    assert len(nodes) == 7  # three questions, four answers
    assert nodes[two["user_node"]]["parent"] == nodes[branch["user_node"]]["parent"] == one["node"]
    assert {n["id"] for n in nodes.values() if n["parent"] == two["user_node"]} == {two["node"], again["node"]}
    assert nodes[two["node"]]["feedback"] == {"value": -1, "reason": "wrong", "correction": "right"}
    assert http.get("/api/conversations").json() == [
        {"id": "c1", "title": "first question", "updated": after["nodes"][-1]["created"], "nodes": 7}
    ]
    listed = http.get("/api/traces?limit=2").json()
    assert [t["question"] for t in listed] == ["second", "second, edited"]
    assert listed[0]["tokens"] == 3 and listed[0]["seconds"] > 0
    for bad_url in ("/api/traces?limit=x", "/api/traces?limit=-1", f"/api/traces?limit={'9' * 5000}", "/api/search?q="):
        assert http.get(bad_url).status_code in (400, 404)
    assert http.get("/api/traces/none").status_code == 404
    assert http.get("/api/conversations/none").status_code == 404


def test_two_servers_on_one_store_share_everything(run: Callable[..., Any]) -> None:
    speakers = [Speaker(), Speaker()]
    first, second = run(speakers[0]), run(speakers[1])
    greedy = ask(temperature=0, idiolect={"conversation": "c"})
    one = first.http.post(CHAT, json=greedy).json()
    two = second.http.post(CHAT, json=ask(temperature=0)).json()
    assert two["choices"] == one["choices"]
    assert speakers[1].calls == 0 and [n["code"] for n in two["idiolect"]["notes"]] == ["cache"]
    assert second.http.get("/api/conversations/c").json() == first.http.get("/api/conversations/c").json()
    assert first.app.store.verify().ok
    assert second.metric("idiolect_cache_hits_total") == 1


def test_the_page_is_served_with_revalidation(run: Callable[..., Any], tmp_path: Path) -> None:
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<!doctype html><title>page</title>")
    (static / "app.js").write_text("export const x = 1;")
    http = run(Speaker(), static=static).http
    page = http.get("/")
    assert page.status_code == 200 and "page" in page.text and page.headers["cache-control"] == "no-cache"
    again = http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304
    assert "javascript" in http.get("/app.js").headers["content-type"]
    assert http.get("/../store.sqlite").status_code == 404
    assert http.get("/api/info").json()["models"][0]["id"] == "m"


def test_metrics_count_what_happened(run: Callable[..., Any]) -> None:
    server = run({"m": Speaker(), "down": Speaker(error=Unavailable("x"))}, retry=RetryConfig(attempts=1))
    server.http.post(CHAT, json=ask())
    server.http.post(CHAT, json=ask(stream=True))
    server.http.post(CHAT, json={**ask(), "model": "down"})
    text = server.http.get("/metrics").text
    assert 'idiolect_requests_total{endpoint="chat",model="m",status="200"} 2.0' in text
    assert 'idiolect_requests_total{endpoint="chat",model="down",status="503"} 1.0' in text
    assert 'idiolect_tokens_total{kind="completion",model="m"} 6.0' in text
    assert server.metric("idiolect_layer_seconds_count") == 15
    assert server.metric("idiolect_ready") == 1
