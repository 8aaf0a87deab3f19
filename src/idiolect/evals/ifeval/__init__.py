"""IFEval: did the response do what the prompt said, checked by programs instead of a judge."""

from idiolect.evals.ifeval import case, combination, content, edges, form, keywords, language, length
from idiolect.evals.ifeval.instruction import INSTRUCTIONS, Instruction, follows
from idiolect.evals.ifeval.verdict import Verdict, verdict, versions

# Importing a family registers its instructions.
FAMILIES = (case, combination, content, edges, form, keywords, language, length)

__all__ = ["FAMILIES", "INSTRUCTIONS", "Instruction", "Verdict", "follows", "verdict", "versions"]
