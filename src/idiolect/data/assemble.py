"""From a configuration to batches: what a recipe's `data:` part means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.core.progress import Sink
from idiolect.data.cache import tokenise
from idiolect.data.codec import Codec, TooLong
from idiolect.data.dataset import Dataset, OnError
from idiolect.data.holdout import split
from idiolect.data.items import Items, Joined
from idiolect.data.labels import Kind, settle
from idiolect.data.order import Balanced, Mixed, Order, Sequential, Shuffled
from idiolect.data.source import Batching, PackedSource
from idiolect.data.tokens import Tokens
from idiolect.data.windows import Reading, WindowSource

ENDLESS = 1 << 40  # a context for text that is cut into windows later


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What to train on, and how it is cut into steps."""

    train: tuple[str, ...] = ()  # files, folders or globs, read as one data set
    mix: Mapping[str, float] = field(default_factory=dict)  # or several data sets: path -> share of the examples
    validation: tuple[str, ...] = ()  # files to validate on, or ...
    holdout: float = 0.0  # ... this part of the training examples, chosen by hash (of windows: the end of the text)
    format: Literal["auto", "text", "completion", "chat", "preference", "labelled"] = "auto"
    separator: str = ""  # the line between the documents of a plain text file
    on_error: OnError = "stop"  # what a record that cannot be used does: stop, or be skipped and counted
    limit: int = 0  # read the first records only (0: all)
    context: int = 0  # longest example in tokens (0: the model's context)
    too_long: TooLong = "split"
    chat: bool = True  # prompts and completions go through the model's chat template, if it has one
    labels: Kind = "auto"
    shuffle: bool = True
    balance: bool = False  # as many examples of each class as the smallest has
    block: int = 0  # plain text as windows of this many tokens (0: as documents)
    windows: int = 12  # windows a step
    reading: Reading = "random"
    batching: Batching = field(default_factory=Batching)
    cache: bool = True  # keep the tokens in the user's cache


@dataclass(slots=True)
class Prepared:
    """`train` and `validation` give batches; `tokens` are the token files that they draw from, for statistics."""

    train: PackedSource | WindowSource
    validation: PackedSource | WindowSource | None
    tokens: list[Tokens]
    classes: tuple[str, ...] = ()
    items: Items | None = None  # what `train` draws from, where it draws examples
    held: Items | None = None


def prepare(model: Any, config: DataConfig, seed: int = 0, sink: Sink | None = None) -> Prepared:
    """Read, tokenise and order the data of `config` for `model`.

    Raises `NotFound` or `BadInput`; both say which file and line, and what to do.
    """
    if bool(config.train) == bool(config.mix):
        wrong = "both train and mix are given" if config.train else "there is no data to train on"
        raise BadInput(wrong, hint="give data.train, or data.mix with a weight for each path")
    if config.validation and config.holdout:
        raise BadInput("both validation and holdout are given", hint="give one of them")
    paths: list[tuple[str, ...]] = [config.train] if config.train else [(path,) for path in config.mix]
    codec = Codec.of(model, context=config.context, too_long=config.too_long, chat=config.chat)
    if config.block:
        codec = Codec(model.tokenizer, model.template, context=ENDLESS)
    tokens = [_read(where, codec, config, sink) for where in paths]
    if config.block:
        return _windows(model, tokens, codec, config, seed, sink)
    _same(tokens, paths)
    for part in tokens:
        settle(part, config.labels)
    classes = tuple(sorted({name for part in tokens for name in part.classes}))
    for part in tokens if len(tokens) > 1 else []:
        settle(part, config.labels, classes)
    held: list[Items] = []
    parts: list[Items] = list(tokens)
    if config.validation:
        other = _read(config.validation, codec, config, sink)
        settle(other, config.labels, tokens[0].classes)
        held = [other]
    elif config.holdout:
        parts, held = map(list, zip(*(split(t, config.holdout, seed) for t in tokens), strict=True))
    items = parts[0] if len(parts) == 1 else Joined(parts)
    source = PackedSource(items, _order(config, parts, items, seed), config.batching, seed)
    validation = None
    if held:
        kept = held[0] if len(held) == 1 else Joined(held)
        validation = PackedSource(kept, Sequential(len(kept)), replace(config.batching, bucket=0), seed)
    return Prepared(
        source, validation, tokens, tokens[0].classes, items, validation.items if validation is not None else None
    )


def _read(where: tuple[str, ...], codec: Codec, config: DataConfig, sink: Sink | None) -> Tokens:
    data = Dataset(where, format=config.format, separator=config.separator, limit=config.limit)
    return tokenise(data, codec, on_error=config.on_error, cache=config.cache, sink=sink)


def _same(tokens: list[Tokens], paths: list[tuple[str, ...]]) -> None:
    kinds = {"labelled": "labelled", "preference": "preference"}
    found = [kinds.get(t.counts.format, "language") for t in tokens]
    for kind, path in zip(found, paths, strict=True):
        if kind != found[0]:
            raise BadInput(
                f"{path[0]} is {kind} data, {paths[0][0]} is {found[0]} data", hint="one objective cannot read both"
            )


def _order(config: DataConfig, parts: list[Items], items: Items, seed: int) -> Order:
    if config.balance:
        if items.labels is None or not items.classes:
            raise BadInput("balance needs examples with classes", hint="leave it out, or give labelled data")
        if config.mix:
            raise BadInput("balance and mix cannot be combined", hint="leave one of them out")
        return Balanced(items.labels, seed)
    if config.mix:
        return Mixed([len(p) for p in parts], list(config.mix.values()), seed)
    return Shuffled(len(items), seed) if config.shuffle else Sequential(len(items))


def _windows(
    model: Any, tokens: list[Tokens], codec: Codec, config: DataConfig, seed: int, sink: Sink | None
) -> Prepared:
    """Windows of the running text; what is held out is its end."""
    if config.block > model.context:
        raise BadInput(f"block is {config.block}, the model's context {model.context}", hint="give a smaller block")
    if len(tokens) > 1 or config.balance:
        raise BadInput("windows are of one text", hint="leave mix and balance out, or set block to 0")
    if tokens[0].counts.format != "text":
        raise BadInput(f"windows are of plain text, this is {tokens[0].counts.format}", hint="set block to 0")

    def source(ids: np.ndarray, reading: Reading) -> WindowSource:
        return WindowSource(
            ids,
            block=config.block,
            windows=config.windows,
            reading=reading,
            micro_tokens=config.batching.micro_tokens,
            seed=seed,
        )

    ids = tokens[0].ids
    held = None
    if config.validation:
        held = _read(config.validation, codec, config, sink).ids
    elif config.holdout:
        cut = int(len(ids) * (1 - config.holdout))
        ids, held = ids[:cut], ids[cut:]
    validation = None if held is None else source(held, "sequential")
    return Prepared(source(ids, config.reading), validation, tokens)
