"""From a configuration to running parts: weights, engine, encoder, index, and the models that are then served.

Blocking; `App.start` runs it in a thread. The language model and the documents load side by side, since one waits for
memory bandwidth while the other waits for the disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.core import prompts
from idiolect.core.canonical import canonical, digest
from idiolect.core.config import from_dict
from idiolect.core.errors import BadInput
from idiolect.core.progress import progress
from idiolect.gateway.app import Served
from idiolect.gateway.upstream import Upstream

if TYPE_CHECKING:
    from idiolect.gateway.app import App
    from idiolect.gateway.local import LocalModel


def load(app: App) -> None:
    """Fill `app.served`, `app.library`, `app.embedders`. Raises what a person can act on."""
    config = app.config
    with ThreadPoolExecutor(2, "load") as pool:
        documents = pool.submit(_documents, app) if config.encoder or config.documents else None
        local = _local(app) if config.model else None
        if documents is not None:
            if not documents.done():
                app.stage = "reading the documents" if config.documents else "loading the encoder"
            documents.result()
    app.check()
    prints = [f"{name} {prompts.load(name).version}" for name in prompts.names()]
    if local is not None:
        for one in (local, *_adapted(app, local)):
            prints.append(f"{one.id} {one.identity}")
            _serve(app, one, one.id, "model", one.context, one.model.sampling)
    for id, upstream in config.upstreams.items():
        prints.append(f"{id} {upstream.url} {upstream.model}")
        key = _key(id, upstream.key_env)
        handler = Upstream(upstream.url, upstream.model, key, timeout=upstream.timeout)
        _serve(app, handler, id, "upstream", upstream.context, None, rag=upstream.rag)
    if not app.served:
        raise BadInput("there is no model to serve", hint="give a model or an upstream")
    app.model_id = next(iter(app.served))
    if local is not None and config.adapters:
        app.model_id = f"{local.id}:{next(iter(config.adapters))}"
    prints += [canonical(dict(part)) for part in (config.engine, config.rag)]
    fixed = hashlib.sha256("\n".join(prints).encode()).hexdigest()
    library = app.library
    app.fingerprint = lambda: fixed + (library.fingerprint if library is not None else "")
    if library is not None and config.watch:
        app.closers.enter_context(library.watch())


def _key(id: str, name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise BadInput(f"the environment variable {name} is not set", hint=f"it holds the key of upstream {id!r}")
    return value


def _local(app: App) -> LocalModel:
    from idiolect import models
    from idiolect.engine import Engine, EngineConfig
    from idiolect.gateway.local import LocalModel

    app.stage = "loading the model"
    assert app.config.model is not None
    config = from_dict(EngineConfig, dict(app.config.engine), "engine")
    dtype = app.config.dtype
    if dtype == "auto" and config.runner != "torch" and app.config.device == "cpu":
        dtype = "stored"  # the native runner needs no floats; should it not serve, the engine makes them
    model: Any = models.load(app.config.model, dtype=dtype, device=app.config.device)
    if getattr(model, "pooling", None) is not None:
        raise BadInput(f"{app.config.model} is an encoder", hint="give a language model as the model")
    app.check()
    app.stage = "starting the engine"
    engine = Engine(model, config, app.config.adapters)
    engine.start()
    app.closers.callback(engine.close)
    app.engine_stats = engine.stats
    return LocalModel(model, engine, model.id)


def _adapted(app: App, local: LocalModel) -> list[LocalModel]:
    """The model through each of its adapters, as `<id>:<name>`."""
    from idiolect.core.files import sha256_file
    from idiolect.engine import Engine
    from idiolect.gateway.local import LocalModel
    from idiolect.tune.files import CONFIG, WEIGHTS

    found = []
    assert isinstance(local.engine, Engine)
    for name, folder in app.config.adapters.items():
        print = digest(*(sha256_file(Path(folder).expanduser() / name) for name in (CONFIG, WEIGHTS)))
        found.append(LocalModel(local.model, local.engine.using(name), f"{local.id}:{name}", print))
    return found


def _documents(app: App) -> None:
    config = app.config
    embedder = None
    if config.encoder:
        from idiolect import models
        from idiolect.engine import Embedder

        encoder: Any = models.load(config.encoder, device=config.device)
        app.check()
        embedder = Embedder(encoder)
        app.embedders[encoder.id] = (embedder, _counter(encoder))
    if config.documents:
        from idiolect.retrieval import Library

        library = Library.open(
            Path(config.documents).expanduser(),
            embedder=embedder,
            state=Path(config.index).expanduser() if config.index else None,
        )
        app.library = library
        app.closers.callback(library.close)
        with progress("indexing", unit="files") as bar:  # on a terminal; /healthz reads the same bar
            app.bar = bar
            try:
                # Words are enough to begin with; the watcher's first pass makes the vectors while we serve.
                library.sync(bar, vectors=0 if config.watch else config.wait, stop=app.stopping.is_set)
            finally:
                app.bar = None


def _counter(encoder: Any) -> Callable[[str], int]:
    def count(text: str) -> int:
        return min(encoder.max_tokens, len(encoder.tokenizer.encode(text)) + 2)  # with [CLS] and [SEP]

    return count


def _serve(app: App, handler: Any, id: str, kind: str, context: int | None, sampling: Any, *, rag: bool = True) -> None:
    """Serve a model bare, as `<id>:plain`, and over the documents, as `<id>`, when there are any."""

    def own() -> str:
        return str(handler.fingerprint) if kind == "model" else ""

    def over() -> str:
        assert app.library is not None
        prints = [f"{name} {prompts.load(name).version}" for name in prompts.names()]
        parts = (app.library.fingerprint, canonical(dict(app.config.rag)), *prints)
        return digest("rag", own(), *parts) if kind == "model" else ""

    made: dict[str, Any] = {"context": context}
    if sampling is not None:
        made["sampling"] = sampling
    if app.library is not None and rag:
        from idiolect.gateway.rag import Rag

        program = Rag(app.library, handler, **dict(app.config.rag))
        app.served[id] = Served(
            id, program, "rag", default_mode=program.default_mode, why=program.why, fingerprint=over, **made
        )
    else:
        app.served[id] = Served(id, handler, kind, fingerprint=own, **made)  # type: ignore[arg-type]
    plain = f"{id}:plain"
    app.served[plain] = Served(plain, handler, kind, fingerprint=own, **made)  # type: ignore[arg-type]
