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
EXAMPLES = """Examples:
  idiolect up ~/papers                     chat with a folder in the browser
  idiolect ask "who pays?" --docs rent     answer in the terminal, with sources
  idiolect search rent "late payment"      only find the passages
  idiolect doctor                          is this machine ready?

`idiolect COMMAND --help` explains each one."""


def build() -> App:
    """The tree of commands."""
    app = App(
        name="idiolect",
        help=HELP,
        help_epilogue=EXAMPLES,
        help_format="plaintext",
        version=__version__,
        suppress_keyboard_interrupt=False,
    )
    where = "idiolect.commands"
    app.command(f"{where}.up:up", help="Serve a chat page and an OpenAI-compatible API over a folder of documents.")
    app.command(f"{where}.ask:ask", help="Answer one question in the terminal, with sources.")
    app.command(f"{where}.ask:chat", help="Talk in the terminal, over documents or with the bare model.")
    app.command(f"{where}.library:index", help="Bring a folder's index up to date and say what was found.")
    app.command(f"{where}.library:search", help="Find the passages of a folder that answer a query.")
    app.command(f"{where}.models:app", name="models", help="List, inspect and fetch models.")
    app.command(f"{where}.store:app", name="store", help="Look into the record of everything that happened.")
    app.command(f"{where}.doctor:doctor", help="Check this machine and say what to do about each problem.")
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own); returns the exit code."""
    try:
        result = build()(
            list(sys.argv[1:] if argv is None else argv),
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


def _fail(text: str) -> int:
    print(f"idiolect: {' '.join(text.split())}", file=sys.stderr)
    return 2
