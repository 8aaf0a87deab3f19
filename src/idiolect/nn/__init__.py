"""The small kit that models are made of."""

from idiolect.nn.batch import Batch, Paged, State, StateSpec

__all__ = ["Batch", "Paged", "State", "StateSpec"]
