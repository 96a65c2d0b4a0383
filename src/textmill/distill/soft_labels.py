"""Label probabilities of the teachers as training targets of the student (Hinton et al. 2015), for classification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from textmill.decode.torch_engine import TorchEngine
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel

_LEAST = 0.02  # less probable labels are left out: each costs as much time as a probable one


class SoftLabel(NamedTuple):
    """A label for a source, with the probability that the teachers give it.

    row: of the source in the corpus. label: token ids.
    """

    row: int
    label: list[int]
    probability: float


def soft_labels(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    by_teachers: Mapping[tuple[int, ...], list[int]],
    rows: Sequence[int],
    device: torch.device,
) -> list[SoftLabel]:
    """Return the labels of every row that have at least a probability of 0.02, in the order of the rows. Per row, they sum to 1.
    A row with an empty source has none.

    rows: rows of tasks whose targets are labels. by_teachers: the rows that each group of teachers labels. The labels of a task are its
    targets in the corpus. A pair that is seen p times per epoch has on average p times the gradient, so the weights of the pairs of one
    source give the gradient of the cross entropy against the probabilities.
    """
    if not rows:
        return []
    of_task: dict[str, list[list[int]]] = {}
    for task in corpus.tasks:
        of_task[task] = [list(label) for label in sorted({tuple(corpus.target(row)) for row in rows if corpus.task_of(row) == task})]
    wanted, found = {row: source for row in rows if (source := corpus.source(row))}, {}
    for folds, all_rows in by_teachers.items():
        own = [row for row in all_rows if row in wanted]
        engine = TorchEngine([teachers[fold] for fold in folds], device)
        pairs = [(row, label) for row in own for label in of_task[corpus.task_of(row)]]
        scores = engine.score([wanted[row] for row, _ in pairs], [label for _, label in pairs])
        place = 0
        for row in own:
            labels = of_task[corpus.task_of(row)]
            found[row] = _probable(row, labels, [math.fsum(score) for score in scores[place : place + len(labels)]])
            place += len(labels)
    return [each for row in wanted for each in found[row]]


def _probable(row: int, labels: Sequence[list[int]], scores: Sequence[float]) -> list[SoftLabel]:
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = math.fsum(powers)
    kept = [(label, power) for label, power in zip(labels, powers, strict=True) if power >= _LEAST * total]
    rest = math.fsum(power for _, power in kept)
    return [SoftLabel(row, label, power / rest) for label, power in kept]
