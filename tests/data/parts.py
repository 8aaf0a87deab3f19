"""What the data tests share: small real tokenizers and templates, and files of records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.data.codec import Codec, Row
from idiolect.data.tokens import Builder, Tokens
from idiolect.text.hf import HFTokenizer
from idiolect.text.template import Template
from tests.text import tiny


@cache
def tokenizer(family: str = "chatml") -> HFTokenizer:
    return HFTokenizer(json.loads(tiny.spec(family)), tiny.NAMED[family])


@cache
def template(name: str = "chatml") -> Template:
    return Template(tiny.template(name), tokenizer(tiny.FAMILY.get(name, name)), name)


def codec(name: str | None = "chatml", **options: Any) -> Codec:
    """A codec with the template `name`, or with none."""
    options = {"context": 512, **options}
    if name is None:
        return Codec(tokenizer(), None, **options)
    return Codec(tokenizer(tiny.FAMILY.get(name, name)), template(name), **options)


def jsonl(path: Path, records: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def tokens(
    lengths: Sequence[int | Sequence[int]], labels: Sequence[str | float] | None = None, format: str = "text"
) -> Tokens:
    """Items of given lengths (a list: several segments) in which every token's id is its own."""
    builder = Builder(None, "labelled" if labels else format)
    made = 0
    for index, sizes in enumerate(lengths):
        segments = []
        for size in [sizes] if isinstance(sizes, int) else sizes:
            segments.append((np.arange(made, made + size, dtype=np.uint32), np.ones(size, np.uint8)))
            made += size
        builder.add(Row(segments, labels[index] if labels else None), index, index * 7919)
    return builder.finish()
