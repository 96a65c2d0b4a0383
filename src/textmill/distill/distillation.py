"""Sequence-level knowledge distillation (Kim & Rush 2016): fold models label the sources, and a student trains on the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from sacrebleu.metrics import CHRF

from textmill.base.errors import UserError
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.distill.settings import DistillSettings
from textmill.distill.soft_labels import soft_labels
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.tasks.kind import TaskKind
from textmill.tokenizer.protection import keeps_slots
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.run import Run


class Teaching(NamedTuple):
    """How teachers teach.

    decode: their decoding settings, but for the beam size. kinds: the kind of each task, by its name in tables; it says what is taught.
    Without one, outputs are. decodes: the decoding settings of each task, by the same name; without one, `decode` applies.
    """

    distill: DistillSettings
    decode: DecodeSettings
    kinds: Mapping[str, TaskKind] = MappingProxyType({})
    decodes: Mapping[str, DecodeSettings] = MappingProxyType({})

    def taught(self, task: str) -> str:
        """Return what is taught of a task: outputs, probabilities or nothing."""
        return self.kinds[task].taught if task in self.kinds else "outputs"

    def decode_of(self, task: str) -> DecodeSettings:
        """Return how teachers decode a task: outputs that are taught are searched, not drawn."""
        return replace(self.decodes.get(task, self.decode), method="beam", beam_size=self.distill.beam_size)


def distilled_corpus(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    tokenizer: Tokenizer,
    teaching: Teaching,
    run: Run,
) -> tuple[EncodedCorpus, dict[str, float | int]]:
    """Build the training pairs of the student: original pairs, and the same sources labelled by the teachers.

    corpus: all development pairs.
    teachers: the model of fold i at index i. Folds with a higher number have no model.
    Returns the pairs, with fold and weight of the original pair, and counts. `labelled_by_all` counts the sources that are labelled by
    all teachers together.
    Raises UserError if no pair is left.

    Where outputs are taught, a labelled pair is left out in these cases:
    - The source is longer than the model reads, so only its beginning would be translated.
    - The output is unfinished or empty.
    - The chrF of the output against the original target is below distill.min_chrf.
    - The output loses or repeats a slot.
    - The output equals the original target, and the original pair is among the training pairs.
    Where label probabilities are taught, a source has one pair for each label, with its probability as a factor of the weight
    (see soft_labels.py).
    """
    distill = teaching.distill
    of_row = [teaching.taught(corpus.task_of(row)) for row in range(len(corpus))]
    by_teachers = _labelled_by(corpus, len(teachers), distill)
    hypotheses = _labelled(corpus, teachers, by_teachers, teaching, run.device)
    chosen = [
        _nearest(corpus.source(row), corpus.target(row), candidates, tokenizer, distill.min_chrf)
        for row, candidates in enumerate(hypotheses)
    ]
    soft = soft_labels(corpus, teachers, by_teachers, [row for row, what in enumerate(of_row) if what == "probabilities"], run.device)
    count = round(distill.original_share * len(corpus))
    originals = np.sort(np.random.default_rng(run.seed).permutation(len(corpus))[:count]).tolist()
    is_original = set(originals)
    distilled = [row for row, tokens in enumerate(chosen) if tokens and not (row in is_original and tokens == corpus.target(row))]
    equal = sum(tokens == corpus.target(row) for row, tokens in enumerate(chosen))
    rows = [*originals, *distilled, *(each.row for each in soft)]
    if not rows:
        raise UserError(
            f"no teacher output was kept (distill.min_chrf: {distill.min_chrf:g}), and no original pair is used."
            " Lower distill.min_chrf, train the fold models longer, or raise distill.original_share."
        )
    shares = np.array([1.0] * (len(rows) - len(soft)) + [each.probability for each in soft])
    pairs = encoded_corpus(
        [corpus.source(row) for row in rows],
        [corpus.target(row) for row in originals] + [chosen[row] for row in distilled] + [each.label for each in soft],
        corpus.folds[rows].numpy(),
        corpus.vocabulary_size,
        weights=(corpus.weight[rows].numpy() * shares).tolist(),
        tasks=[corpus.task_of(row) for row in rows],
    )
    counts: dict[str, float | int] = {
        "originals": len(originals),
        "distilled": len(distilled),
        "equal_to_reference": equal,
        "labelled_by_all": len(corpus) if distill.labelled_by == "ensemble" else _held_out_by_none(corpus, len(teachers)),
        "not_distilled": sum(not tokens and what == "outputs" for tokens, what in zip(chosen, of_row, strict=True)),
    }
    return pairs, counts | ({"soft_labels": len(soft)} if soft else {})


def student_settings(model: ModelSettings, distill: DistillSettings) -> ModelSettings:
    """Return the model settings of the student: those of the teachers, with its own depth and feed-forward width."""
    own = {name: getattr(distill, name) or getattr(model, name) for name in ("encoder_layers", "decoder_layers", "feed_forward")}
    return replace(model, **own)


def _labelled_by(corpus: EncodedCorpus, num_teachers: int, distill: DistillSettings) -> dict[tuple[int, ...], list[int]]:
    """Return the rows that each group of teachers labels: those that held a row out (one per repeat), or all of them.

    With `labelled_by: out_of_fold`, a source that no teacher held out is labelled by all teachers. That happens in a single hold-out
    and for back-translated pairs.
    """
    all_teachers = tuple(range(num_teachers))
    if distill.labelled_by == "ensemble":
        return {all_teachers: list(range(len(corpus)))}
    return _rows_of([tuple(fold for fold in row if fold in all_teachers) or all_teachers for row in corpus.folds.tolist()])


def _labelled(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    by_teachers: Mapping[tuple[int, ...], list[int]],
    teaching: Teaching,
    device: torch.device,
) -> list[list[Hypothesis]]:
    """Return the finished outputs of the teachers for every source of which outputs are taught; several teachers decode as an ensemble."""
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(corpus))]
    lengths, task_of = corpus.source_lengths().tolist(), [corpus.task_of(row) for row in range(len(corpus))]
    for folds, all_rows in by_teachers.items():
        engine = TorchEngine([teachers[fold] for fold in folds], device)
        for task in corpus.tasks:
            decode = teaching.decode_of(task)
            is_taught = teaching.taught(task) == "outputs"
            rows = [row for row in all_rows if is_taught and task_of[row] == task and lengths[row] <= decode.source_limit]
            found = engine.generate([corpus.source(row) for row in rows], decode, teaching.distill.num_hypotheses)
            for row, candidates in zip(rows, found, strict=True):
                hypotheses[row] = [candidate for candidate in candidates if candidate.is_finished(decode)]
    return hypotheses


def _held_out_by_none(corpus: EncodedCorpus, num_teachers: int) -> int:
    """Count pairs whose folds have no teacher, and pairs in no fold (back-translated pairs)."""
    return int((~((corpus.folds >= 0) & (corpus.folds < num_teachers)).any(dim=1)).sum())


def _rows_of(held_out_by: list[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, folds in enumerate(held_out_by):
        rows.setdefault(folds, []).append(row)
    return {folds: rows[folds] for folds in sorted(rows)}


def _nearest(source: list[int], reference: list[int], candidates: list[Hypothesis], tokenizer: Tokenizer, min_chrf: float) -> list[int]:
    """Return the hypothesis with the best sentence chrF against the reference (Kim & Rush 2016, section 3.3).

    Only hypotheses with the same slots as the source or the reference are considered. Returns an empty list if the best chrF is
    below `min_chrf`.
    """
    source_text, reference_text = tokenizer.decode(source), tokenizer.decode(reference)
    best: list[int] = []
    best_score = min_chrf
    for candidate in candidates:
        text = tokenizer.decode(candidate.tokens)
        score = _CHRF.sentence_score(text, [reference_text]).score
        is_better = score > best_score or (not best and score == best_score)
        if is_better and (keeps_slots(source_text, text) or keeps_slots(reference_text, text)):
            best, best_score = candidate.tokens, score
    return best


_CHRF = CHRF()
