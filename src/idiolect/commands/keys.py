"""`idiolect keys`: API keys of a server. The file keeps hashes; a running server sees a change at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from idiolect.commands import show
from idiolect.commands.settings import Json

if TYPE_CHECKING:
    from idiolect.gateway.keys import Keys

EXAMPLES = """
  idiolect keys create laptop              prints the key once
  idiolect up notes --host 0.0.0.0 --keys ~/.local/state/idiolect/keys.json"""
app = App(
    name="keys",
    help="Make and revoke the API keys of a server.",
    help_epilogue="Examples:" + EXAMPLES,
    help_format="plaintext",
)


def _keys(file: Path | None) -> Keys:
    from idiolect.core.files import state_dir
    from idiolect.gateway.keys import Keys

    return Keys(file or state_dir() / "keys.json")


@app.command
def create(name: str, /, *, file: Path | None = None) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept.

    Parameters
    ----------
    name
        Who or what will use it.
    file
        The key file to give to `idiolect up --keys` (default: one in the state folder).
    """
    keys = _keys(file)
    _, secret = keys.create(name)
    print(secret)
    show.say(f"kept in {keys.path}; serve with: idiolect up FOLDER --keys {keys.path}")


@app.command(name="list")
def list_(*, file: Path | None = None, json: Json = False) -> None:
    """List the keys: who, since when, revoked or not.

    Parameters
    ----------
    file
        The key file (default: one in the state folder).
    """
    keys = _keys(file).all()
    if json:
        show.emit(
            [{"id": k.id, "name": k.name, "hint": k.hint, "created": k.created, "revoked": k.revoked} for k in keys]
        )
        return
    rows = [
        (
            k.id,
            f"{k.hint}...",
            time.strftime("%Y-%m-%d", time.localtime(k.created)),
            "revoked" if k.revoked else "live",
            k.name,
        )
        for k in keys
    ]
    show.table(rows, ("id", "key", "created", "state", "name"))


@app.command
def revoke(key: str, /, *, file: Path | None = None) -> None:
    """Revoke a key by its id or name, at once.

    Parameters
    ----------
    key
        The id or name that `idiolect keys list` shows.
    file
        The key file (default: one in the state folder).
    """
    gone = _keys(file).revoke(key)
    print(f"revoked {gone.id} ({gone.name})")
