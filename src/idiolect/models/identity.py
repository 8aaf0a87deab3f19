"""Which weights these are: a hash of a model's files, however they came here.

Packages and the like are known by the hash that was checked when they were fetched; other files are read once and
their hash is kept beside their size and time of change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.core.canonical import canonical, digest
from idiolect.core.files import sha256_kept

if TYPE_CHECKING:
    from idiolect.models.source import Source


def weights_hash(source: Source) -> str:
    """Stands for a model's files: weights, configuration, words. Where they lie and what they are called does not
    matter."""
    known = dict(source.sha256)
    folder = source.path if source.path.is_dir() else source.path.parent
    for file in source.files:
        if file not in known and (folder / file).is_file():
            known[file] = sha256_kept(folder / file)
    if source.path.is_file() and not known:
        known[source.path.name] = sha256_kept(source.path)
    if source.kind == "huggingface" and source.path.is_dir():
        for words in sorted(source.path.glob("*.json")) + sorted(source.path.glob("*.jinja")):
            known.setdefault(words.name, sha256_kept(Path(words)))
    return digest("weights", canonical(sorted(known.values())))
