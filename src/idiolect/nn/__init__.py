"""The small kit that models are made of."""

from idiolect.nn import sdpa as _sdpa  # noqa: F401  (registers the back end)
from idiolect.nn.attend import attend
from idiolect.nn.batch import Batch, Paged, State, StateSpec
from idiolect.nn.cache import Contiguous
from idiolect.nn.delta import Choice, Delta, routed
from idiolect.nn.embedding import Embedding
from idiolect.nn.feedforward import FeedForward, GatedFeedForward
from idiolect.nn.held import Held
from idiolect.nn.linear import Linear, pack
from idiolect.nn.norm import LayerNorm, RMSNorm
from idiolect.nn.rope import Rope, rotate
from idiolect.nn.stored import Stored

__all__ = [
    "Batch",
    "Choice",
    "Contiguous",
    "Delta",
    "Embedding",
    "FeedForward",
    "GatedFeedForward",
    "Held",
    "LayerNorm",
    "Linear",
    "Paged",
    "RMSNorm",
    "Rope",
    "State",
    "StateSpec",
    "Stored",
    "attend",
    "pack",
    "rotate",
    "routed",
]
