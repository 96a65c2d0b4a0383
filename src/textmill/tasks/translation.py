"""Translation: the target says the same as the source, in another language."""

from textmill.tasks.kind import TaskKind

TRANSLATION = TaskKind(
    name="translation",
    metrics=("chrf", "bleu", "exact_match", "placeholders_kept"),
    compared=("chrf", "bleu"),
    is_between_languages=True,
    long_sources="drop",  # the target would say more than the rest of the source
    baselines=("copy", "translation_memory", "majority"),
)
