"""A store, a recorder, and a server on a free port around whatever models a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from idiolect.core.store import Store
from idiolect.gateway.app import App, Served
from idiolect.gateway.config import AppConfig, HttpConfig
from idiolect.gateway.recorder import Recorder
from idiolect.gateway.server.run import bind, server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def recorder(store: Store) -> Iterator[Recorder]:
    made = Recorder(store, window=0.02)
    yield made
    made.close()


class Running:
    """A server in a thread of this process: real sockets, real HTTP."""

    def __init__(self, app: App, static: Path | None = None) -> None:
        self.app = app
        listener = bind(app.config.http, app.keys is not None)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = server(app, static)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[listener]), daemon=True)
        self._thread.start()
        self.http = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)
        deadline = time.monotonic() + 120
        while self.http.get("/healthz").status_code != 200:
            assert app.failure is None, app.failure
            assert time.monotonic() < deadline, app.stage
            time.sleep(0.05)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(timeout=30)

    def metric(self, name: str) -> float:
        """The value of a metric, all labels of it added up."""
        lines = self.http.get("/metrics").text.splitlines()
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name]
        assert found, f"no metric {name}"
        return sum(found)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`run(handler)`: a server with that handler as the model `m`; settings of AppConfig by name."""
    running: list[Running] = []

    def start(handler: Any, **settings: Any) -> Running:
        static = settings.pop("static", None)
        handlers = handler if isinstance(handler, dict) else {"m": handler}
        served = {id: h if isinstance(h, Served) else Served(id, h, "model", 100) for id, h in handlers.items()}
        settings.setdefault("http", HttpConfig(port=0))
        settings.setdefault("store", str(tmp_path / "store.sqlite"))
        running.append(Running(App(AppConfig(**settings), served), static))
        return running[-1]

    yield start
    for one in running:
        one.stop()
