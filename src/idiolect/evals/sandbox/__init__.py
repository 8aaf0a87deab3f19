"""Programs that a model wrote, run where they can do no harm, and graded by their tests."""

from idiolect.evals.sandbox.jail import Jail, sandbox
from idiolect.evals.sandbox.outcome import Limits, Outcome

__all__ = ["Jail", "Limits", "Outcome", "sandbox"]
