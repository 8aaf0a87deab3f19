"""`idiolect store`: the record of everything that happened, and the proof that nothing of it was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from idiolect.commands import show
from idiolect.commands.settings import Json
from idiolect.core.errors import NotFound

EXAMPLES = """
  idiolect store verify                    is everything still there, unchanged?
  idiolect store events --kind feedback    what people said"""
app = App(
    name="store",
    help="Look into the record of everything that happened.",
    help_epilogue="Examples:" + EXAMPLES,
    help_format="plaintext",
)


def default_path() -> Path:
    """Where `idiolect up` keeps its store unless told otherwise."""
    from idiolect.core.files import state_dir

    return state_dir() / "store.sqlite"


def _path(store: Path | None) -> Path:
    path = store or default_path()
    if not path.is_file():
        raise NotFound(f"there is no store {path}", hint="`idiolect up` makes one; name another with --store")
    return path


@app.command
def verify(*, store: Path | None = None, json: Json = False) -> int:
    """Recompute every hash of the store. Exit code 1 and the first bad row when something was lost or changed.

    Parameters
    ----------
    store
        The store's file (default: the one that `idiolect up` writes).
    """
    from idiolect.core.verify import verify as check

    path = _path(store)
    report = check(path)
    if json:
        show.emit({"path": path, "report": report})
    elif report.ok:
        print(f"{path}: {report.events} events, {report.nodes} messages, {report.blobs} blobs; every hash is right")
        print(f"head {report.head or '(empty)'}")
    else:
        show.say(f"idiolect: {path}: {report.problem}")
    return 0 if report.ok else 1


@app.command
def events(
    *,
    store: Path | None = None,
    trace: str | None = None,
    kind: str | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1))] = 20,
) -> None:
    """Print the newest events as JSON lines, newest first: what was asked, prompted, retrieved and answered.

    Parameters
    ----------
    store
        The store's file (default: the one that `idiolect up` writes).
    trace
        Only the events of this request.
    kind
        Only events of this kind (started, prompted, retrieved, finished, feedback, ...).
    limit
        How many.
    """
    from idiolect.core.canonical import canonical
    from idiolect.core.store import Store

    with Store.open(_path(store)) as opened:
        for event in opened.events(kind=kind, trace=trace, limit=limit, newest_first=True):
            print(canonical(event))
