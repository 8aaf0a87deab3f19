"""The command line: `idiolect COMMAND`. Each command is a thin skin over the Python API, in `idiolect.commands`.

A command's module is imported when the command runs, and torch when it is needed, so that `--help` is quick. What a
user can get wrong is one line on standard error and exit code 2; Ctrl-C ends with 130 and no traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from idiolect import __version__
from idiolect.core.errors import IdiolectError

HELP = "Your own language model: a private assistant over your documents, on your machine."
EXAMPLES = {
    "": """
  idiolect up ~/papers                     chat with a folder in the browser
  idiolect ask "who pays?" --docs rent     answer in the terminal, with sources
  idiolect search rent "late payment"      only find the passages
  idiolect doctor                          is this machine ready?

`idiolect COMMAND --help` explains each one.""",
    "up": """
  idiolect up ~/papers                     then open the address that it prints
  idiolect up notes --port 8080 --open     another port; open the browser
  idiolect up notes --model ./Qwen3-4B     a larger model from a folder
  idiolect up --no-docs --model hf:org/m   the model alone, as an API""",
    "ask": """
  idiolect ask "who pays the rent?" --docs contracts
  idiolect ask "who pays?" -d contracts --json | jq .citations
  idiolect ask "write a haiku" --seed 7    without documents: the bare model""",
    "chat": """
  idiolect chat contracts
  idiolect chat --model ./Qwen3-4B""",
    "index": """
  idiolect index ~/papers                  a second run reads only what changed
  idiolect index ~/papers --json | jq .report.failed""",
    "search": """
  idiolect search ~/papers "late payment"
  idiolect search ~/papers payment -k 20 --how bm25 --json""",
    "train": """
  idiolect train                                          the recipes there are
  idiolect train gpt-shakespeare --data shakespeare.txt   a GPT from nothing
  idiolect train sft-lora --data chats.jsonl --out runs/mine
  idiolect train runs/mine --resume                       go on after a stop
  idiolect train sft-full -d x.jsonl --preset tiny --set train.optimiser.lr=1e-5
  torchrun --nproc-per-node 2 -m idiolect train sft-full --data x.jsonl""",
    "export": """
  idiolect export hf:org/model model.gguf --type q8_0     for llama.cpp
  idiolect export model.gguf ./model --type bf16          for transformers""",
    "plan": """
  idiolect plan 7b                                          what a size tells
  idiolect plan ./model --serve --context 8192 --batch 8    memory and speed
  idiolect plan ./model --tune qlora --rank 16              memory and work
  idiolect plan config.json --train --tokens 300b --machine h100""",
    "tune": """
  idiolect tune embedded chats.jsonl --out runs/mine      learn them
  idiolect tune ./Qwen3-0.6B chats.jsonl --rank 16 --targets all --quantise nf4
  idiolect tune embedded chats.jsonl --method prefix --option tokens=30
  idiolect up --no-docs --adapter mine=runs/mine/adapter   talk to it""",
    "eval": """
  idiolect eval --list                                    the tasks there are
  idiolect eval embedded --tasks demo                     figures in a minute
  idiolect eval ./model.gguf --tasks arc,mmlu --data ~/bench --limit 500
  idiolect eval embedded --tasks mine.yaml --adapter runs/mine/adapter -o report
  idiolect eval embedded --tasks harness:arc_local.yaml   a task of lm-eval's
  idiolect eval http://127.0.0.1:8017/v1 -t gsm8k -d ~/bench --price 0.15,0.60
  idiolect eval search:hybrid --tasks cranfield --data ~/ir""",
    "compare": """
  idiolect compare embedded q8=embedded,weights=q8_0 --tasks demo,sentiment
  idiolect compare base=./m tuned=./m,adapter=runs/me/adapter -t arc -d ~/bench
  idiolect compare words=search:bm25 both=search:hybrid -t cranfield -d ~/ir
  idiolect compare k3=embedded,docs=d,k=3 k8=embedded,docs=d,k=8 -t t.yaml""",
    "contamination": """
  idiolect contamination corpus/ test.jsonl               13 words of both
  idiolect contamination corpus/ test.jsonl --field question --json
  idiolect contamination corpus/ test.jsonl --model ./mine --reference embedded""",
    "doctor": """
  idiolect doctor
  idiolect doctor --json""",
}
COMMANDS = {  # name -> where it is, and its line in the list (given here, so that the list imports no command)
    "up": ("up:up", "Serve a chat page and an OpenAI-compatible API over a folder."),
    "ask": ("ask:ask", "Answer one question in the terminal, with sources."),
    "chat": ("ask:chat", "Talk in the terminal."),
    "index": ("library:index", "Read a folder now; say what was read and what failed."),
    "search": ("library:search", "Find passages without asking a model."),
    "models": ("models:app", "List, inspect and fetch models."),
    "data": ("data:app", "Look at training data before it is used."),
    "train": ("train:train", "Train a model by a recipe, from nothing or from open weights."),
    "export": ("export:export", "Write a model as a GGUF file or a Hugging Face directory, and compare."),
    "plan": ("plan:plan", "Say what a model costs in bytes, FLOPs and seconds, before it is run."),
    "tune": ("tune:tune", "Teach open weights your examples: an adapter, or the whole model."),
    "eval": ("evals:evaluate", "Ask a model the items of tasks; every figure with its interval."),
    "compare": ("evals:compare", "Ask several systems the same items: which is better, and how sure is that."),
    "contamination": ("contamination:contamination", "Say whether training data hold the items of a test set."),
    "store": ("store:app", "Verify and read the record of everything that happened."),
    "keys": ("keys:app", "Create, list and revoke API keys."),
    "bench": ("bench:app", "Measure a server under load: latencies, throughput, goodput."),
    "doctor": ("doctor:doctor", "Check this machine, and say what to do about each problem."),
}


def build(listing: bool = True) -> App:
    """The tree of commands. `listing` gives each the line for the list; without it a command's help is its own."""
    app = App(
        name="idiolect",
        help=HELP,
        help_epilogue=_examples(""),
        help_format="plaintext",
        version=__version__,
        suppress_keyboard_interrupt=False,
    )
    for order, (name, (where, line)) in enumerate(COMMANDS.items()):
        group = where.endswith(":app")  # a group of commands has its examples where it is
        options: dict[str, str] = {} if group else {"help_epilogue": _examples(name)}
        if listing:
            options["help"] = line
        app.command(f"idiolect.commands.{where}", name=name, sort_key=order, **options)
    return app


def _examples(name: str) -> str:
    return "Examples:" + EXAMPLES[name]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = build(listing=arguments[:1] in ([], ["-h"], ["--help"]))(
            arguments,
            print_error=False,
            exit_on_error=False,
            verbose=False,
            result_action="return_value",
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        return _fail(str(error) + ("" if "Did you mean" in str(error) else " See idiolect --help."))
    except IdiolectError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a path that is a folder, may not be read, has no room: what the system says of it
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error} (check the path and its permissions)")


def _fail(text: str) -> int:
    print(f"idiolect: {' '.join(text.split())}", file=sys.stderr)
    return 2
