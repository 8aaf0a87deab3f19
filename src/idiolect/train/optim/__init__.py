"""Optimisers: AdamW and SGD are torch's, Muon is here. Which parameter goes where is a rule, not a list of names."""

from idiolect.train.optim.build import Optimisers, build
from idiolect.train.optim.muon import Muon, orthogonalise

__all__ = ["Muon", "Optimisers", "build", "orthogonalise"]
