"""What the tests share: the two embedded models, fetched once into the user's cache, and a home of one's own."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A gate must say the same of the same commit; on a developer's machine every run tries new cases. Nowhere does a test
# fail because the machine was busy.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


COMPILERS = re.compile(r"(.*-)?(c\+\+|g\+\+|clang\+\+)(-[\d.]+)?|zig")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-compiler", action="store_true", help="run as on a machine that has no C++ compiler and built no kernels"
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # from a shell's background; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--no-compiler"):
        bare = tempfile.TemporaryDirectory(prefix="no-compiler-")
        config.add_cleanup(bare.cleanup)
        hide_compilers(Path(bare.name))


def hide_compilers(folder: Path) -> None:
    """This process, and those that it starts, find every program but the compilers; a cache with the weights alone."""
    programs, modules, cache = folder / "bin", folder / "modules", folder / "home" / "cache"
    for place in (programs, modules, cache):
        place.mkdir(parents=True)
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in sorted(place.iterdir()) if place.is_dir() else ():
            if not COMPILERS.fullmatch(program.name) and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    (modules / "sitecustomize.py").write_text("import sys\n\nsys.modules['ziglang'] = None\n")
    sys.modules["ziglang"] = None  # type: ignore[assignment]
    from idiolect.core import files

    packages = files.cache_dir() / "packages"
    packages.mkdir(exist_ok=True)
    (cache / "packages").symlink_to(packages, target_is_directory=True)
    os.environ.pop("CXX", None)
    os.environ["PATH"] = str(programs)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(modules), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["IDIOLECT_HOME"] = str(folder / "home")


@pytest.fixture(scope="session")
def smol() -> Any:
    """The embedded language model in float32. Shared: leave its weights and settings as they are."""
    from idiolect import models

    return models.load(models.EMBEDDED_LM, dtype="float32", progress=False)


@pytest.fixture(scope="session")
def minilm() -> Any:
    """The embedded encoder in float32. Shared: leave its weights and settings as they are."""
    from idiolect import models

    return models.load(models.EMBEDDED_ENCODER, dtype="float32", progress=False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for this test alone, in which the embedded weights are already fetched. Returns its cache."""
    from idiolect import models
    from idiolect.core import files

    for source in (models.EMBEDDED_LM, models.EMBEDDED_ENCODER):
        models.inspect(source, progress=False)
    packages = files.cache_dir() / "packages"
    made = [files.cache_dir() / name for name in ("kernels", "packed")]
    home = tmp_path / "home"
    monkeypatch.setenv("IDIOLECT_HOME", str(home))
    own = files.cache_dir()
    (own / "packages").symlink_to(packages, target_is_directory=True)
    for folder in made:  # compiled and packed once for all tests
        folder.mkdir(exist_ok=True)
        (own / folder.name).symlink_to(folder, target_is_directory=True)
    return own
