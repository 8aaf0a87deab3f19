"""`idiolect contamination`: does a training set hold the items of a test set?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from idiolect.commands import show
from idiolect.commands.settings import Json

if TYPE_CHECKING:
    import numpy as np

    from idiolect.evals.contamination import Contamination, Suspicion


def contamination(
    train: str,
    test: str,
    /,
    *,
    n: int = 13,
    least: int = 8,
    field: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    on_error: Literal["stop", "skip"] = "stop",
    model: Annotated[str, Parameter(name=["--model", "-m"])] = "",
    reference: str = "",
    most: int = 10,
    json: Json = False,
) -> None:
    """Look for the items of a test set in training data, word for word; the training data may exceed memory.

    Parameters
    ----------
    train
        The training data: a file, a folder or a glob (.jsonl, .json, .parquet, .csv, .tsv, .txt; also .gz).
    test
        The test set, in any of the same formats; each record is an item.
    n
        Words of an n-gram. An item with a shared n-gram is dirty.
    least
        Shorter items with at least this many words are looked for as a whole.
    field
        The field of the test records to look for, instead of all texts. Can be repeated.
    on_error
        What a training record that cannot be read does: stop, or be skipped and counted.
    model
        Also say which items this model finds too easy.
    reference
        Compared with this model (default: with zlib).
    most
        How many items to show.
    json
        Print one JSON document with every item.
    """
    from idiolect.evals import contamination as check

    tests = check.items(test, field)
    found = check.overlap(check.Training(train, skip=on_error == "skip"), tests, n=n, least=least)
    suspects = suspected(tests, model, reference) if model else None
    if json:
        told: dict[str, Any] = {"share": asdict(found.share), **asdict(found)}
        show.emit(told if suspects is None else {**told, "suspicion": asdict(suspects)})
        return
    for line in lines(found, most):
        print(line)
    if suspects is not None:
        print(f"\n{model}: {suspects.gain} bits per byte saved against {suspects.reference}")
        for one in suspects.outliers[:most]:
            name = tests[one.item][0]
            print(f"{name}  too easy: {one.gain:.2f} bits per byte saved, z {one.z:.1f}, min-k {one.min_k:.2f}")
        if not suspects.outliers:
            print("no item stands out from the others")


def lines(found: Contamination, most: int) -> list[str]:
    """The result as people read it."""
    told = len(found.items) - found.short
    out = [
        f"{len(found.dirty)} of {told} items share {found.least} to {found.n} words in a row with the training data: "
        f"{found.share.value:.1%} [{found.share.low:.1%}, {found.share.high:.1%}]"
        if told
        else "no item is long enough to tell"
    ]
    if found.short:
        out.append(f"{found.short} items have fewer than {found.least} words together and say nothing")
    if found.unread:
        out.append(f"{found.unread} training records could not be read")
    for item in found.dirty[:most]:
        out.append(f"\n{item.item}  {item.covered:.0%} of its words, {item.found} of {item.grams} n-grams")
        out += [f"  {part.place}: {part.text[:200]}{'…' * (len(part.text) > 200)}" for part in item.stretches]
    if len(found.dirty) > most:
        out.append(f"\nand {len(found.dirty) - most} more (--most, or --json for all)")
    return out


def suspected(tests: list[tuple[str, list[str]]], model: str, reference: str) -> Suspicion:
    """Score all items with the model, and with the reference where one is given."""
    from idiolect.evals.contamination import suspicion

    texts = ["\n".join(parts) or " " for _, parts in tests]
    own = logprobs(model, texts)
    other = logprobs(reference, texts) if reference else None
    return suspicion(texts, own, other, name=reference or "zlib")


def logprobs(model: str, texts: list[str]) -> list[np.ndarray]:
    """The log-probability of every token after the first (with a beginning-of-text token: of every token)."""
    import numpy as np

    from idiolect import models
    from idiolect.core.errors import BadInput
    from idiolect.engine import Engine, EngineConfig, Scored

    loaded = models.load(models.EMBEDDED_LM if model == "embedded" else model)
    if not hasattr(loaded, "template"):
        raise BadInput(f"{model} is no language model", hint="give one that writes text")
    with Engine(loaded, EngineConfig()) as engine:
        room = engine.capacity - 1
        ids = [loaded.tokenizer.encode(text, bos=True)[:room] for text in texts]
        long = [i for i in ids if len(i) > 1]
        done = iter(engine.score([Scored(i, 1) for i in long]))
        return [np.array([t.logprob for t in next(done)] if len(i) > 1 else [0.0]) for i in ids]
