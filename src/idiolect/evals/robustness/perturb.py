"""Small changes of a prompt that should change no answer: slips of the keyboard, spaces, case, other words around it.

Each is a function of a text and a random generator (Zhu et al. 2023, "PromptRobust", arXiv:2306.04528). `perturb` seeds
the generator with the text itself, so a text is changed in the same way wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from idiolect.core import prompts
from idiolect.core.registry import Registry
from idiolect.core.rng import Streams

Perturbation = Callable[[str, np.random.Generator], str]
PERTURBATIONS: Registry[Perturbation] = Registry("perturbation")

RATE = 0.05  # share of the letters that a slip falls on
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {c: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _ROWS for i, c in enumerate(row)}


def perturb(name: str, text: str, seed: int = 0) -> str:
    """The text under the perturbation `name`; `NotFound` names the nearest."""
    return PERTURBATIONS.get(name)(text, Streams(seed).numpy("perturb", name, text))


@PERTURBATIONS.register("typos")
def typos(text: str, rng: np.random.Generator) -> str:
    """About one letter in twenty, and one at least, is doubled, left out, swapped with the next or hit beside."""
    places = [i for i, c in enumerate(text) if c.isalpha()]
    if not places:
        return text
    chosen = set(rng.choice(places, max(1, round(RATE * len(places))), replace=False).tolist())
    out: list[str] = []
    i = 0
    while i < len(text):
        c = text[i]
        if i not in chosen:
            out.append(c)
        else:
            kind = int(rng.integers(4))
            if kind == 0:
                out.append(c + c)
            elif kind == 1 and i + 1 < len(text) and text[i + 1].isalpha() and text[i + 1] != c:
                out.append(text[i + 1] + c)
                i += 1
            elif kind == 2 and (near := _NEAR.get(c.lower())):
                hit = near[int(rng.integers(len(near)))]
                out.append(hit.upper() if c.isupper() else hit)
        i += 1
    return "".join(out)


@PERTURBATIONS.register("spaces")
def spaces(text: str, rng: np.random.Generator) -> str:
    """Some spaces are doubled, and one is put behind the last word."""
    out = re.sub(r"(?<=\S) (?=\S)", lambda _: "  " if rng.random() < 0.2 else " ", text)
    return out + " "


@PERTURBATIONS.register("lower")
def lower(text: str, rng: np.random.Generator) -> str:
    """No capitals."""
    return text.lower()


@PERTURBATIONS.register("upper")
def upper(text: str, rng: np.random.Generator) -> str:
    """Capitals alone."""
    return text.upper()


@PERTURBATIONS.register("punctuation")
def punctuation(text: str, rng: np.random.Generator) -> str:
    """The marks at the end are left out."""
    return text.rstrip(" \n.?!:;")


@PERTURBATIONS.register("paraphrase")
def paraphrase(text: str, rng: np.random.Generator) -> str:
    """One of the frames under prompts/robustness is put around the text."""
    frames = [name for name in prompts.names() if name.startswith("robustness/")]
    return prompts.load(frames[int(rng.integers(len(frames)))]).text(text=text)
