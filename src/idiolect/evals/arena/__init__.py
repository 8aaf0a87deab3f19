"""People choose between two answers without knowing whose they are; the choices make a ranking."""

from idiolect.evals.arena.choices import CHOICE, Choice, choices, judged, standings
from idiolect.evals.arena.pairs import PAIR, Pair, draw, pair

__all__ = ["CHOICE", "PAIR", "Choice", "Pair", "choices", "draw", "judged", "pair", "standings"]
