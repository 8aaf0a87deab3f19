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


def test_minilm_keeps_its_vectors(lib: Any, minilm: Any) -> None:
    from idiolect.engine import Embedder

    texts = ["A cat sat on the mat.", "Der Vertrag endet am 1. Mai.", "x " * 200, ""]
    want, found = Embedder(minilm)(texts), Embedder(minilm, runner="native")(texts)
    assert (1 - (want * found).sum(1)).max() < 1e-5
