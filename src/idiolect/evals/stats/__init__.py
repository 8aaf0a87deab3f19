"""How sure one may be of a figure: intervals, paired differences, sample sizes, agreement, many comparisons."""

from idiolect.evals.stats.agreement import Agreement, kappa
from idiolect.evals.stats.bootstrap import bootstrap, resample
from idiolect.evals.stats.correlation import spearman
from idiolect.evals.stats.estimate import Estimate
from idiolect.evals.stats.figure import figure
from idiolect.evals.stats.mcnemar import mcnemar
from idiolect.evals.stats.multiple import Adjusted, holm
from idiolect.evals.stats.paired import Difference, paired
from idiolect.evals.stats.power import Advice, advise, resolves
from idiolect.evals.stats.wilson import wilson

__all__ = [
    "Adjusted",
    "Advice",
    "Agreement",
    "Difference",
    "Estimate",
    "advise",
    "bootstrap",
    "figure",
    "holm",
    "kappa",
    "mcnemar",
    "paired",
    "resample",
    "resolves",
    "spearman",
    "wilson",
]
