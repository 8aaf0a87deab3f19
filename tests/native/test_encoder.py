"""A recorded encoder against the torch module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from idiolect.engine.native_encoder import NativeEncoder
from idiolect.models.bert import Bert
from idiolect.nn.batch import Batch
from tests.native.test_record import network

BERT = {
    "model_type": "bert",
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "max_position_embeddings": 66,
}


@pytest.mark.parametrize(
    "changes", [{}, {"hidden_act": "relu", "type_vocab_size": 1}, {"model_type": "roberta", "pad_token_id": 1}]
)
def test_vectors_equal_the_modules(lib: Any, changes: dict[str, Any]) -> None:
    model = network(Bert, {**BERT, **changes})
    native = NativeEncoder(model, tokens=150, threads=2)
    for lengths in ([1], [17, 2, 33], [64, 5, 16, 48]):
        batch = Batch.pack([[1 + (3 * i * i + n) % 90 for i in range(n)] for n in lengths])
        with torch.inference_mode():
            want = model.hidden(batch)
        found = native.hidden(batch)
        np.testing.assert_allclose(found.numpy(), want.numpy(), atol=5e-3)
        torch.testing.assert_close(native(batch), model.embed_batch(batch), atol=1e-3, rtol=0)
        alone = [native(Batch.pack([batch.ids[a:b]])) for a, b in zip(batch.bounds, batch.bounds[1:], strict=False)]
        assert torch.equal(torch.cat(alone), native(batch))


@pytest.mark.parametrize(("weights", "bound"), [("stored", 1e-5), ("q8", 1e-3)])
def test_minilm_keeps_its_vectors(lib: Any, minilm: Any, weights: Any, bound: float) -> None:
    from idiolect.engine import Embedder

    texts = ["A cat sat on the mat.", "Der Vertrag endet am 1. Mai.", "x " * 200, "", *(f"Line {i}." for i in range(9))]
    plain, native = Embedder(minilm, runner="torch"), Embedder(minilm, weights=weights, batch_tokens=300)
    want, found = plain(texts), native(texts)
    assert (1 - (want * found).sum(1)).max() < bound
    assert native.runner.startswith("native") and plain.runner == "torch"
    assert (native.fingerprint == plain.fingerprint) == (weights == "stored")  # else an index is made anew
    assert np.array_equal(native(texts[::-1], "query")[::-1], found)  # whatever the batches


def test_what_the_kernels_do_not_know_runs_in_torch(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from idiolect.core.errors import Unavailable
    from idiolect.engine import Embedder, native_encoder

    def none() -> Any:
        raise Unavailable("there is no compiler")

    model = network(Bert, BERT)
    model.tokenizer = type("T", (), {"fingerprint": "t"})()
    monkeypatch.setattr(native_encoder, "library", none)
    assert Embedder(model).runner == "torch (not native: there is no compiler)"
    for how in ({"runner": "native"}, {"weights": "q8"}):
        with pytest.raises(Unavailable):
            Embedder(model, **how)  # type: ignore[arg-type]
