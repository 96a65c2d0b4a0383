"""Store encoded pairs in one flat, memory-mapped file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.tensors import read_tensors, write_tensors

NO_FOLD = -1  # for a pair that all models are trained on and none is validated on


@dataclass(frozen=True)
class EncodedCorpus:
    """N pairs as token ids, without begin and end.

    source_tokens, target_tokens: (all tokens,) int32, the concatenated texts.
    source_offsets, target_offsets: (N + 1,) int64; text i is tokens[offsets[i]:offsets[i + 1]].
    folds: (N, R) int64, the fold of the pair in each of R repeats, or NO_FOLD in all of them.
    weight: (N,) float64, how often a pair is seen per epoch.
    task: (N,) int64, the index of the task of the pair in `tasks`.
    vocabulary_size: of the tokenizer.
    tasks: names of the tasks, sorted. The empty name stands for pairs without a task.
    """

    source_tokens: Tensor
    source_offsets: Tensor
    target_tokens: Tensor
    target_offsets: Tensor
    folds: Tensor
    weight: Tensor
    task: Tensor
    vocabulary_size: int
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.folds)

    def __reduce__(self) -> tuple[Callable[..., EncodedCorpus], tuple[Any, ...]]:
        """Pickle NumPy arrays: torch would move the tensors to shared memory, and existing NumPy views would lose their memory."""
        return _of_arrays, ({name: getattr(self, name).numpy() for name in _TENSORS}, self.vocabulary_size, self.tasks)

    def source(self, index: int) -> list[int]:
        """Return the token ids of source `index`."""
        ids: list[int] = self.source_tokens[self.source_offsets[index] : self.source_offsets[index + 1]].tolist()
        return ids

    def target(self, index: int) -> list[int]:
        """Return the token ids of target `index`."""
        ids: list[int] = self.target_tokens[self.target_offsets[index] : self.target_offsets[index + 1]].tolist()
        return ids

    def task_of(self, index: int) -> str:
        """Return the name of the task of pair `index`."""
        return self.tasks[int(self.task[index])]

    def source_lengths(self) -> Tensor:
        """Return the number of tokens of every source, (N,) int64."""
        return self.source_offsets.diff()

    def target_lengths(self) -> Tensor:
        """Return the number of tokens of every target, (N,) int64."""
        return self.target_offsets.diff()

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths of sources and targets as NumPy arrays, (N,) int64 each."""
        return self.source_lengths().numpy(), self.target_lengths().numpy()

    def held_out(self, fold: int) -> Tensor:
        """Return which pairs the model of `fold` is not trained on, (N,) bool."""
        return (self.folds == fold).any(dim=1)

    def save(self, path: Path) -> None:
        """Write all tensors to one file."""
        write_tensors(
            path, {name: getattr(self, name) for name in _TENSORS}, {"vocabulary_size": self.vocabulary_size, "tasks": self.tasks}
        )

    @classmethod
    def load(cls, path: Path) -> EncodedCorpus:
        """Load what `save` wrote.

        Raises UserError if the file is missing or damaged.
        """
        tensors, metadata = read_tensors(path)
        return cls(**tensors, vocabulary_size=metadata["vocabulary_size"], tasks=metadata["tasks"])


_TENSORS = ("source_tokens", "source_offsets", "target_tokens", "target_offsets", "folds", "weight", "task")


def _of_arrays(arrays: Mapping[str, np.ndarray], vocabulary_size: int, tasks: list[str]) -> EncodedCorpus:
    return EncodedCorpus(**{name: torch.from_numpy(array) for name, array in arrays.items()}, vocabulary_size=vocabulary_size, tasks=tasks)


def encoded_corpus(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    folds: np.ndarray,
    vocabulary_size: int,
    weights: Sequence[float] | None = None,
    tasks: Sequence[str] | None = None,
) -> EncodedCorpus:
    """Pack N pairs of token ids.

    folds: (N, R) int. weights: N numbers, or None for 1 each. tasks: N names of tasks, or None for no names.
    """
    source_tokens, source_offsets = packed(sources)
    target_tokens, target_offsets = packed(targets)
    packed_folds = torch.from_numpy(folds.astype(np.int64))  # (N, R)
    weight = torch.ones(len(folds), dtype=torch.float64) if weights is None else torch.tensor(list(weights), dtype=torch.float64)
    names = sorted(set(tasks or [""]))
    task = torch.tensor([names.index(name) for name in tasks or [""] * len(folds)], dtype=torch.int64)
    return EncodedCorpus(source_tokens, source_offsets, target_tokens, target_offsets, packed_folds, weight, task, vocabulary_size, names)


def packed(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return the concatenated token ids of N texts, int32, and their offsets, (N + 1,) int64."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.fromiter((token for text in texts for token in text), dtype=np.int32, count=int(offsets[-1]))
    return torch.from_numpy(tokens), torch.from_numpy(offsets)
