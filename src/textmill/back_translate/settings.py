"""Section back_translate of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from textmill.settings.schema import require
from textmill.train.settings import TrainSettings


@dataclass(frozen=True)
class MonolingualSettings:
    """Monolingual text in the target language: UTF-8, one text per line.

    path: file in the project folder, compressed or not, or a pattern with one `*`.
    task: the task that the texts could be targets of, a name in `tasks`; may be left out if there is only one. The reverse model trains on the development pairs of this task.
    """

    path: str
    task: str = ""

    def __post_init__(self) -> None:
        require(bool(self.path), "path: is empty. Name a file.")
        require(self.path.count("*") <= 1, "path: may contain only one *.")


@dataclass(frozen=True)
class BackTranslateSettings:
    """Back-translation (Sennrich et al. 2016): a reverse model translates monolingual target text into sources (docs/augmentation.md).

    sources: files with monolingual text. Without any, the stage trains nothing and adds nothing.
    max_lines: translate at most this many texts, those with the smallest content hashes; 0 translates all.
    weight: number of times per epoch that a synthetic pair is trained on, like the weight of a source in collect.
    beam_size: beam size of the reverse model. Its other decoding settings are those of `decode`.
    train: training of the reverse model, which has the shape of `model`, on the swapped development pairs of all folds, without a
        validation set, for exactly max_steps.
    """

    sources: list[MonolingualSettings] = field(default_factory=list)
    max_lines: int = 0
    weight: float = 1.0
    beam_size: int = 4
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        require(self.max_lines >= 0, "max_lines: must be 0 (all) or more.")
        require(0.01 <= self.weight <= 100, "weight: must be between 0.01 and 100.")
        require(self.beam_size >= 1, "beam_size: must be 1 or more.")
