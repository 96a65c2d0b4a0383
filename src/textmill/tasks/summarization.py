"""Summarization: the target is a short version of the source."""

from textmill.tasks.kind import OF_TRANSLATIONS, TaskKind

SUMMARIZATION = TaskKind(
    name="summarization",
    metrics=("rouge_l", "rouge_1", "rouge_2", "rouge_lsum", "copied"),
    compared=("rouge_l", "rouge_1"),
    baselines=("lead_1", "lead_3", "extractive", "translation_memory"),
    filters_off=OF_TRANSLATIONS | {"max_characters", "boilerplate", "repetition"},
)
