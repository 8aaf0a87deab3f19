"""The whole application over a folder: how it starts, what it serves, and what makes it refuse to start."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from idiolect.core.errors import IdiolectError, NotFound
from idiolect.gateway.app import App
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.server.run import bind, serve, server

NOTES = {
    "boats.md": "# Boats\n\n## Ferry\n\nThe ferry to Holm leaves at seven in the morning. It takes two cars.\n",
    "birds.md": "# Birds\n\nThe kingfisher nests in river banks. Its eggs are white and glossy.\n",
    "empty.md": "",
}


@pytest.mark.slow
def test_a_folder_is_served_with_citations(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in NOTES.items():
        (docs / name).write_text(text)
    config = AppConfig(
        documents=str(docs),
        store=str(tmp_path / "store"),
        index=str(tmp_path / "index"),
        http=HttpConfig(port=0),
        engine={"memory_bytes": 256 << 20},
    )
    app = App(config)
    listener = bind(config.http, False)
    running = server(app)
    thread = threading.Thread(target=lambda: running.run(sockets=[listener]), daemon=True)
    thread.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=120, trust_env=False) as http:
        first = http.get("/healthz")
        assert first.status_code == 503 and first.json()["status"] == "starting" and first.json()["stage"]
        early = http.post("/v1/chat/completions", json={"model": "x", "messages": [{"role": "user", "content": "x"}]})
        assert early.status_code == 503 and "starting" in early.json()["error"]["message"]
        deadline = time.monotonic() + 200
        while http.get("/healthz").status_code != 200:
            assert app.failure is None and time.monotonic() < deadline, (app.failure, app.stage)
            time.sleep(0.1)
        info = http.get("/api/info").json()
        assert info["documents"]["count"] == 2 and info["layers"][0] == "trace" and info["runner"]
        model = info["model"]
        assert [(m["id"], m["kind"]) for m in info["models"]] == [(model, "rag"), (f"{model}:plain", "model")]

        def ask(text: str, **fields: Any) -> dict[str, Any]:
            body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
            reply = http.post("/v1/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            found: dict[str, Any] = reply.json()
            return found

        assert app.library is not None
        app.library.sync()  # the vectors too, which otherwise come while answers are given and change the index
        question = "When does the ferry to Holm leave?"
        answer = ask(question, idiolect={"mode": "quote"})
        cited = answer["citations"][0]
        assert "seven in the morning" in answer["choices"][0]["message"]["content"]
        assert cited["document"] == "boats.md" and "Ferry" in cited["heading"]
        source = http.get("/api/documents/source", params={"path": "boats.md"}).json()
        assert source["text"][slice(*cited["span"])] == cited["quote"]
        kinds = [e["kind"] for e in http.get(f"/api/traces/{answer['idiolect']['trace']}").json()["events"]]
        assert kinds[0] == "call" and kinds[-1] == "done" and {"retrieved", "mode", "tokens", "cited"} <= set(kinds)

        again = ask(question, idiolect={"mode": "quote"})
        assert "cache" in [n["code"] for n in again["idiolect"]["notes"]] and again["citations"] == answer["citations"]
        (docs / "boats.md").write_text(NOTES["boats.md"].replace("seven", "nine"))
        app.library.sync()
        changed = ask(question, idiolect={"mode": "quote"})  # a changed document is a miss, never a stale answer
        assert "nine in the morning" in changed["choices"][0]["message"]["content"]

        plain = ask("Say hello.", model=f"{model}:plain", max_tokens=4)
        assert plain["citations"] == [] and plain["usage"]["completion_tokens"] <= 4
        found = http.get("/api/search", params={"q": "white eggs", "k": 1}).json()["passages"]
        assert [p["document"] for p in found] == ["birds.md"]
        assert http.get("/api/documents/source", params={"path": "../store"}).status_code in (400, 404)
        rows = {d["path"]: d["state"] for d in http.get("/api/documents").json()["documents"]}
        assert rows == {"boats.md": "indexed", "birds.md": "indexed", "empty.md": "empty"}
    running.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "/no/such/model", "encoder": None}, "/no/such/model"),
        ({"model": None, "encoder": None}, "no model"),
        ({"model": None, "encoder": None, "documents": "/no/such/folder"}, "/no/such/folder"),
        (
            {"model": None, "encoder": None, "upstreams": {"u": ("http://x/v1", "NO_SUCH_VARIABLE_")}},
            "NO_SUCH_VARIABLE_",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why_and_ends(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    from idiolect.gateway.config import UpstreamConfig

    ups = {id: UpstreamConfig(url, "m", key_env=env) for id, (url, env) in settings.pop("upstreams", {}).items()}
    config = AppConfig(store=str(tmp_path / "s"), http=HttpConfig(port=0), upstreams=ups, **settings)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            serve(config)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert isinstance(failures[0], IdiolectError) and says in str(failures[0])


def test_an_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    app = App(AppConfig(store=str(tmp_path / "s")), {})
    app._ready = True
    with pytest.raises(NotFound):
        app.find("x")
    app._close()
