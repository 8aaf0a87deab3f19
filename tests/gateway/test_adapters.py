"""Adapters over HTTP: listed, chosen by `model`, beside the bare model and over documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idiolect import models, tune
from idiolect.core.errors import BadInput
from idiolect.gateway.app import App
from idiolect.gateway.config import AppConfig, HttpConfig
from tests.gateway.conftest import Running
from tests.tune.tiny import shake

ASK = [{"role": "user", "content": "Name a colour."}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA and a soft prompt for the embedded model, with values that change what it says."""
    model: Any = models.load(models.EMBEDDED_LM, dtype="float32", progress=False)
    root = tmp_path_factory.mktemp("adapters")
    for name, config, scale in (
        ("lora", tune.TuneConfig("lora"), 0.1),
        ("prompt", tune.TuneConfig("prompt", options={"tokens": 4}), 1.0),
    ):
        mounted = shake(tune.attach(model, config), scale=scale)
        mounted.save(root / name)
        mounted.detach()
    return {name: root / name for name in ("lora", "prompt")}


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("server")
    docs = home / "docs"
    docs.mkdir()
    (docs / "rent.md").write_text("# Rent\n\nThe tenant pays the rent on the first day of each month.\n")
    config = AppConfig(
        adapters={name: str(path) for name, path in folders.items()},
        encoder=None,
        documents=str(docs),
        store=str(home / "store.sqlite"),
        index=str(home / "index"),
        engine={"context": 1024, "memory_bytes": 128 << 20},
        rag={"mode": "quote"},
        watch=False,
        http=HttpConfig(port=0),
    )
    running = Running(App(config))
    yield running
    running.stop()


def say(server: Running, model: str) -> Any:
    body = {"model": model, "messages": ASK, "temperature": 0, "max_tokens": 12, "seed": 1}
    return server.http.post("/v1/chat/completions", json=body)


@pytest.mark.slow
def test_each_adapter_is_a_model(server: Running) -> None:
    ids = [m["id"] for m in server.http.get("/v1/models").json()["data"]]
    base = ids[0]
    assert ids == [f"{base}{end}" for end in ("", ":plain", ":lora", ":lora:plain", ":prompt", ":prompt:plain")]
    assert server.app.model_id == f"{base}:lora"
    said = {name: say(server, f"{base}{name}:plain").json() for name in ("", ":lora", ":prompt")}
    texts = {name: body["choices"][0]["message"]["content"] for name, body in said.items()}
    assert len(set(texts.values())) == 3
    usage = {body["usage"]["prompt_tokens"] for body in said.values()}
    assert len(usage) == 1  # nobody pays for virtual tokens
    assert say(server, f"{base}:lora:plain").json()["choices"][0]["message"]["content"] == texts[":lora"]
    wrong = say(server, f"{base}:lara")
    assert wrong.status_code == 404 and "did you mean" in wrong.text
    assert server.app.engine_stats().runner.startswith(("native", "torch"))  # type: ignore[misc]


@pytest.mark.slow
def test_an_adapter_answers_over_the_documents_too(server: Running) -> None:
    model = server.app.model_id
    body = {"model": model, "messages": [{"role": "user", "content": "When does the tenant pay the rent?"}]}
    done = server.http.post("/v1/chat/completions", json=body).json()
    assert "first day of each month" in done["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", ["plain", "a:b", ""])
def test_names_that_would_be_ambiguous_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be called"):
        AppConfig(adapters={name: "x"})
