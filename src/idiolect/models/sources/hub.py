"""`hf:org/name[@revision]` or `hf:org/name/file.gguf[@revision]`: models of the Hugging Face hub.

huggingface_hub does the work, with its own cache (shared with other tools), resume and offline use. `HF_ENDPOINT`,
`HF_HOME` and `HF_TOKEN` are its own variables.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.models.source import Opened

WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt", "LICENSE*"]


def open_hub(source: str, *, progress: bool = True) -> Opened:
    """Fetch a model (or find it in the hub's cache) and open it. Raises `NotFound` or `Unavailable`."""
    from idiolect.models.sources.directory import open_directory
    from idiolect.models.sources.gguf import open_gguf

    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:/([\w./-]+\.gguf))?(?:@([\w./-]+))?", source)
    if not found:
        raise BadInput(f"{source!r} is no hub model", hint="write hf:org/name, or hf:org/name@revision")
    repository, file, revision = found[1], found[2], found[3]
    folder = snapshot(repository, revision, [file] if file else WANTED, progress)
    name = repository.split("/")[1].lower()
    opened = open_gguf(folder / file) if file else open_directory(folder, name)
    commit = folder.name
    opened.notes.append(f"revision {commit}")
    return opened


def snapshot(repository: str, revision: str | None, patterns: list[str], progress: bool) -> Path:
    """The folder of a repository's files at a revision, fetched when it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if progress else disable_progress_bars)()
    endpoint = os.environ.get("HF_ENDPOINT") or None  # read now: the library reads it when it is imported
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns, endpoint=endpoint))
    except GatedRepoError:
        raise NotFound(f"{repository} wants its terms accepted", hint="accept them and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise NotFound(f"the hub has no model {repository}", hint="check the name, or set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise NotFound(f"{repository} has no revision {revision!r}", hint="give a branch, tag or commit") from None
    except LocalEntryNotFoundError:
        raise Unavailable(
            f"cannot fetch {repository}: the hub does not answer", hint="connect once; later runs work offline"
        ) from None
    except HFValidationError as error:
        raise BadInput(f"{repository!r} is no name of a model: {error}", hint="write hf:org/name") from None
    except (HfHubHTTPError, OSError) as error:
        raise Unavailable(f"the hub failed on {repository}: {str(error)[:200]}", hint="try again later") from None
