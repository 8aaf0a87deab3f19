"""Reports of runs: for the terminal, as one page, as Markdown and as JSON, all from one `Report`."""

from idiolect.evals.report.page import write
from idiolect.evals.report.view import Line, Report, Section, build

__all__ = ["Line", "Report", "Section", "build", "write"]
