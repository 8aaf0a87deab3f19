"""lm-evaluation-harness's IFEval checkers, made to run without nltk's downloads.

The reference counts sentences with nltk's English punkt model, which nltk fetches over the network. `punkt` is a folder
that holds `tokenizers/punkt_tab/english` (PyPI's llama-index-core carries one under `_static/nltk_cache`); without it
nltk's own splitter without any trained abbreviations stands in, and the result says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any


def reference(punkt: str | None) -> tuple[Callable[[str, str, Mapping[str, Any], str], tuple[bool, bool]], str]:
    """`check(name, response, arguments, prompt) -> (strict, loose)`, and what splits sentences, in words."""
    import langdetect
    import nltk

    langdetect.DetectorFactory.seed = 0
    if punkt:
        nltk.data.path.insert(0, punkt)
        from nltk.tokenize import PunktTokenizer

        splitter: Any = PunktTokenizer("english")
        words = nltk.word_tokenize
    else:
        from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

        splitter = PunktSentenceTokenizer()
        find, nltk.data.find = nltk.data.find, lambda *_a, **_k: None  # keeps the import from downloading

        def words(text: str) -> list[str]:
            return [w for s in splitter.tokenize(text) for w in NLTKWordTokenizer().tokenize(s)]

    from lm_eval.tasks.ifeval import instructions_util, utils

    if not punkt:
        nltk.data.find = find
    instructions_util._get_sentence_tokenizer = lambda: splitter
    instructions_util.nltk.word_tokenize = words

    def check(name: str, response: str, arguments: Mapping[str, Any], prompt: str) -> tuple[bool, bool]:
        random.seed(0)
        example = utils.InputExample(0, [name], prompt, [dict(arguments)])
        strict = utils.test_instruction_following_strict(example, response)
        loose = utils.test_instruction_following_loose(example, response)
        return bool(strict.follow_all_instructions), bool(loose.follow_all_instructions)

    return check, "nltk's trained English punkt" if punkt else "nltk's untrained punkt (no model at hand)"
