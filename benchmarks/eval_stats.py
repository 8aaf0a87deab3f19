"""Do the error bars hold what they promise, and do rankings find the truth?

Simulated tasks whose true mean is known: right-or-wrong items at several accuracies, skewed continuous scores, and
paired differences of two systems that share the items' difficulty, from 50 to 500 items. For each, the share of 95 %
intervals (those that a report prints: Wilson's, a bootstrap, Bonett and Price's) that hold the truth, beside
scipy.stats.bootstrap (BCa) on the very same samples. Coverage is itself a measured share, so it stands with its own
interval.

The accuracies are drawn anew for every task, within 3 points: at one fixed accuracy the coverage of any interval of a
proportion jumps up and down with n, because k of n right has few values (Brown, Cai and DasGupta 2001). At exactly 0.9
and 50 items BCa covers 98.6 % and Wilson's interval 97.0 %; around it 96.1 % and 95.3 %.

Then matches between players of known strength: Bradley-Terry beside choix's on the same matches, as root mean square
errors of the strengths, and the share of our bootstrap intervals that hold the true strength.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.harness import Result
from idiolect.evals.rank import Match, Table, bradley_terry
from idiolect.evals.stats import Estimate, figure, wilson
from idiolect.evals.stats import paired as compared

SUMMARY = (
    "Coverage of the intervals that reports print beside scipy's, and Bradley-Terry beside choix, on simulated tasks."
)
SIZES = (50, 100, 200, 500)
LOW, HIGH = 0.93, 0.97
AROUND = 0.03
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, float]]  # (values [n], or two systems' [2, n]; the mean)


def binary(accuracy: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
        p = rng.uniform(accuracy - AROUND, accuracy + AROUND)
        return (rng.random(n) < p).astype(float), p

    return draw


def skewed(rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
    """Gamma with shape 2: a mean of 1, a skewness of 1.4."""
    return rng.gamma(2.0, 0.5, n), 1.0


def paired(rng: np.random.Generator, n: int) -> tuple[np.ndarray, float]:
    """Two systems, right on some 70 % and 55 % of items whose difficulty both share: an item of
    difficulty u is answered when 0.6 u + 0.4 v < cut, whose chance is (cut - 0.2) / 0.6 for cuts from 0.4 to 0.6."""
    hard = rng.random(n)
    cuts = rng.uniform(0.57, 0.6), rng.uniform(0.5, 0.56)
    a, b = (0.6 * hard + 0.4 * rng.random(n) < cut for cut in cuts)
    return np.stack([a, b]).astype(float), (cuts[0] - cuts[1]) / 0.6


TASKS: dict[str, Draw] = {
    **{f"binary, accuracy {p:g}": binary(p) for p in (0.5, 0.7, 0.9)},
    "continuous, skewed": skewed,
    "paired difference": paired,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=int, default=1000, help="simulated tasks of each kind and size")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap samples of each")


def scipys(values: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (values,), np.mean, n_resamples=draws, method="BCa", rng=np.random.default_rng(seed), vectorized=True
        )
    return found.confidence_interval.low, found.confidence_interval.high


def coverage(draw: Draw, n: int, tasks: int, draws: int) -> tuple[Estimate, Estimate, float, float]:
    """Ours and scipy's coverage, and seconds of each for an interval."""
    held = [0, 0]
    seconds = [0.0, 0.0]
    for seed in range(tasks):
        values, truth = draw(np.random.default_rng((n, seed)), n)
        begin = time.perf_counter()
        if values.ndim == 2:
            ours = compared(*values, draws=draws, seed=seed).estimate
            values = values[0] - values[1]
        else:
            ours = figure(values, draws=draws, seed=seed)
        middle = time.perf_counter()
        low, high = scipys(values, draws, seed)
        seconds[0] += middle - begin
        seconds[1] += time.perf_counter() - middle
        held[0] += ours.low <= truth <= ours.high
        held[1] += bool(low <= truth <= high)
    return wilson(held[0], tasks), wilson(held[1], tasks), seconds[0] / tasks, seconds[1] / tasks


def ranking(rounds: int, matches: int = 600, players: int = 6) -> tuple[float, float, Estimate]:
    """Root mean square error of the strengths, ours and choix's, and the coverage of our intervals."""
    import choix

    ours, theirs, held, total = [], [], 0, 0
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        true = rng.normal(0, 1, players)
        true -= true.mean()
        pairs = [tuple(rng.choice(players, 2, replace=False).tolist()) for _ in range(matches)]
        won = [(i, j) if rng.random() < 1 / (1 + np.exp(true[j] - true[i])) else (j, i) for i, j in pairs]
        names = [str(i) for i in range(players)]
        found = bradley_terry(Table([Match(str(i), str(j), 1.0) for i, j in won], names), prior=0.01, draws=200)
        other = choix.ilsr_pairwise(players, won, alpha=1e-4)
        ours.append(float(((found.strengths - true) ** 2).mean()))
        theirs.append(float(((other - other.mean() - true) ** 2).mean()))
        for row in found.rows:
            rating = 1000 + 400 / np.log(10) * true[int(row.name)]
            held += row.low <= rating <= row.high
            total += 1
    return float(np.sqrt(np.mean(ours))), float(np.sqrt(np.mean(theirs))), wilson(held, total)


def run(args: argparse.Namespace) -> Result:
    print(f"{args.tasks} simulated tasks a row, {args.draws} draws; share of 95 % intervals that hold the truth")
    print(f"{'task':26} {'n':>4}  {'ours [95 %]':24} {'scipy BCa [95 %]':24}   ms ours / scipy")
    shares, rivals, fast = [], [], []
    for name, draw in TASKS.items():
        for n in SIZES:
            one, two, mine, other = coverage(draw, n, args.tasks, args.draws)
            shares.append(one.value)
            rivals.append(two.value)
            fast.append(other / mine)
            cells = [f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in (one, two)]
            print(f"{name:26} {n:4}  {cells[0]:24} {cells[1]:24}   {mine * 1e3:.1f} / {other * 1e3:.1f}", flush=True)
    mine, theirs, held = ranking(max(4, args.tasks // 20))
    print(f"Bradley-Terry, 6 players, 600 matches: rms error {mine:.4f}, choix {theirs:.4f}; {held} of intervals hold")
    within = sum(LOW <= s <= HIGH for s in shares)
    return Result(
        "eval_stats",
        float(np.mean(shares)),
        float(np.mean(rivals)),
        float(np.median(fast)),
        "mean coverage of 95 % intervals; ratio: scipy's seconds over ours",
        len(shares) * args.tasks,
        "every row between 0.93 and 0.97; Bradley-Terry's error not above choix's by more than 5 %",
        within == len(shares) and mine <= 1.05 * theirs,
        [f"{within} of {len(shares)} rows within", f"rms error {mine:.4f}, choix {theirs:.4f}"],
    )
