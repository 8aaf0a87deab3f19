"""Long texts: perplexity, and bits per byte and per character, the only figures that compare across vocabularies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from idiolect.evals.tasks.base import PerDocument, Record, wrong_reply
from idiolect.evals.types import Columns, Grade, Item, Metric, Reply, Roll, Rolled


class RollTask(PerDocument):
    """`prompt`, when given, is the text of a document; else its field `text`."""

    metrics = (
        Metric("bits_per_byte", False, share=False, about="comparable across tokenizers"),
        Metric("bits_per_char", False, share=False, about="comparable across tokenizers"),
        Metric("perplexity", False, share=False, about="per token: comparable for one tokenizer only"),
        Metric("bits_per_token", False, share=False),
    )

    def item(self, row: Record) -> Item:
        c = self.config
        text = self.render("prompt", row) if c.prompt else str(row.get("text", ""))
        request = Roll(text, c.text.window, c.text.stride, c.text.bos)
        return Item(self.id_of(row), request, None, self.meta_of(row))

    def grade(self, item: Item, reply: Reply) -> Grade:
        if not isinstance(reply, Rolled):
            raise wrong_reply(item, reply)
        return {
            "_nats": -reply.logprob,
            "_tokens": float(reply.tokens),
            "_bytes": float(reply.bytes),
            "_chars": float(reply.chars),
        }

    def aggregate(self, columns: Columns) -> Mapping[str, float]:
        nats = float(columns["_nats"].sum())
        bits = nats / math.log(2)
        tokens = float(columns["_tokens"].sum())
        figures: dict[str, Any] = {
            "bits_per_byte": bits / float(columns["_bytes"].sum()),
            "bits_per_char": bits / float(columns["_chars"].sum()),
            "perplexity": math.exp(min(nats / tokens, 700.0)),
            "bits_per_token": bits / tokens,
        }
        return figures
