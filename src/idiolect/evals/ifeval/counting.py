"""How many words, sentences and capitalised words a text has, in the sense of IFEval."""

from __future__ import annotations

import re

from idiolect.text.sentences import sentences as spans

_WORD = re.compile(r"\w+")
# Signs that end a token of the Penn Treebank's tokenisation wherever they stand, and clitics that begin one.
_SPLIT = re.compile(r"""--|\.{2,}|[][(){}<>;@#$%&?!"“”«»`]|[,:](?!\d)""")
_CLITIC = re.compile(r"(?<=[^\W\d_])(?:'(?:s|m|d|ll|re|ve)|n't)(?![\w'])", re.IGNORECASE)


def words(text: str) -> int:
    """Runs of letters, digits and underscores: "don't" has two."""
    return len(_WORD.findall(text))


def sentences(text: str) -> int:
    return len(spans(text))


def capital_words(text: str) -> int:
    """Tokens whose letters are all capitals: "NASA-LED" is one, "IT'S" two (the Treebank cuts clitics off)."""
    tokens = _CLITIC.sub(lambda clitic: " " + clitic.group(), _SPLIT.sub(" ", text)).split()
    return sum(token.isupper() for token in tokens)
