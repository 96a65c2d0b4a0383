"""Section back_translate of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require
from textmill.train.settings import TrainSettings


@dataclass(frozen=True)
class MonolingualSettings:
    """Text in the target language without a source: UTF-8, one text a line.

    path: file under the project, packed or not, or a pattern with one `*`.
    task: name of the task whose targets these could be, as in collect.sources; development pairs of this task teach the reverse model.
    """

    path: str
    task: str = ""

    def __post_init__(self) -> None:
        require(bool(self.path), "path: is empty. Name a file.")
        require(self.path.count("*") <= 1, "path: may hold one * only.")


@dataclass(frozen=True)
class BackTranslateSettings:
    """Back-translation (Sennrich et al. 2016): a reverse model writes sources for monolingual target text (docs/augmentation.md).

    sources: where that text is; without any, the stage trains nothing and adds nothing.
    max_lines: at most this many texts are translated, those with the smallest content hashes; 0 is all.
    weight: how often a synthetic pair is seen in an epoch of training, as the weight of a source of collect.
    beam_size: of the search for sources; all else as in `decode`.
    train: how the reverse model, of the shape `model`, is trained on the swapped development pairs of all folds, without a
        validation set, for exactly max_steps.
    """

    sources: list[MonolingualSettings]
    max_lines: int
    weight: float
    beam_size: int
    train: TrainSettings

    def __post_init__(self) -> None:
        require(self.max_lines >= 0, "max_lines: must be 0 (all) or more.")
        require(0.01 <= self.weight <= 100, "weight: must be between 0.01 and 100.")
        require(self.beam_size >= 1, "beam_size: must be 1 or more.")
