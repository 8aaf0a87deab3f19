"""`python -m benchmarks NAME [options]` runs one benchmark; `python -m benchmarks all [NAME ...]` runs all, or those,
and writes docs/benchmarks.md.

Each benchmark ends with one JSON line. `all` runs each in a process of its own, so that memory and thread settings of
one cannot touch the next.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import time
from pathlib import Path

import benchmarks

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
KEPT = Path(__file__).parent / "results"  # the last output of each
NOT_BENCHMARKS = {"harness", "__main__"}


def names() -> list[str]:
    return sorted(
        m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in NOT_BENCHMARKS and not m.ispkg
    )


def run_one(name: str, rest: list[str]) -> int:
    module = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__ or module.SUMMARY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", default="../shared/data", help="folder with the public data sets (default %(default)s)"
    )
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    result = module.run(parser.parse_args(rest))
    print(result.line(), flush=True)
    return 0


def run_all(rest: list[str]) -> int:
    """Run the benchmarks named first in `rest`, or every one; keep each output; rewrite docs/benchmarks.md from all
    outputs kept, so that one benchmark can be repeated without the others."""
    from idiolect.native.ceiling import processor  # imports torch

    chosen = []
    while rest and rest[0] in names():
        chosen.append(rest.pop(0))
    failed = []
    KEPT.mkdir(exist_ok=True)
    for name in chosen or names():
        print(f"== {name}", flush=True)
        begin = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", name, *rest], capture_output=True, text=True, check=False
        )
        print(done.stdout, flush=True)
        if done.returncode or not done.stdout.strip():
            failed.append(name)
            print(done.stderr[-2000:], file=sys.stderr, flush=True)
            continue
        when = f"{time.strftime('%Y-%m-%d')}, {processor()}, {time.time() - begin:.0f} s"
        (KEPT / f"{name}.txt").write_text(f"{done.stdout.strip()}\n{when}\n")
        write_page()
    print(f"wrote {PAGE}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def write_page() -> None:
    """docs/benchmarks.md from the outputs kept."""
    rows, sections = [], []
    for name in names():
        kept = KEPT / f"{name}.txt"
        if not kept.exists():
            continue
        *body, line, when = kept.read_text().strip().splitlines()
        rows.append(json.loads(line))
        summary = importlib.import_module(f"benchmarks.{name}").SUMMARY
        text = "\n".join(body)
        sections.append(f"## {name}\n\n{summary} ({when})\n\n```text\n{text}\n```\n")
    PAGE.write_text(page(rows, sections))


def page(rows: list[dict], sections: list[str]) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    table = ["| benchmark | ours | rival | ratio | unit | n | goal | met |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        met = {True: "yes", False: "**no**", None: ""}[r.get("met")]
        cells = [
            f"[{r['bench']}](#{r['bench']})",
            number(r["ours"]),
            number(r["rival"]),
            number(r["ratio"]),
            r["unit"],
            str(r["n"]),
            r.get("goal", ""),
            met,
        ]
        table.append("| " + " | ".join(cells) + " |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return (
        "# Benchmarks\n\nWritten by `make bench`; each row is `python -m benchmarks NAME`, which runs the rival in the "
        f"same run. Machine: {machine}; each section names its date and processor. Such machines are noisy: trust "
        "ratios before absolute figures. "
        "a/b/c is minimum, median, maximum.\n\n" + "\n".join(table) + "\n\n" + "\n".join(sections)
    )


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        for name in names():
            print(f"  {name:14} {importlib.import_module(f'benchmarks.{name}').SUMMARY}")
        return 0
    name, rest = sys.argv[1], sys.argv[2:]
    if name == "all":
        return run_all(rest)
    if name == "page":
        write_page()
        return 0
    if name not in names():
        print(f"no benchmark {name!r}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    return run_one(name, rest)


if __name__ == "__main__":
    raise SystemExit(main())
