"""Texts to unit vectors, in packed batches of similar length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.core.errors import BadInput, Unavailable
from idiolect.models.base import Encoder
from idiolect.nn.batch import Batch
from idiolect.nn.tape import NotRecordable

if TYPE_CHECKING:
    from idiolect.engine.native_encoder import NativeEncoder


Weights = Literal["stored", "q8"]
ROUNDING = 2  # which matrices are rounded, and how: vectors of another number are other vectors


class Embedder:
    """Embeds with an encoder (the `Embedder` protocol of retrieval), in native kernels where they can be had and else
    in torch; `runner` says which. Any number of threads may call: in torch a query never waits for an index that is
    being made; the native kernels take one batch at a time, and a query has the next turn.

    A text of more than `max_tokens` tokens ([CLS] and [SEP] included; all-MiniLM-L6-v2 was trained with 256) is
    embedded by its beginning, as in sentence-transformers; whoever cuts documents into chunks should cut below that.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        batch_tokens: int | None = None,
        runner: Literal["auto", "torch", "native"] = "auto",
        weights: Weights = "stored",
    ) -> None:
        """`batch_tokens` bounds the tokens of one forward pass, and so its memory and a query's wait (None: 1024, or
        2048 in torch). `runner` "native" raises `Unavailable` or `NotRecordable` where "auto" would take torch.
        `weights` "q8" rounds weights and activations to 8 bits, native only."""
        if batch_tokens is not None and batch_tokens < 1:
            raise BadInput(f"batch_tokens is {batch_tokens}", hint="give 1 or more", param="batch_tokens")
        if weights == "q8" and runner == "torch":
            raise BadInput("weights q8 need the native runner", hint="leave out runner", param="weights")
        self.encoder = encoder.eval()
        self.max_tokens = encoder.max_tokens
        self.dim = encoder.width
        # Not of the runner: float32 vectors of both agree within a cosine of 1e-5, and an index stays valid.
        self.fingerprint = _fingerprint(encoder, weights)
        self._native: NativeEncoder | None = None
        self.runner = "torch"
        if runner != "torch":
            self._native = self._kernels(batch_tokens or 1024, weights, required=runner == "native" or weights == "q8")
        if self._native is not None:
            self.runner = self._native.name
        self.batch_tokens = batch_tokens or (2048 if self._native is None else 1024)

    def _kernels(self, tokens: int, weights: Weights, required: bool) -> NativeEncoder | None:
        from idiolect.engine.native_encoder import NativeEncoder

        exact = self.encoder.dtype == torch.float32 and self.encoder.device.type == "cpu"
        try:
            if not exact and not required:
                raise Unavailable(f"the encoder is {self.encoder.dtype} on {self.encoder.device}")
            return NativeEncoder(self.encoder, tokens=tokens, quantise=None if weights == "stored" else weights)
        except (Unavailable, NotRecordable) as error:
            if required:
                raise
            self.runner = f"torch (not native: {error.message})"
            return None

    def __call__(self, texts: Sequence[str], kind: Literal["query", "doc"] = "doc") -> NDArray[np.float32]:
        """[len(texts), dim] float32, each row of length 1. `kind` makes no difference to encoders that were trained
        without instructions, which these are."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        if not texts:
            return out
        tokenizer = self.encoder.tokenizer
        framed = [tokenizer.frame(ids, self.max_tokens) for ids in tokenizer.encode_batch(list(texts))]
        for rows in self._batches([len(ids) for ids in framed]):
            out[rows] = self._embed([framed[i] for i in rows], urgent=kind == "query")
        return out

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        """Rows sorted by length, so that attention finds neighbours of equal length, cut at `batch_tokens`."""
        batches: list[list[int]] = []
        used = self.batch_tokens
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            used += lengths[row]
            if used > self.batch_tokens:
                batches.append([])
                used = lengths[row]
            batches[-1].append(row)
        return batches

    def _embed(self, segments: list[list[int]], urgent: bool) -> NDArray[np.float32]:
        batch = Batch.pack(segments, device=self.encoder.device)
        with torch.inference_mode():
            native = self._native
            vectors = (self.encoder.embed_batch(batch) if native is None else native(batch, urgent)).float()
            if not self.encoder.normalize:
                vectors = torch.nn.functional.normalize(vectors, dim=-1)
            return vectors.cpu().numpy()


def _fingerprint(encoder: Encoder, weights: Weights) -> str:
    """Changes with the weights, their dtype, the tokenizer, the pooling and the limit: all that changes a vector."""
    digest = hashlib.sha256()
    settings = (encoder.tokenizer.fingerprint, encoder.pooling, encoder.max_tokens, str(encoder.dtype))
    digest.update(repr(settings if weights == "stored" else (*settings, weights, ROUNDING)).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
