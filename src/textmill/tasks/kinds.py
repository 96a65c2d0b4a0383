"""All kinds of task."""

from __future__ import annotations

from textmill.tasks.classification import CLASSIFICATION
from textmill.tasks.dialogue import DIALOGUE
from textmill.tasks.generation import GENERATION
from textmill.tasks.kind import TaskKind
from textmill.tasks.question_answering import QUESTION_ANSWERING
from textmill.tasks.summarization import SUMMARIZATION
from textmill.tasks.translation import TRANSLATION

KINDS: dict[str, TaskKind] = {
    kind.name: kind for kind in (TRANSLATION, QUESTION_ANSWERING, SUMMARIZATION, GENERATION, CLASSIFICATION, DIALOGUE)
}
