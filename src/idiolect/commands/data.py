"""`idiolect data`: look at a data set before training on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from idiolect.commands import show
from idiolect.commands.settings import Json

if TYPE_CHECKING:
    from idiolect.data.codec import Codec

EXAMPLES = """
  idiolect data inspect chats.jsonl    what it is, how long, what is learned
  idiolect data inspect pairs.json --on-error skip --plot lengths.png
  idiolect data inspect sms.tsv --model ./bert --json | jq .labels"""
app = App(
    name="data",
    help="Look at training data: what it is, how long, what is wrong with it.",
    help_epilogue="Examples:" + EXAMPLES,
    help_format="plaintext",
)


@app.command
def inspect(
    *paths: str,
    model: Annotated[str, Parameter(name=["--model", "-m"])] = "",
    format: str = "auto",
    on_error: Literal["stop", "skip"] = "stop",
    context: int = 0,
    separator: str = "",
    plot: Path | None = None,
    sample: int = 1,
    json: Json = False,
) -> None:
    """Read a data set as training would: its format, lengths in tokens, duplicates, and what cannot be used.

    Parameters
    ----------
    paths
        Files (.jsonl, .json, .parquet, .csv, .tsv, .txt; also .gz), folders or globs, read as one data set.
    model
        Whose tokenizer, chat template and context to use (default: the embedded language model).
    format
        auto, text, completion, chat, preference or labelled.
    on_error
        What a record that cannot be used does: stop with its line, or be skipped and counted.
    context
        The longest example in tokens (default: the model's context).
    separator
        The line between the documents of a plain text file.
    plot
        Write histograms to this .png or .svg file.
    sample
        How many examples to show as the model would see them.
    json
        Print one JSON document instead of a table.
    """
    from idiolect import models
    from idiolect.core.errors import BadInput
    from idiolect.data.cache import tokenise
    from idiolect.data.codec import Codec
    from idiolect.data.dataset import Dataset
    from idiolect.data.statistics import describe

    if not paths:
        raise BadInput("there is nothing to look at", hint="idiolect data inspect FILE")
    data = Dataset(paths, format=format, separator=separator)
    codec = Codec.open(model or models.EMBEDDED_LM, context=context)
    tokens = tokenise(data, codec, on_error=on_error)
    found = describe(tokens, data)
    if plot is not None:
        from idiolect.data.picture import plot as draw

        draw(tokens, plot, context=codec.context)
    if json:
        show.emit(asdict(found))
        return
    show.table(found.rows())
    for number in range(min(sample, len(tokens))):
        for ids, counted in tokens.segments(number):
            print("\n" + marked(codec, ids.tolist(), counted.tolist()))
    if plot is not None:
        show.say(f"drawn into {plot}")


def marked(codec: Codec, ids: list[int], counted: list[int], most: int = 400) -> str:
    """A segment as text, what is learned between ⟦ and ⟧; no more than its first `most` tokens."""
    from itertools import groupby

    out = []
    for learned, run in groupby(zip(ids[:most], counted[:most], strict=True), key=lambda pair: pair[1]):
        text = codec.tokenizer.decode([i for i, _ in run], special=True)
        out.append(f"⟦{text}⟧" if learned else text)
    return "".join(out) + (f" … {len(ids) - most} more tokens" if len(ids) > most else "")
