"""Texts to unit vectors, in packed batches of similar length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.core.errors import BadInput
from idiolect.models.base import Encoder
from idiolect.nn.batch import Batch


class Embedder:
    """Embeds with an encoder (the `Embedder` protocol of retrieval). Thread-safe without a lock, since a forward pass
    only reads: a query never waits for an index that is being made (and that runs at a lower priority).

    A text of more than `max_tokens` tokens ([CLS] and [SEP] included; all-MiniLM-L6-v2 was trained with 256) is
    embedded by its beginning, as in sentence-transformers; whoever cuts documents into chunks should cut below that.
    """

    def __init__(
        self, encoder: Encoder, *, batch_tokens: int = 2048, runner: Literal["torch", "native"] = "torch"
    ) -> None:
        """`batch_tokens` bounds the tokens of one forward pass, and so its memory. `runner` "native" computes with
        the native kernels, where callers take turns (`Unavailable`, `NotRecordable`: they cannot be had)."""
        if batch_tokens < 1:
            raise BadInput(f"batch_tokens is {batch_tokens}", hint="give 1 or more", param="batch_tokens")
        self.encoder = encoder.eval()
        self.batch_tokens = batch_tokens
        self.max_tokens = encoder.max_tokens
        self.dim = encoder.width
        self.fingerprint = _fingerprint(encoder)
        self._vectors: Callable[[Batch], torch.Tensor] = self.encoder.embed_batch
        if runner == "native":
            from idiolect.engine.native_encoder import NativeEncoder

            self._vectors = NativeEncoder(encoder, tokens=batch_tokens)

    def __call__(self, texts: Sequence[str], kind: Literal["query", "doc"] = "doc") -> NDArray[np.float32]:
        """[len(texts), dim] float32, each row of length 1. `kind` makes no difference to encoders that were trained
        without instructions, which these are."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        if not texts:
            return out
        tokenizer = self.encoder.tokenizer
        framed = [tokenizer.frame(ids, self.max_tokens) for ids in tokenizer.encode_batch(list(texts))]
        for rows in self._batches([len(ids) for ids in framed]):
            out[rows] = self._embed([framed[i] for i in rows])
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

    def _embed(self, segments: list[list[int]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors = self._vectors(Batch.pack(segments, device=self.encoder.device)).float()
            if not self.encoder.normalize:
                vectors = torch.nn.functional.normalize(vectors, dim=-1)
            return vectors.cpu().numpy()


def _fingerprint(encoder: Encoder) -> str:
    """Changes with the weights, their dtype, the tokenizer, the pooling and the limit: all that changes a vector."""
    digest = hashlib.sha256()
    settings = (encoder.tokenizer.fingerprint, encoder.pooling, encoder.max_tokens, str(encoder.dtype))
    digest.update(repr(settings).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
