"""Who computes a step: torch, or kernels where they can be had (native on a CPU, Triton's on an NVIDIA GPU).

`choose` decides once, when an engine is made; what it chose, and why not the other, is in `EngineStats.runner`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from idiolect.core.errors import BadInput, Unavailable
from idiolect.engine.adapters import Served
from idiolect.engine.choosing import Choice
from idiolect.engine.config import EngineConfig
from idiolect.engine.kv import Slots
from idiolect.engine.scheduler import Work
from idiolect.engine.sequence import Sequence
from idiolect.models.base import CausalModel
from idiolect.nn.tape import NotRecordable

log = logging.getLogger(__name__)
SCORE_ROWS = 128  # rows of logits that exist at once while scoring: bounds memory at 128 x V floats


class Step(Protocol):
    """A forward pass, maybe still at work: the sequences that choose a token now, and what to score."""

    choosing: list[Sequence]

    def choose(self) -> Choice:
        """Wait for the pass, and a token of each of `choosing` with what was asked to be known of it. Called once."""
        ...

    def scores(self) -> Iterator[tuple[list[tuple[Sequence, int]], Tensor]]:
        """Pieces of ((sequence, target id) per row, logits [m, V]), m at most `SCORE_ROWS`. A piece is read before
        the next one is asked for."""
        ...


class Runner(Protocol):
    """The model side of the engine. `ahead`: `run` comes back while the step still computes."""

    ahead: bool

    @property
    def cache(self) -> Slots: ...

    def add(self, served: Served) -> None:
        """Get ready to serve an adapter. `BadInput` when this runner cannot."""
        ...

    def drop(self, served: Served) -> None:
        """No sequence uses this adapter any more."""
        ...

    def run(self, work: list[Work]) -> Step:
        """Begin a forward pass; `Step.choose` waits for it. The caches are extended; the caller advances `computed`
        when it succeeds. What it leaves is valid until the next call."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of the hidden state that score a piece of a sequence: `targets[i]` follows row `first + i`."""

    seq: Sequence
    first: int
    targets: list[int]


Gathered = tuple[list[int], list[int], list[int], list[tuple[Sequence, int]], list[Wanted]]


def gather(work: list[Work]) -> Gathered:
    """Token ids, positions and segment bounds of a step; the row after which each sequence chooses a token; and the
    rows that score."""
    ids: list[int] = []
    pos: list[int] = []
    bounds = [0]
    last: list[tuple[Sequence, int]] = []
    scored: list[Wanted] = []
    for item in work:
        seq, start, end = item.seq, item.seq.computed, item.seq.computed + item.count
        ids += seq.tokens[start:end]
        pos += range(start, end)
        if seq.lane == "score":
            # Row p predicts token p + 1; what an earlier chunk found is not asked for again.
            begin = max(start, seq.score_start + len(seq.infos) - 1)
            if begin < end:
                scored.append(Wanted(seq, bounds[-1] + begin - start, seq.tokens[begin + 1 : end + 1]))
        elif item.completes:
            last.append((seq, bounds[-1] + item.count - 1))
        bounds.append(bounds[-1] + item.count)
    return ids, pos, bounds, last, scored


def pages_for(config: EngineConfig, page_bytes: int) -> int:
    """How many pages the configured memory holds. `BadInput` when it does not hold one."""
    count = config.pages if config.pages is not None else config.memory_bytes // page_bytes
    if count < 1:
        raise BadInput(
            f"{config.memory_bytes} bytes do not hold one page of {page_bytes} bytes",
            hint="raise memory_bytes",
            param="memory_bytes",
        )
    return count


def choose(model: CausalModel, config: EngineConfig, adapters: Mapping[str, str | Path] | None = None) -> Runner:
    """The runner of an engine, with its memory reserved.

    "torch", "native" and "cuda" are taken at their word (the latter raise `Unavailable` or `NotRecordable` where they
    cannot be had). "auto" is cuda for a model on a GPU, native for one on a CPU (see `_for_kernels`), and torch, with
    the reason in its name, where the kernels or the recording are missing, also for one of `adapters` (native).
    """
    from idiolect.engine.torch_runner import TorchRunner
    from idiolect.nn.stored import holds_stored, materialise

    stored = holds_stored(model)
    reason = ""
    if _gpu(model) and config.runner in ("auto", "cuda"):
        return _on_gpu(model, config, stored)
    if config.runner == "cuda":
        raise Unavailable(f"the cuda runner is for a GPU, and the model is on {model.device}", hint="device: cuda")
    suits = config.runner == "auto" and _for_kernels(model, config, stored)
    for name, folder in (adapters or {}).items() if suits else ():
        from idiolect.engine.native_adapters import unknown
        from idiolect.tune.files import configuration

        if why := unknown(configuration(Path(folder).expanduser())):
            reason = f"adapter {name}: {why}"
    if config.runner == "native" or (suits and not reason):
        from idiolect.engine.native_runner import NativeRunner

        try:
            return NativeRunner(model, config)
        except (NotRecordable, Unavailable) as error:
            if config.runner == "native":
                raise
            reason = error.message
            log.warning("the native runner cannot serve %s: %s", model.id, reason)
    if stored:
        from idiolect.models.read import resolve_dtype
        from idiolect.nn import pack

        pack(materialise(model, resolve_dtype("auto", model.device)))
    return TorchRunner(model, config, reason)


def _for_kernels(model: CausalModel, config: EngineConfig, stored: bool) -> bool:
    """Whether "auto" tries the native kernels for a model on a CPU: one with its file's rows, or one in half precision,
    which they read as it is and add up in float32. Float32 stays with torch, whose keys and values are float32 too (the
    kernels keep them in half precision) and which is nearly as fast there; so does a model that learns, since tiles
    would not. What only the kernels can do asks for them."""
    if config.weights != "stored" or config.kv == "int8":
        return True
    frozen = not any(p.requires_grad for p in model.parameters())
    return stored or (frozen and model.dtype in (torch.bfloat16, torch.float16))


def _gpu(model: CausalModel) -> bool:
    return model.device.type == "cuda"


def _on_gpu(model: CausalModel, config: EngineConfig, stored: bool) -> Runner:
    """The cuda runner, or torch with the reason why not. A file's rows become bfloat16 (or int8, int4) first."""
    from idiolect.engine.cuda_runner import CudaRunner
    from idiolect.engine.torch_runner import TorchRunner
    from idiolect.nn.stored import materialise

    if config.kv == "int8":
        raise BadInput("engine kv int8 is for the native runner", hint="leave out kv on a GPU", param="kv")
    if stored:
        from idiolect.models.read import resolve_dtype

        materialise(model, resolve_dtype("auto", model.device))
    try:
        return CudaRunner(model, config)
    except (NotRecordable, Unavailable) as error:
        if config.runner == "cuda":
            raise
        log.warning("the cuda runner cannot serve %s: %s", model.id, error.message)
        return TorchRunner(model, config, error.message)
