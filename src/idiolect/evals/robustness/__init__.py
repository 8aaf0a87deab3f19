"""Does an answer hang on how the question is typed? Seeded perturbations, and what they change."""

from idiolect.evals.robustness.change import Change, change
from idiolect.evals.robustness.options import Reordered, reorder
from idiolect.evals.robustness.perturb import PERTURBATIONS, perturb
from idiolect.evals.robustness.task import Perturbed

__all__ = ["PERTURBATIONS", "Change", "Perturbed", "Reordered", "change", "perturb", "reorder"]
