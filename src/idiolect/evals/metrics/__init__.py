"""Metrics, one file each: what an answer, a ranking, a distribution or a load is worth. `MEASURES` lists them."""

from idiolect.evals.metrics.bleu import bleu, bleu_interval
from idiolect.evals.metrics.calibration import Bin, brier_score, calibration_error, reliability
from idiolect.evals.metrics.choice import (
    choice_accuracy,
    choice_accuracy_bytes,
    choice_accuracy_length,
    margin,
    pick,
    probabilities,
)
from idiolect.evals.metrics.chrf import chrf, sentence_chrf
from idiolect.evals.metrics.classification import accuracy, confusion, macro_f1
from idiolect.evals.metrics.edit import edit_distance, edit_similarity, word_error_rate
from idiolect.evals.metrics.entropy import cross_entropy, entropy, kl_divergence
from idiolect.evals.metrics.exact import exact_match, normalise
from idiolect.evals.metrics.f1 import token_f1
from idiolect.evals.metrics.latency import Distribution, Slo, goodput, latency, percentile, throughput
from idiolect.evals.metrics.likelihood import (
    Likelihood,
    bits_per_byte,
    bits_per_character,
    bits_per_token,
    logprob_per_word,
    perplexity,
)
from idiolect.evals.metrics.pass_at_k import pass_at_k
from idiolect.evals.metrics.registry import MEASURES, Measure
from idiolect.evals.metrics.retrieval import (
    average_precision,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
)
from idiolect.evals.metrics.rouge import Rouge, rouge_l, rouge_n
from idiolect.evals.metrics.safety import false_refusal_rate, violation_rate
from idiolect.evals.metrics.similarity import Encoder, embedding_similarity

__all__ = [
    "MEASURES",
    "Bin",
    "Distribution",
    "Encoder",
    "Likelihood",
    "Measure",
    "Rouge",
    "Slo",
    "accuracy",
    "average_precision",
    "bits_per_byte",
    "bits_per_character",
    "bits_per_token",
    "bleu",
    "bleu_interval",
    "brier_score",
    "calibration_error",
    "choice_accuracy",
    "choice_accuracy_bytes",
    "choice_accuracy_length",
    "chrf",
    "confusion",
    "cross_entropy",
    "edit_distance",
    "edit_similarity",
    "embedding_similarity",
    "entropy",
    "exact_match",
    "false_refusal_rate",
    "goodput",
    "kl_divergence",
    "latency",
    "logprob_per_word",
    "macro_f1",
    "margin",
    "ndcg_at_k",
    "normalise",
    "pass_at_k",
    "percentile",
    "perplexity",
    "pick",
    "precision_at_k",
    "probabilities",
    "recall_at_k",
    "reciprocal_rank",
    "reliability",
    "rouge_l",
    "rouge_n",
    "sentence_chrf",
    "throughput",
    "token_f1",
    "violation_rate",
    "word_error_rate",
]
