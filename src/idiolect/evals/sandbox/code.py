"""From a model's answer to a program: the code of an answer, and HumanEval's and MBPP's tests around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


def block(answer: str) -> str:
    """The first code block of an answer; all of it when there is none. A block that does not end (the answer was cut)
    counts too."""
    found = _BLOCK.search(answer)
    return found.group(1) if found else answer


def humaneval(row: Mapping[str, Any], answer: str, chat: bool) -> str:
    """The problem's function and its `check`. A chat answers with the whole function: what comes before it in the
    problem (imports, helpers) stays in front, since answers rarely repeat it."""
    name = row["entry_point"]
    if chat and re.search(rf"^\s*def {re.escape(name)}\b", code := block(answer), re.MULTILINE):
        head = row["prompt"].split(f"def {name}")[0]
        body = f"{head}\n{code}"
    else:
        body = row["prompt"] + (block(answer) if chat else answer)
    return f"{body}\n\n{row['test']}\n\ncheck({name})\n"


def mbpp(row: Mapping[str, Any], answer: str, chat: bool) -> str:
    """The answer's program, then the problem's assertions."""
    code = block(answer) if chat else answer.split("[DONE]", maxsplit=1)[0].split("[END]", maxsplit=1)[0]
    tests = "\n".join(row["test_list"])
    return f"{code}\n\n{row.get('test_setup_code', '')}\n\n{tests}\n"
