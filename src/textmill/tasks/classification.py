"""Classification: the target is one of a few labels."""

from textmill.tasks.kind import OF_TRANSLATIONS, TaskKind

CLASSIFICATION = TaskKind(
    name="classification",
    metrics=("accuracy", "macro_f1", "negative_log_likelihood", "brier", "calibration_error"),
    compared=("accuracy", "macro_f1"),
    baselines=("linear", "translation_memory", "majority"),
    filters_off=OF_TRANSLATIONS | {"max_characters", "punctuation_only", "boilerplate", "repetition", "scripts", "language_confidence"},
    duplicates="source",
    near_duplicates=False,  # "3rd president" and "23rd president" are different questions
    content=("source",),
    target_is_label=True,
    method="labels",
    taught="probabilities",
)
