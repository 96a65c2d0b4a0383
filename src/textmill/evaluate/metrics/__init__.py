"""All metrics by name. Each maps a target language to a Metric; the metrics of one family are in one file."""

from __future__ import annotations

from collections.abc import Callable

from textmill.evaluate.metrics.classification import accuracy, brier, calibration_error, macro_f1, negative_log_likelihood
from textmill.evaluate.metrics.dialogue import character_perplexity, training_replies
from textmill.evaluate.metrics.generation import bits_per_byte, distinct_1, distinct_2, nats_per_token, repetition, verbatim
from textmill.evaluate.metrics.interface import Metric
from textmill.evaluate.metrics.question_answering import exact, f1
from textmill.evaluate.metrics.summarization import copied, rouge_1, rouge_2, rouge_l, rouge_lsum
from textmill.evaluate.metrics.translation import bleu, chrf, chrf_plus, exact_match, placeholders_kept, ter

METRICS: dict[str, Callable[[str], Metric]] = {
    "chrf": chrf,
    "bleu": bleu,
    "chrf_plus": chrf_plus,
    "ter": ter,
    "exact_match": exact_match,
    "placeholders_kept": placeholders_kept,
    "f1": f1,
    "exact": exact,
    "rouge_l": rouge_l,
    "rouge_1": rouge_1,
    "rouge_2": rouge_2,
    "rouge_lsum": rouge_lsum,
    "copied": copied,
    "bits_per_byte": bits_per_byte,
    "nats_per_token": nats_per_token,
    "distinct_1": distinct_1,
    "distinct_2": distinct_2,
    "repetition": repetition,
    "verbatim": verbatim,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "negative_log_likelihood": negative_log_likelihood,
    "brier": brier,
    "calibration_error": calibration_error,
    "training_replies": training_replies,
    "character_perplexity": character_perplexity,
}
