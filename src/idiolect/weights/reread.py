"""Is what was written what was meant? The file is loaded again and asked the same as the model it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from idiolect import models
from idiolect.core.prompts import ROOT
from idiolect.models.base import CausalModel, Model
from idiolect.nn import Batch

TOKENS = 192  # of the probe text; more would say the same


@dataclass(frozen=True, slots=True)
class Comparison:
    """Next-token distributions on a probe text before and after. `kl` is the mean KL divergence in nats per token,
    `largest` the largest difference of a logit (of a vector's component, for an encoder), `same_best` the share of
    places with the same most likely token, `same_ids` whether both tokenizers give the same ids of every probe."""

    tokens: int
    largest: float
    kl: float | None
    same_best: float | None
    same_ids: bool

    def __str__(self) -> str:
        kl = "" if self.kl is None else f", KL {self.kl:.2e} nats a token, same best token at {self.same_best:.1%}"
        ids = "tokenizers agree" if self.same_ids else "TOKENIZERS DIFFER"
        return f"read back: largest difference {self.largest:.2e}{kl} ({self.tokens} tokens); {ids}"


@cache
def probes() -> tuple[str, ...]:
    """Texts for tokenizers: the probe text and short ones that are easily got wrong."""
    text = (ROOT / "export" / "probe.txt").read_text(encoding="utf-8")
    odd = (
        "",
        " ",
        "  two  spaces ",
        "\n\n\tx\r\n",
        "3.14159 1234567890",
        "naïve 日本語 한국어 😀👍🏽 ﷽",
        "<|im_end|> </s> [SEP]",
    )
    return (text, *odd)


def compare(model: Model, path: Path) -> Comparison:
    """Load what was written to `path`, in the model's dtype, and compare."""
    again: Any = models.load(path, dtype=model.dtype, device=model.device, progress=False, packed=False)
    ids = model.tokenizer.encode(probes()[0]) if model.tokenizer is not None else []
    ids = (ids or list(range(min(TOKENS, _rows(model)))))[: min(TOKENS, again.context)]
    same = model.tokenizer is None or all(_ids(model, text) == _ids(again, text) for text in probes())
    batch = Batch.pack([ids], device=model.device)
    with torch.inference_mode():
        if not isinstance(model, CausalModel):
            a, b = model.hidden(batch).float(), again.hidden(batch).float()
            return Comparison(len(ids), float((a - b).abs().max()), None, None, same)
        a, b = model(batch).float(), again(batch).float()
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        kl = float((p.exp() * (p - q)).sum(-1).mean().clamp_min(0))
        best = float((a.argmax(-1) == b.argmax(-1)).float().mean())
    return Comparison(len(ids), float((a - b).abs().max()), kl, best, same)


def _ids(model: Model, text: str) -> tuple[list[int], list[int]]:
    return model.tokenizer.encode(text), model.tokenizer.encode(text, special=True, bos=True)


def _rows(model: Model) -> int:
    return int(model.config.vocab)
