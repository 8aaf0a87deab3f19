"""From files to training batches: formats, validation, loss masks, packing, order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idiolect.core import lazy

if TYPE_CHECKING:
    from idiolect.data.assemble import DataConfig, Prepared, prepare
    from idiolect.data.batch import TrainBatch
    from idiolect.data.cache import tokenise
    from idiolect.data.codec import Codec
    from idiolect.data.dataset import Dataset
    from idiolect.data.holdout import split
    from idiolect.data.order import Balanced, Mixed, Sequential, Shuffled
    from idiolect.data.source import Batching, PackedSource
    from idiolect.data.statistics import Statistics, describe
    from idiolect.data.windows import WindowSource

_WHERE = {
    "TrainBatch": "batch",
    "tokenise": "cache",
    "Codec": "codec",
    "Dataset": "dataset",
    "Balanced": "order",
    "Mixed": "order",
    "Sequential": "order",
    "Shuffled": "order",
    "DataConfig": "assemble",
    "Prepared": "assemble",
    "prepare": "assemble",
    "Batching": "source",
    "PackedSource": "source",
    "split": "holdout",
    "Statistics": "statistics",
    "describe": "statistics",
    "WindowSource": "windows",
}
__all__ = [
    "Balanced",
    "Batching",
    "Codec",
    "DataConfig",
    "Dataset",
    "Mixed",
    "PackedSource",
    "Prepared",
    "Sequential",
    "Shuffled",
    "Statistics",
    "TrainBatch",
    "WindowSource",
    "describe",
    "prepare",
    "split",
    "tokenise",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: reading files must not cost an import of torch."""
    return lazy.attribute(__name__, _WHERE, name)
