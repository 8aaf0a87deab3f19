"""A model of this process: texts are scored exactly, answers are written as they are served.

Log-likelihoods come from the model in torch (float32 on a CPU), with common beginnings computed once
(`engine.likelihood`); answers from the engine, on the native kernels where they can be had, since that is what a user
of the model gets. `runner: torch` uses the same floats for both. Each half is loaded when it is first needed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idiolect.core.canonical import digest
from idiolect.core.errors import BadInput, IdiolectError
from idiolect.core.names import did_you_mean
from idiolect.evals.systems import encoding
from idiolect.evals.systems.writing import write
from idiolect.evals.types import Choose, Chosen, Failed, Generate, Kind, Reply, Request, Roll, Rolled, Search

if TYPE_CHECKING:
    from idiolect.engine import Engine
    from idiolect.engine.adapters import Using
    from idiolect.engine.likelihood import Likelihoods

REVISION = 2  # of the numerics: raise it when a change of the code may change a reply
ROUNDED = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1")


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """`source` as for `models.load`. `weights` other than "stored" are rounded to that type first: the model is
    written as such a file into the cache, and read from there. `adapter`: the folder of one. `dtype` in which texts
    are scored ("auto": float32 on a CPU, else the device's best). `batch_tokens` bounds the memory of a forward."""

    source: str
    weights: str = "stored"
    adapter: str | None = None
    device: str = "cpu"
    dtype: str = "auto"
    runner: Literal["auto", "torch", "native"] = "auto"
    batch_tokens: int = 1024
    max_batch: int = 16

    def __post_init__(self) -> None:
        if self.weights != "stored" and self.weights not in ROUNDED:
            raise BadInput(
                f"weights {self.weights!r} are not known", hint=did_you_mean(self.weights, ROUNDED), param="weights"
            )


class LocalSystem:
    """`LocalSystem(LocalConfig("embedded"))`. `close` lets go of the model."""

    kinds: frozenset[Kind] = frozenset({"choose", "roll", "generate"})

    def __init__(self, config: LocalConfig, name: str = "", *, progress: bool = True) -> None:
        self.config, self._progress = config, progress
        self.name = name or _short(config)
        self._loaded: dict[str, Any] = {}

    # ------------------------------------------------------------------------------------------- what it is

    @cached_property
    def source(self) -> str:
        """What is read: the source itself, or the file with its rounded weights."""
        if self.config.weights == "stored":
            return self.config.source
        return str(rounded(self.config.source, self.config.weights, progress=self._progress))

    @cached_property
    def fingerprint(self) -> str:
        c = self.config
        parts = [weights_hash(c.source), c.weights, c.device.split(":")[0], c.dtype, c.runner, str(REVISION)]
        if c.adapter is not None:
            parts.append(adapter_hash(c.adapter))
        return digest("local", *parts)

    @cached_property
    def about(self) -> Mapping[str, str]:
        """For a report: the model and how its weights are stored."""
        from idiolect import models

        c, found = self.config, models.inspect(self.config.source, progress=False)
        kinds = sorted(found.tensor_types.items(), key=lambda kind: -kind[1])
        stored = kinds[0][0] if kinds else ""
        said = {"model": found.id, "weights": stored if c.weights == "stored" else f"{c.weights} (from {stored})"}
        return said | ({"adapter": c.adapter} if c.adapter is not None else {})

    def by(self, request: Request) -> str:
        """Who computes a reply: scoring is always the module in torch, writing the engine's runner."""
        if isinstance(request, Generate):
            return unthreaded(self._loaded["core"].runner)
        return f"torch {self.model.device.type} {str(self.model.dtype).removeprefix('torch.')}"

    # ---------------------------------------------------------------------------------------------- answers

    def load(self, requests: Sequence[Request]) -> None:
        """Load what these requests need, so that a run's seconds are those of the answers."""
        if any(isinstance(r, (Choose, Roll)) for r in requests):
            _ = self.scorer
        if any(isinstance(r, Generate) for r in requests):
            _ = self.engine

    async def answer(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        choose = [i for i, r in enumerate(requests) if isinstance(r, Choose)]
        if choose:
            async for index, reply in self._choose([requests[i] for i in choose]):  # type: ignore[misc]
                yield choose[index], reply
        for i, request in enumerate(requests):
            if isinstance(request, Roll):
                yield i, await asyncio.to_thread(self._roll, request)
            elif isinstance(request, Search):
                yield i, Failed("a language model has no documents to search")
        asked = [i for i, r in enumerate(requests) if isinstance(r, Generate)]
        if asked:
            async for index, reply in self._generate([requests[i] for i in asked]):  # type: ignore[misc]
                yield asked[index], reply

    async def _choose(self, requests: Sequence[Choose]) -> AsyncIterator[tuple[int, Reply]]:
        scorer, model = await asyncio.to_thread(lambda: (self.scorer, self.model))
        questions, places = [], []
        for i, request in enumerate(requests):
            try:
                question = encoding.question(model, request)
            except IdiolectError as error:
                yield i, Failed(str(error))
                continue
            questions.append(question)
            places.append(i)
        found = iter(scorer.score(questions))
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            index, scores = one
            options = requests[places[index]].options
            yield (
                places[index],
                Chosen(
                    tuple(s.logprob for s in scores),
                    tuple(s.tokens for s in scores),
                    tuple(len(option.encode()) for option in options),
                    tuple(s.greedy for s in scores),
                ),
            )

    def _roll(self, request: Roll) -> Reply:
        tokenizer = self.model.tokenizer
        ids = tokenizer.encode(request.text, bos=request.bos)
        if len(ids) < 2:
            return Failed("the text has fewer than two tokens, and the first has nothing before it")
        total, tokens = 0.0, 0
        for part in self.scorer.roll(ids, window=request.window, stride=request.stride):
            total, tokens = total + part.logprob, tokens + part.tokens
        unseen = b"" if request.bos and ids[0] == tokenizer.bos_id else tokenizer.token_bytes(ids[0])
        size = len(request.text.encode()) - len(unseen)  # of what was scored: first tokens differ in length
        return Rolled(total, tokens, size, len(request.text) - len(unseen.decode("utf-8", "ignore")))

    async def _generate(self, requests: Sequence[Generate]) -> AsyncIterator[tuple[int, Reply]]:
        engine = await asyncio.to_thread(lambda: self.engine)
        model = self._loaded["engine model"]
        async for found in write(engine, model, requests, width=2 * self.config.max_batch):
            yield found

    # ---------------------------------------------------------------------------------------------- parts

    @property
    def model(self) -> Any:
        """The model that scores, with its adapter in place."""
        if "model" not in self._loaded:
            from idiolect import models, tune

            c = self.config
            dtype = "float32" if c.dtype == "auto" and c.device == "cpu" else c.dtype
            model = models.load(self.source, dtype=dtype, device=c.device, progress=self._progress)
            if not hasattr(model, "logits"):
                raise BadInput(f"{c.source} is an encoder", hint="give a language model")
            if c.adapter is not None:
                tune.load(model, Path(c.adapter).expanduser(), any_base=c.weights != "stored")
            self._loaded["model"] = model
        return self._loaded["model"]

    @property
    def scorer(self) -> Likelihoods:
        if "scorer" not in self._loaded:
            from idiolect.engine.likelihood import Likelihoods

            self._loaded["scorer"] = Likelihoods(self.model, batch_tokens=self.config.batch_tokens)
        scorer: Likelihoods = self._loaded["scorer"]
        return scorer

    @property
    def engine(self) -> Engine | Using:
        """The engine that writes, through the adapter where there is one."""
        if "engine" not in self._loaded:
            from idiolect import models
            from idiolect.engine import Engine, EngineConfig

            c = self.config
            native = c.device == "cpu" and c.runner != "torch"
            dtype = "stored" if native else c.dtype if c.device != "cpu" or c.dtype != "auto" else "float32"
            model = models.load(self.source, dtype=dtype, device=c.device, progress=self._progress)
            runner = c.runner
            if runner == "auto" and native and c.adapter is not None:
                from idiolect.engine.native_adapters import unknown
                from idiolect.tune.files import configuration

                if unknown(configuration(Path(c.adapter).expanduser())):
                    runner = "torch"  # there is no kernel for this kind of adapter
            settings = EngineConfig(runner=runner, max_batch=c.max_batch, max_queue=1 << 20)
            engine = Engine(model, settings)
            if c.adapter is not None:
                engine.add_adapter("adapter", Path(c.adapter).expanduser(), any_base=c.weights != "stored")
            self._loaded["engine model"], self._loaded["core"] = model, engine
            self._loaded["engine"] = engine.using("adapter") if c.adapter is not None else engine
        return self._loaded["engine"]

    def close(self) -> None:
        if "core" in self._loaded:
            self._loaded["core"].close()
        self._loaded.clear()


def unthreaded(runner: str) -> str:
    """An engine's runner in words, without how many threads it has, which change no figure."""
    return re.sub(r", \d+ threads?", "", runner)


def _short(config: LocalConfig) -> str:
    name = Path(config.source).name if "/" in config.source else config.source
    extra = [*([] if config.weights == "stored" else [config.weights])]
    extra += [Path(config.adapter).expanduser().resolve().parent.name] if config.adapter else []
    return "-".join([name.removesuffix(".gguf"), *extra])


def weights_hash(source: str) -> str:
    """Stands for a model's files: weights, configuration, words."""
    from idiolect import models
    from idiolect.models.identity import weights_hash as of

    return of(models.inspect(source, progress=False))


def adapter_hash(folder: str) -> str:
    from idiolect.core.files import sha256_file

    path = Path(folder).expanduser()
    files = sorted(p for p in path.glob("adapter_*") if p.is_file())
    if not files:
        raise BadInput(f"there is no adapter in {folder}", hint="give the folder that `idiolect tune` wrote")
    return digest("adapter", *(sha256_file(p) for p in files))


def rounded(source: str, type: str, *, progress: bool = True) -> Path:
    """The source with its weights rounded to a GGUF type, written once into the cache."""
    from idiolect.core.files import cache_dir

    folder = cache_dir() / "rounded"
    folder.mkdir(exist_ok=True)
    path = folder / f"{weights_hash(source)[:16]}-{type}.gguf"
    if not path.exists():
        from idiolect import models, weights

        model = models.load(source, dtype="float32", packed=False, progress=progress)
        weights.export_gguf(model, path, type, check=False, replace=True)
    return path
