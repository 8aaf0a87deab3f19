"""Small rules that a plan or a reader of results needs."""

from __future__ import annotations

import math

OVERHEAD = 1.2  # of inference beside the weights


def inference(parameters: float, width: float) -> float:
    """N x M x 1.2 bytes, M bytes a parameter: the rule of thumb for serving."""
    return parameters * width * OVERHEAD


def inference_bits(parameters: float, bits: float) -> float:
    """P x (Q / 8) x 1.2: the same with Q bits a parameter."""
    return inference(parameters, bits / 8)


def gradients_and_states(parameters: float, width: float, states: int = 2) -> float:
    """Bytes of a gradient and `states` optimiser values (Adam: two) for each trained parameter."""
    return parameters * (1 + states) * width


def perplexity(entropy_bits: float) -> float:
    """2^H of a cross-entropy in bits."""
    return 2.0**entropy_bits


def bits_per_character(bits_per_token: float, characters_per_token: float) -> float:
    return bits_per_token / characters_per_token


def bits_per_byte(bits_per_character: float, bits_of_a_character: float = 8) -> float:
    """BPC over the bytes of a character (7-bit ASCII: 7/8 of one)."""
    return bits_per_character / (bits_of_a_character / 8)


SAMPLES = ((0.30, 10), (0.10, 100), (0.03, 1_000), (0.01, 10_000))  # a difference of two scores -> items


def evaluation_samples(difference: float) -> int:
    """Samples to tell two scores apart that differ by `difference` (0.30 -> 10, 0.10 -> 100, 0.03 -> 1,000,
    0.01 -> 10,000): each three times smaller gap needs ten times as many. Between and beyond the four, on straight
    lines in logarithms."""
    if not 0 < difference <= 1:
        raise ValueError(f"a difference of scores lies in (0, 1], not {difference}")
    at = next((i for i in (1, 2, 3) if difference >= SAMPLES[i][0]), 3)
    (wide, few), (narrow, many) = SAMPLES[at - 1], SAMPLES[at]
    steps = math.log(wide / difference) / math.log(wide / narrow)
    return max(2, round(few * (many / few) ** steps))


def compound(accuracy: float, steps: int) -> float:
    """p^n: all of n steps right, each with probability p on its own."""
    return accuracy**steps
