"""Ours beside lm-evaluation-harness's checkers on the cases of test_checks and their wrapped versions."""

from __future__ import annotations

import pytest

from tests.evals.ifeval.test_checks import CASES

pytest.importorskip("lm_eval", reason="lm-eval is in the rivals extra")
pytestmark = [pytest.mark.parity, pytest.mark.slow]


def test_verdicts_equal_the_reference() -> None:
    import random

    from benchmarks.ifeval_checks import SPOILING
    from benchmarks.rivals.ifeval import reference
    from idiolect.evals.ifeval import verdict

    check, _ = reference(None)
    compared = 0
    for name, arguments, good, bad in CASES:
        if name == "length_constraints:number_sentences":  # nltk's trained model is not at hand; see the benchmark
            continue
        # The reference draws a random letter in place of "#", and takes a keyword for a regular expression.
        if arguments.get("letter") == "#" or "." in str(arguments.get("keyword", "")):
            continue
        for text in (good, bad):
            for edit in (lambda t, *_: t, *SPOILING[:8]):
                response = edit(text, arguments, random.Random(0))
                mine = verdict(response, [name], [arguments])
                theirs = check(name, response, arguments, "")
                assert (mine.all_strict, mine.all_loose) == theirs, (name, response)
                compared += 1
    assert compared > 380
