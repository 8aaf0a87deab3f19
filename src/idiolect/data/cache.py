"""Tokenising a data set once: the token files are kept under a name made of everything that they depend on.

A folder of token files appears whole or not at all. One that is damaged or deleted is made again; a run that was
killed leaves a temporary folder behind, which the next one removes.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path

from idiolect.core.canonical import canonical, digest
from idiolect.core.errors import BadInput, CorruptFile
from idiolect.core.files import cache_dir, disk_error, lock, sha256_file
from idiolect.core.progress import Sink, progress
from idiolect.data.codec import Codec, Row
from idiolect.data.dataset import Dataset, OnError, Skipped
from idiolect.data.examples import words
from idiolect.data.tokens import Builder, Tokens


def tokenise(
    data: Dataset,
    codec: Codec,
    *,
    on_error: OnError = "stop",
    cache: Path | bool = True,
    sink: Sink | None = None,
) -> Tokens:
    """The data set as items. `cache` is the folder to keep them in (True: the user's cache; False: in memory).

    Raises `BadInput` with file and line for a record that cannot be used (unless `on_error` is "skip"), and when
    nothing is left.
    """
    if cache is False:
        tokens = _build(data, codec, on_error, None, sink)
    else:
        folder = cache_dir() / "tokens" if cache is True else Path(cache)
        folder.mkdir(parents=True, exist_ok=True)
        tokens = _kept(data, codec, on_error, folder, sink)
    tokens.names = [str(file) for file in data.files]
    return tokens


def _kept(data: Dataset, codec: Codec, on_error: OnError, root: Path, sink: Sink | None) -> Tokens:
    key = fingerprint(data, codec, on_error)
    path = root / key
    with lock(root / f"{key}.lock"):
        if (path / "meta.json").exists():
            try:
                return Tokens.open(path)
            except CorruptFile:
                shutil.rmtree(path)
        for left in root.glob(f".{key}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        temp = root / f".{key}.{secrets.token_hex(6)}.tmp"
        try:
            temp.mkdir()
            _build(data, codec, on_error, temp, sink)
            shutil.rmtree(path, ignore_errors=True)
            temp.rename(path)
        except OSError as error:
            raise disk_error(error, path) from error
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        return Tokens.open(path)


def fingerprint(data: Dataset, codec: Codec, on_error: OnError = "stop") -> str:
    """The name of the token files: the files' content, how they are read, and how they become ids."""
    content = [sha256_file(file) for file in data.files]
    reading = canonical([data.format, data.separator, len(data), on_error])
    return digest("tokens 2", codec.fingerprint, reading, *content)[:32]


def _build(data: Dataset, codec: Codec, on_error: OnError, path: Path | None, sink: Sink | None) -> Tokens:
    builder = Builder(path, data.format)
    skipped = Skipped()
    try:
        with progress("reading the data", total=len(data), unit="examples", sink=sink) as bar:
            for index, example in data.examples(on_error, skipped):
                try:
                    rows = codec.rows(example)
                except BadInput as error:
                    reason, error.message = error.message, f"{data.place(index)}: {error.message}"
                    if on_error == "stop":
                        raise
                    skipped.add(reason, error.message)
                    continue
                builder.counts.dropped += not rows
                _add(builder, rows, index, text_hash(words(example)), data.where(index))
                if index % 64 == 0:
                    bar.update(done=index)
        counts = builder.counts
        counts.records = len(data)
        counts.skipped, counts.first_skipped = dict(skipped.reasons), skipped.first
        tokens = builder.finish()
    finally:
        builder.close()
    if not len(tokens):
        left = f"{counts.dropped} are longer than {codec.context} tokens" if counts.dropped else "none can be used"
        first = f"; the first: {skipped.first[0]}" if skipped.first else ""
        raise BadInput(
            f"nothing is left of the {len(data)} records of {data.files[0]}: {left}{first}",
            hint="give a larger context or too_long=truncate" if counts.dropped else "correct the records",
        )
    return tokens


def _add(builder: Builder, rows: list[Row], index: int, hash: int, where: tuple[int, int]) -> None:
    for number, row in enumerate(rows):
        # The pieces of a long document are items of their own; each needs a hash of its own to be split by.
        builder.add(row, index, hash if number == 0 else text_hash(f"{hash}:{number}"), where)


def text_hash(text: str) -> int:
    """64 bits of a text's BLAKE2 hash."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
