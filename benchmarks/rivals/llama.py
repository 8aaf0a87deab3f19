"""llama.cpp through its C interface: its own speed, without the Python that llama-cpp-python puts around a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


class LlamaCpp:
    """A model with room for `sequences` sequences in `context` tokens of cache, two threads by default."""

    def __init__(self, path: Path, *, context: int = 4096, sequences: int = 1, threads: int = 2) -> None:
        import llama_cpp

        self._api: Any = llama_cpp
        llama_cpp.llama_log_set(_quiet(llama_cpp), None)
        model = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), model)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, 1024, 512
        params.n_seq_max, params.n_threads, params.n_threads_batch = sequences, threads, threads
        if hasattr(params, "kv_unified"):
            params.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._batch = llama_cpp.llama_batch_init(1024, 0, 1)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def clear(self) -> None:
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), True)

    def decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> list[int]:
        """Run (token, position, sequence, wanted) rows; returns the indices of the wanted ones."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        if self._api.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        return [i for i, row in enumerate(tokens) if row[3]]

    def logits(self, row: int) -> np.ndarray:
        """Logits [V] of a wanted row of the last call; a view."""
        return np.ctypeslib.as_array(self._api.llama_get_logits_ith(self._context, row), (self._vocabulary,))

    def best(self, row: int) -> int:
        return int(self.logits(row).argmax())

    def prompts(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        """Prefill one sequence each; returns the most likely next token of each."""
        rows = [(t, p, s, p == len(ids) - 1) for s, ids in enumerate(prompts) for p, t in enumerate(ids)]
        return [self.best(i) for i in self.decode(rows)]


_callbacks: list[Any] = []  # a C callback must outlive every call


def _quiet(llama_cpp: Any) -> Any:
    if not _callbacks:
        _callbacks.append(llama_cpp.llama_log_callback(lambda level, text, data: None))
    return _callbacks[0]
