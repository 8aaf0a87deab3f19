"""Sentence vectors of the embedded encoder, ours against sentence-transformers', on the same weights.

First the largest absolute difference over 200 sentences (vectors of length 1), then passages per second of both,
interleaved: the same passages, tokenising included, each side with its own batching (ours: sorted by length, packed).
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Result, interleave, ratios, spread
from benchmarks.logits import real_text

SUMMARY = "MiniLM vectors and passages per second, beside sentence-transformers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--batch-tokens", type=int, default=2048, help="tokens in one packed batch of ours")


def sentences(text: str, count: int) -> list[str]:
    """Sentences of 40 to 1,200 characters, spread over the text."""
    found = [s.strip() for s in re.split(r"(?<=[.!?])\s+", text)]
    found = [s for s in found if 40 <= len(s) <= 1200]
    return found[:: max(1, len(found) // count)][:count]


def embed(model: Any, texts: Sequence[str], batch_tokens: int) -> Any:
    """[len(texts), D]: sorted by length, packed up to `batch_tokens`."""
    import torch

    from idiolect.nn import Batch

    frame = model.tokenizer.frame
    ids = [frame(i, model.max_tokens) for i in model.tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    out = torch.empty(len(ids), model.width)
    with torch.inference_mode():
        while order:
            rows, tokens = [order.pop()], 0
            tokens = len(ids[rows[0]])
            while order and tokens + len(ids[order[-1]]) <= batch_tokens:
                rows.append(order.pop())
                tokens += len(ids[rows[-1]])
            out[rows] = model.embed_batch(Batch.pack([ids[i] for i in rows]))
    return out


def run(args: argparse.Namespace) -> Result:
    import torch
    from sentence_transformers import SentenceTransformer

    from idiolect import models

    torch.set_num_threads(args.threads)
    texts = sentences(real_text(args.data), args.sentences)
    ours = models.load(models.EMBEDDED_ENCODER, dtype="float32")
    theirs = SentenceTransformer(str(ours.source.path), device="cpu")
    want = torch.from_numpy(theirs.encode(texts, normalize_embeddings=True, show_progress_bar=False))
    worst = (embed(ours, texts, args.batch_tokens) - want).abs().max().item()
    print(f"max |difference| over {len(texts)} sentences: {worst:.2e} (goal <= 1e-5)")

    def rate(work: Any) -> float:
        begin = time.perf_counter()
        work()
        return len(texts) / (time.perf_counter() - begin)

    figures = interleave(
        {
            "idiolect": lambda: rate(lambda: embed(ours, texts, args.batch_tokens)),
            "sentence-transformers": lambda: rate(lambda: theirs.encode(texts, show_progress_bar=False)),
        },
        args.rounds,
    )
    for name, values in figures.items():
        print(f"{name:22} {spread(values)} passages/s")
    mine, other = figures["idiolect"], figures["sentence-transformers"]
    ratio = ratios(mine, other)
    print(f"ratio {ratio}")
    return Result(
        bench="embeddings",
        ours=spread(mine).median,
        rival=spread(other).median,
        ratio=ratio.median,
        unit="passages/s",
        n=len(texts),
        goal="max |difference| <= 1e-5",
        met=worst <= 1e-5,
        notes=[f"max |difference| {worst:.2e}"],
    )
