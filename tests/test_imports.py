"""Importing Idiolect opens no socket, reads no environment variable, prints nothing; and no prompt hides in code.

The import runs in a fresh process with sockets blocked and `os.environ` trapped. Other people's packages may read
their own variables; a read counts when a frame of ours asked for it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "idiolect"
FILES = sorted(SRC.rglob("*.py"))
MODULES = [
    ".".join(("idiolect", *file.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__") for file in FILES
]

TRAP = """
import importlib, os, socket, sys

ROOT = sys.argv[1]

def blocked(*args, **kwargs):
    raise AssertionError("a socket was opened at import")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = blocked

real = type(os.environ)
for name in ("__getitem__", "get", "__contains__", "__iter__", "items", "keys", "copy"):
    def wrapper(self, *args, _real=getattr(real, name), _name=name, **kwargs):
        caller = sys._getframe(1)
        while caller and caller.f_code.co_filename.endswith(("os.py", "abc.py", "os>", "abc>")):
            caller = caller.f_back
        if caller and caller.f_code.co_filename.startswith(ROOT):
            raise AssertionError(f"{caller.f_code.co_filename}:{caller.f_lineno} reads the environment at import")
        return _real(self, *args, **kwargs)
    setattr(real, name, wrapper)

for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def test_importing_everything_is_silent_and_offline() -> None:
    modules = [name for name in MODULES if not name.endswith("__main__")]
    if importlib.util.find_spec("triton") is None:  # the GPU's kernels are imported only where there is a GPU
        light = ("idiolect.cuda.available", "idiolect.cuda.ceiling", "idiolect.engine.cuda_runner")
        modules = [m for m in modules if m in light or not m.startswith(("idiolect.cuda.", "idiolect.engine.cuda_"))]
    done = subprocess.run([sys.executable, "-c", TRAP, str(SRC), *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
    assert done.stderr == ""


def test_the_trap_catches_a_read(tmp_path: Path) -> None:
    (tmp_path / "guilty.py").write_text("import os\nHOME = os.getenv('HOME')\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + TRAP, str(tmp_path), "guilty"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "guilty.py:2 reads the environment at import" in done.stderr


@pytest.mark.parametrize("module", ["idiolect", "idiolect.cli", "idiolect.core.store", "idiolect.models"])
def test_light_modules_stay_light(module: str) -> None:
    """What `--help` needs must not pull in what only a model needs."""
    heavy = ["torch", "transformers", "numpy", "fastapi", "huggingface_hub", "pydantic"]
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_transformers_is_never_imported() -> None:
    rivals = {"transformers", "sentence_transformers", "llama_cpp", "bm25s", "openai"}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in found} & rivals, f"{file} imports a rival"


PROMPT = re.compile(
    r"\byou are (?:an?|the|given)\b|\byou (?:must|should|will be given|have access)\b|\banswer the (?:question|user)"
    r"|\b(?:respond|reply|answer) (?:only|with|in)\b.*\b(?:json|the (?:context|passages?|sources?))"
    r"|\bstep by step\b|\bhelpful assistant\b"
    r"|\b(?:using|based) (?:only )?(?:on )?the (?:following|context|passages?) below"
    r"|\bsummari[sz]e the (?:following|text|conversation)|\brewrite the (?:question|query|following)",
    re.IGNORECASE,
)


def prompt_like(source: str) -> list[str]:
    """Strings of a module that read like words to a model; docstrings are words to people."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for line in body if isinstance(body, list) else []:
            if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
                docstrings.add(id(line.value))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and PROMPT.search(node.value)
    ]


def test_no_prompt_in_code() -> None:
    found = {str(file.relative_to(SRC)): text for file in FILES if (text := prompt_like(file.read_text()))}
    assert not found, "move these words to src/idiolect/prompts"


@pytest.mark.parametrize(
    "words",
    [
        "You are a careful assistant.",
        "Answer the question from the passages.",
        "Think step by step",
        "Reply only in JSON",
    ],
)
def test_the_heuristic_sees_prompts(words: str) -> None:
    assert prompt_like(f"x = {words!r}") == [words]
    assert prompt_like(f"x = f'{words} {{y}}'")
    assert prompt_like(f'def f():\n    """{words}"""') == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SRC)))
def test_files_stay_small(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= 400, f"{lines} lines: split it"
    assert file.name != "utils.py", "name it after what it does"


LAZY = ["idiolect.data", "idiolect.evals.systems", "idiolect.models", "idiolect.train", "idiolect.weights"]


@pytest.mark.parametrize("package", LAZY)
def test_names_imported_on_first_use_are_the_documented_ones(package: str) -> None:
    """A module that is called like a name would take its place as soon as somebody imports it."""
    module = importlib.import_module(package)
    where = module._WHERE
    assert set(module.__all__) == set(where) | {name for name in module.__all__ if name.isupper() and name not in where}
    for name, part in where.items():
        assert getattr(module, name) is vars(importlib.import_module(f"{package}.{part}"))[name]
        assert importlib.util.find_spec(f"{package}.{name}") is None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'laod'"):
        _ = module.laod


def test_every_lazy_package_is_checked() -> None:
    found = {
        f"idiolect.{'.'.join(f.parent.relative_to(SRC).parts)}" for f in FILES if "\ndef __getattr__(" in f.read_text()
    }
    assert found == set(LAZY)
