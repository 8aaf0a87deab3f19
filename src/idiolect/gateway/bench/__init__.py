"""An open-loop load generator for any server that speaks OpenAI's protocol, and what it found."""

from idiolect.gateway.bench.drive import drive
from idiolect.gateway.bench.plan import Asked, Plan, arrivals, read_prompts
from idiolect.gateway.bench.report import Report, Slo, report
from idiolect.gateway.bench.target import Answer, Target

__all__ = ["Answer", "Asked", "Plan", "Report", "Slo", "Target", "arrivals", "drive", "read_prompts", "report"]
