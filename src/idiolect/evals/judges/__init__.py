"""Models as judges: pointwise, against a reference, pairwise; every number with the validity of who gave it."""

from idiolect.evals.judges import bias
from idiolect.evals.judges.judge import Judge
from idiolect.evals.judges.judged import Judged, Validity
from idiolect.evals.judges.pairwise import Comparisons, Pair, Standing, pairwise, standing
from idiolect.evals.judges.pointwise import Answered, Rubric, Scores, pointwise
from idiolect.evals.judges.read import Verdict

__all__ = [
    "Answered",
    "Comparisons",
    "Judge",
    "Judged",
    "Pair",
    "Rubric",
    "Scores",
    "Standing",
    "Validity",
    "Verdict",
    "bias",
    "pairwise",
    "pointwise",
    "standing",
]
