"""Text generation: the source is a prompt; the target is a text that goes on from it."""

from textmill.tasks.kind import OF_TRANSLATIONS, TaskKind

GENERATION = TaskKind(
    name="generation",
    metrics=("bits_per_byte", "nats_per_token", "distinct_1", "distinct_2", "repetition", "verbatim"),
    compared=(),
    baselines=("translation_memory",),
    repairs_off=frozenset({"whitespace", "full_width"}),  # line ends and spacing are part of verse and prose
    filters_off=OF_TRANSLATIONS | {"max_characters", "punctuation_only", "repetition", "boilerplate", "scripts", "language_confidence"},
    content=("target",),
    method="sampling",
    taught="nothing",
)
