"""A report as Markdown."""

from __future__ import annotations

from idiolect.evals.report.notes import verdict
from idiolect.evals.report.terminal import costs
from idiolect.evals.report.view import Report, number


def markdown(report: Report) -> str:
    """Tables that a repository or an issue shows."""
    out = [f"- {one}" for one in report.made if one.known]
    out += [""] if out else []
    out += ["| task | metric | n | " + " | ".join(_cell(s) for s in report.systems) + " |"]
    out.append("|---|---|---:|" + "---:|" * len(report.systems))
    for section in report.sections:
        for line in section.lines:
            figures = " | ".join(number(figure, line.metric) for figure in line.figures)
            out.append(f"| {_cell(section.task)} | {line.metric.name} | {section.items} | {figures} |")
    if report.comparison is not None:
        out += ["", f"Difference from {report.systems[0]} on the same items:", ""]
        out += [
            "| task | metric | system | difference | wins/losses | p (Holm) | |",
            "|---|---|---|---:|---:|---:|---|",
        ]
        for one, p in zip(report.comparison.headlines, report.comparison.p, strict=True):
            cells = (
                _cell(one.task),
                one.metric.name,
                _cell(one.system),
                number(one.estimate, one.metric, sign=True),
                f"{one.wins}/{one.losses}",
                "" if p is None else f"{p:.3g}",
                verdict(one, p),
            )
            out.append("| " + " | ".join(cells) + " |")
    out += ["", *(f"- {line}" for line in (*costs(report), *map(str, report.repeats), *report.notes))]
    return "\n".join(out) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
