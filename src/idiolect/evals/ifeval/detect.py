"""Which language a text is in.

langdetect (a port of Shuyo 2010, "Language Detection Library for Java") draws at random; here every text gets the same
draws. It is the detector that IFEval's scores are defined by: another one gives other figures on short answers (see
docs/evaluation.md), so a better detector would be a worse IFEval.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from idiolect.core.errors import Unavailable

_SEED = 0


@cache
def _factory() -> Any:
    try:
        from langdetect import PROFILES_DIRECTORY, DetectorFactory
    except ImportError:
        raise Unavailable("language checks need langdetect", hint="pip install 'idiolect[evals]'") from None
    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(_SEED)
    return factory


def language(text: str) -> str | None:
    """The ISO 639-1 code of the text's language ("zh-cn", "zh-tw" for Chinese); None: it has no letters to tell by."""
    factory = _factory()
    from langdetect import LangDetectException

    detector = factory.create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None
