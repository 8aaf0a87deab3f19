"""How likely a language model finds the question after reading a sentence: log p(question | sentence).

The model only reads; it writes nothing. Even a model too small to answer knows what a sentence could be asked for.
The words around the two are prompts/rag/likelihood.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from idiolect.core import prompts
from idiolect.core.call import TokenInfo
from idiolect.engine.sequence import Scored
from idiolect.retrieval.candidates import Candidate

if TYPE_CHECKING:
    from idiolect.text.hf import HFTokenizer

MOST_TOKENS = 160  # of a sentence with its heading; the end of a longer one is not read
_SPACE = re.compile(r"\s+")


def items(tokenizer: HFTokenizer, found: Sequence[Candidate], question: str) -> list[Scored]:
    """One item for each candidate: the prompt's ids, then the question's, which are scored."""
    prompt = prompts.load("rag/likelihood")
    asked = tokenizer.encode(" " + _SPACE.sub(" ", question).strip())[:MOST_TOKENS]
    made = []
    for one in found:
        sentence = clip(tokenizer, _SPACE.sub(" ", one.text), MOST_TOKENS)
        ids = tokenizer.encode(prompt.text(context=one.context, sentence=sentence), bos=True)
        made.append(Scored((*ids, *asked), len(ids)))
    return made


def clip(tokenizer: HFTokenizer, text: str, most: int) -> str:
    """The beginning of `text` in at most `most` tokens."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= most else tokenizer.decode(ids[:most])


def totals(scored: Sequence[Sequence[TokenInfo]]) -> list[float]:
    """The log-likelihood of each question: the sum over its tokens (natural log)."""
    return [sum(info.logprob or 0.0 for info in tokens) for tokens in scored]
