"""Was the test set in the training data? n-grams that both share, and texts that a model finds too easy."""

from idiolect.evals.contamination.grams import Place
from idiolect.evals.contamination.overlap import Contamination, Overlap, Stretch, Text, Training, items, overlap
from idiolect.evals.contamination.suspicion import Suspect, Suspicion, min_k, suspicion

__all__ = [
    "Contamination",
    "Overlap",
    "Place",
    "Stretch",
    "Suspect",
    "Suspicion",
    "Text",
    "Training",
    "items",
    "min_k",
    "overlap",
    "suspicion",
]
