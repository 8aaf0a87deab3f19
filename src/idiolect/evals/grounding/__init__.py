"""Does an answer stand in its sources? The RAG triad, citations, and statements checked one by one."""

from idiolect.evals.grounding.checks import Check, JudgedCheck, rule
from idiolect.evals.grounding.citations import Cited, Claim, citations
from idiolect.evals.grounding.safe import Facts, Statement, facts, split
from idiolect.evals.grounding.triad import Sourced, Triad, triad

__all__ = [
    "Check",
    "Cited",
    "Claim",
    "Facts",
    "JudgedCheck",
    "Sourced",
    "Statement",
    "Triad",
    "citations",
    "facts",
    "rule",
    "split",
    "triad",
]
