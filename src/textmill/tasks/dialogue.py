"""Dialogue: the source is the latest turns of a conversation, the target is the reply."""

from textmill.tasks.kind import OF_TRANSLATIONS, TaskKind

DIALOGUE = TaskKind(
    name="dialogue",
    metrics=("chrf", "bleu", "distinct_2", "training_replies", "character_perplexity"),
    compared=("chrf", "bleu"),
    baselines=("translation_memory", "majority"),
    repairs_off=frozenset({"full_width"}),
    filters_off=OF_TRANSLATIONS | {"max_characters", "punctuation_only", "boilerplate", "repetition", "scripts", "language_confidence"},
    cut="start",  # the newest turn is at the end
)
