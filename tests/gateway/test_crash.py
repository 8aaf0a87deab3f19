"""A server that is killed in the middle of an answer: what was acknowledged is in the store, and the store is sound."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from idiolect.core.store import Store
from tests.gateway.programs import Speaker, ask

SERVER = """
import sys
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.server.run import bind, server
from tests.gateway.programs import Speaker

config = AppConfig(store=sys.argv[1], http=HttpConfig(port=0))
app = App(config, {"slow": Served("slow", Speaker(["word "] * 1000, pace=0.01), "model"),
                   "m": Served("m", Speaker(), "model")})
listener = bind(config.http, False)
print(listener.getsockname()[1], flush=True)
server(app).run(sockets=[listener])
"""


def test_kill_9_in_the_middle_of_an_answer(tmp_path: Path, run: Callable[..., Any]) -> None:
    path = tmp_path / "store.sqlite"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        with httpx2.Client(base_url=url, timeout=30, trust_env=False) as http:
            while http.get("/healthz").status_code != 200:
                time.sleep(0.02)
            whole = http.post("/v1/chat/completions", json=ask("first", idiolect={"conversation": "c"})).json()
            parent = whole["idiolect"]["node"]
            body = {**ask("second", stream=True, idiolect={"conversation": "c", "parent": parent}), "model": "slow"}
            said = ""
            with http.stream("POST", "/v1/chat/completions", json=body) as response:
                trace = response.headers["x-request-id"]
                begin = time.monotonic()
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        said += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                    if time.monotonic() - begin > 1.0:
                        break
                process.send_signal(signal.SIGKILL)
                process.wait()
    finally:
        process.kill()
        process.wait()
    with Store.open(path) as store:
        assert store.verify().ok
        rows = list(store.events(trace=trace))
        assert rows[0].kind == "call" and rows[0].payload["question"] == "second"
        kept = "".join(r.payload["text"] for r in rows if r.kind == "tokens")
        assert said.startswith(kept[: len(said)]) and len(kept) > len(said) * 0.4  # all but the last moments
    http = run(Speaker()).http  # the next server on the same store
    nodes = http.get("/api/conversations/c").json()["nodes"]
    assert [(n["role"], n["content"]) for n in nodes] == [
        ("user", "first"),
        ("assistant", "Hello, world"),
        ("user", "second"),
    ]
    assert http.get(f"/api/traces/{trace}").json()["events"][0]["messages"][-1]["content"] == "second"
