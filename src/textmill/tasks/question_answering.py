"""Question answering: the source has a question, usually with a context; the target is the answer."""

from textmill.tasks.kind import OF_TRANSLATIONS, TaskKind

QUESTION_ANSWERING = TaskKind(
    name="question_answering",
    metrics=("f1", "exact"),
    compared=("f1", "exact"),
    baselines=("best_sentence", "translation_memory", "majority"),
    filters_off=OF_TRANSLATIONS | {"max_characters", "punctuation_only", "boilerplate", "repetition"},
    near_duplicates=False,  # a long context drowns the question: other questions on it would be near-duplicates
)
