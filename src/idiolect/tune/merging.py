"""Adapters into weights, and adapters into adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import CausalModel, Model
from idiolect.nn import Batch
from idiolect.tune.lora import Lora
from idiolect.tune.method import Adapter
from idiolect.tune.mounted import Mounted
from idiolect.tune.targets import Rows
from idiolect.tune.weights import wide

PROBE = 64  # random tokens, where no text is given to compare on


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What merging changed: logits of the merged model against those of model and adapter, on a probe text."""

    matrices: int
    tokens: int  # of the probe
    largest: float  # largest difference of a logit
    relative: float  # root mean square difference over root mean square logit
    divergence: float  # mean KL(adapter || merged) in nats
    agree: float  # share of positions with the same likeliest token

    def __str__(self) -> str:
        return (
            f"{self.matrices} matrices merged; on {self.tokens} tokens logits moved by at most {self.largest:.2g} "
            f"({self.relative:.2g} relative), KL {self.divergence:.2g} nats, "
            f"{self.agree:.1%} of the likeliest tokens stayed"
        )


def merge(mounted: Mounted, probe: str | Sequence[int] | None = None) -> MergeReport:
    """Add an adapter to its model's own weights, in place, and take it out; reports the drift that rounding brings.
    Quantised or stored matrices that it touches become floats. `BadInput` for adapters that are no change of a matrix
    (prefix, prompt, bottleneck)."""
    model, ids = mounted.model, _probe(mounted.model, probe)
    before = _logits(model, ids)
    kind = mounted.config.kind
    adapter = mounted.adapter
    matrices = kind.merge(model, adapter)
    mounted.detach()
    after = _logits(model, ids)
    drift = after - before
    log_p, log_q = F.log_softmax(before, -1), F.log_softmax(after, -1)
    return MergeReport(
        matrices,
        len(ids),
        float(drift.abs().max()),
        float(drift.square().mean().sqrt() / before.square().mean().sqrt().clamp(min=1e-30)),
        float((log_p.exp() * (log_p - log_q)).sum(-1).mean()),
        float((before.argmax(-1) == after.argmax(-1)).float().mean()),
    )


def _probe(model: Model, probe: str | Sequence[int] | None) -> list[int]:
    if isinstance(probe, str):
        ids = model.tokenizer.encode(probe, bos=True)[: model.context]
        if not ids:
            raise BadInput("the probe text has no tokens", param="probe")
        return ids
    if probe is not None:
        return list(probe)
    return torch.randint(int(model.config.vocab), (PROBE,), generator=Streams(0).torch("probe")).tolist()


@torch.no_grad()
def _logits(model: Model, ids: list[int]) -> Tensor:
    """[n, V] float32 (an encoder's hidden state serves as well)."""
    training = model.training
    model.eval()
    batch = Batch.pack([ids], device=model.device)
    out: Tensor = model(batch) if isinstance(model, CausalModel) else model.hidden(batch)
    model.train(training)
    return out.float()


@torch.no_grad()
def compose(model: Model, adapters: Sequence[tuple[Adapter | Mounted, float]]) -> Adapter:
    """One LoRA that is the weighted sum of several: their ranks side by side, so it is exact. `BadInput` for other
    methods (and DoRA), whose sum is not one of theirs."""
    found = [(a.adapter if isinstance(a, Mounted) else a, weight) for a, weight in adapters]
    if not found:
        raise BadInput("there is no adapter to compose", hint="give one or more")
    parts: dict[str, list[tuple[Rows, Tensor, Tensor]]] = {}
    for adapter, weight in found:
        for path, delta in adapter.deltas.items():
            if not isinstance(delta, Lora) or delta.lengths is not None:
                raise BadInput(f"adapters of method {adapter.config.method!r} have no sum", hint="compose plain LoRAs")
            for p, (i, j), b, scale in zip(delta.parts, delta.spans, delta.b, delta.scales):
                parts.setdefault(path, []).append((p, delta.a[i:j], b * (scale * weight)))
    ranks: dict[str, int] = {}
    deltas: dict[str, Lora] = {}
    for path, pieces in parts.items():
        rows = sorted({p for p, _, _ in pieces}, key=lambda p: p.begin)
        a = [torch.cat([a for q, a, _ in pieces if q == p]) for p in rows]
        b = [torch.cat([b for q, _, b in pieces if q == p], 1) for p in rows]
        layer = model.get_submodule(path)
        delta = Lora(layer, rows, [len(x) for x in a], [1.0] * len(rows), 0.0, wide(model))  # type: ignore[arg-type]
        delta.a.copy_(torch.cat(a))
        for mine, value in zip(delta.b, b, strict=True):
            mine.copy_(value)
        ranks.update({p.hf: len(x) for p, x in zip(rows, a)})
        deltas[path] = delta
    first = found[0][0].config
    config = replace(
        first,
        targets=tuple(ranks),
        rank=max(ranks.values()),
        alpha=float(max(ranks.values())),
        options={"ranks": ranks, "alphas": {name: float(rank) for name, rank in ranks.items()}},
    )
    return Adapter(config, dict(deltas))
