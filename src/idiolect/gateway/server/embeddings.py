"""POST /v1/embeddings: unit vectors of texts, as numbers or as base64 of little-endian float32."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

from fastapi import APIRouter, Request

from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.core.names import did_you_mean
from idiolect.gateway.server.parse import app_of, parse
from idiolect.gateway.server.schema import EmbeddingRequest

router = APIRouter()
MOST = 2048  # texts of one request, as OpenAI has it


@router.post("/v1/embeddings")
async def embeddings(request: Request) -> dict[str, Any]:
    app = app_of(request)
    body = await parse(request, EmbeddingRequest)
    found = app.embedders.get(body.model)
    if found is None:
        if not app.is_ready:
            raise Unavailable(f"the server is starting ({app.stage})", hint="wait until /healthz says ready")
        hint = did_you_mean(body.model, app.embedders)
        error = NotFound(f"no embedding model {body.model[:80]!r}", hint=hint, param="model")
        error.code = "model_not_found"
        raise error
    embedder, count = found
    texts = _texts(body)
    if body.dimensions is not None and body.dimensions != embedder.dim:
        hint = f"leave it out: {body.model} gives {embedder.dim} and cannot be cut"
        raise BadInput(f"dimensions is {body.dimensions}", hint=hint, param="dimensions")
    begin = time.perf_counter()
    vectors = await asyncio.to_thread(embedder, texts, "doc")
    used = sum(map(count, texts))
    app.metrics.seconds.labels("embeddings").observe(time.perf_counter() - begin)
    app.metrics.requests.labels("embeddings", body.model, "200").inc()
    app.metrics.tokens.labels(body.model, "prompt").inc(used)

    def spell(vector: Any) -> str | list[float]:
        if body.encoding_format == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        return [float(x) for x in vector]

    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": spell(v)} for i, v in enumerate(vectors)],
        "model": body.model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _texts(body: EmbeddingRequest) -> list[str]:
    given = [body.input] if isinstance(body.input, str) else list(body.input)
    if not given or len(given) > MOST:
        raise BadInput(f"input has {len(given)} texts", hint=f"give 1 to {MOST}", param="input")
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) != len(given):
        raise BadInput("input is token ids", hint="send text: other tokenizers' ids mean nothing here", param="input")
    if "" in texts:
        raise BadInput("input has an empty text", hint="an empty text has no meaning to embed", param="input")
    return texts
