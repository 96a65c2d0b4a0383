"""Sequence-level knowledge distillation (Kim & Rush 2016): fold models write targets, a student learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from sacrebleu.metrics import CHRF

from textmill.base.errors import UserError
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.distill.settings import DistillSettings
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.tokenizer.protection import keeps_slots
from textmill.tokenizer.tokenizer import Tokenizer


def distilled_corpus(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    tokenizer: Tokenizer,
    distill: DistillSettings,
    decode: DecodeSettings,
    seed: int,
    device: torch.device,
) -> tuple[EncodedCorpus, dict[str, float | int]]:
    """The pairs that the student learns: the originals, and the same sources with the teachers' outputs.

    corpus: all development pairs. teachers: the model of fold i at place i; folds beyond have none.
    A taught pair is left out if its source is longer than is decoded (only its beginning would be translated), if its output is
    unfinished or empty, is further from the original target than `min_chrf`, loses or repeats a
    slot, or equals the original target, which is there already.
    Raises UserError if no pair is left.
    Returns the pairs (folds and weight of the original kept) and counts; `labelled_by_all` are the sources that no teacher had left out.
    """
    hypotheses = _labelled(corpus, teachers, distill, replace(decode, beam_size=distill.beam_size), device)
    chosen = [
        _nearest(corpus.source(row), corpus.target(row), candidates, tokenizer, distill.min_chrf)
        for row, candidates in enumerate(hypotheses)
    ]
    count = round(distill.original_share * len(corpus))
    originals = np.sort(np.random.default_rng(seed).permutation(len(corpus))[:count]).tolist()
    is_original = set(originals)
    distilled = [row for row, tokens in enumerate(chosen) if tokens and not (row in is_original and tokens == corpus.target(row))]
    equal = sum(tokens == corpus.target(row) for row, tokens in enumerate(chosen))
    rows = [*originals, *distilled]
    if not rows:
        raise UserError(
            f"no output of the teachers was kept (distill.min_chrf: {distill.min_chrf:g}), and there are no originals."
            " Lower distill.min_chrf, train the folds longer, or raise distill.original_share."
        )
    pairs = encoded_corpus(
        [corpus.source(row) for row in rows],
        [corpus.target(row) for row in originals] + [chosen[row] for row in distilled],
        corpus.folds[rows].numpy(),
        corpus.vocabulary_size,
        weights=corpus.weight[rows].tolist(),
        tasks=corpus.tasks,
    )
    return pairs, {
        "originals": len(originals),
        "distilled": len(distilled),
        "equal_to_reference": equal,
        "labelled_by_all": len(corpus) if distill.labelled_by == "ensemble" else _held_out_by_none(corpus, len(teachers)),
        "not_distilled": sum(not tokens for tokens in chosen),
    }


def student_settings(model: ModelSettings, distill: DistillSettings) -> ModelSettings:
    """The student's shape: the teachers', with its own depth and feed-forward width."""
    own = {name: getattr(distill, name) or getattr(model, name) for name in ("encoder_layers", "decoder_layers", "feed_forward")}
    return replace(model, **own)


def _labelled(
    corpus: EncodedCorpus, teachers: Sequence[Seq2SeqModel], distill: DistillSettings, decode: DecodeSettings, device: torch.device
) -> list[list[Hypothesis]]:
    """Every source's hypotheses, by the teachers that never saw it (one a repeat, decoding together), or by all together.

    A source that no teacher had left out, as in a single hold-out or of a back-translated pair, is taught by all: the classical way,
    in sample.
    """
    everyone = tuple(range(len(teachers)))
    outside = [tuple(fold for fold in row if fold in everyone) or everyone for row in corpus.folds.tolist()]
    labelled_by = {everyone: list(range(len(corpus)))} if distill.labelled_by == "ensemble" else _rows_of(outside)
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(corpus))]
    is_whole = (corpus.source_lengths() <= decode.max_tokens).tolist()
    for folds, all_rows in labelled_by.items():
        rows = [row for row in all_rows if is_whole[row]]
        engine = TorchEngine([teachers[fold] for fold in folds], device)
        found = engine.translate([corpus.source(row) for row in rows], decode, distill.num_hypotheses)
        for row, candidates in zip(rows, found, strict=True):
            hypotheses[row] = [candidate for candidate in candidates if candidate.is_finished(decode)]
    return hypotheses


def _held_out_by_none(corpus: EncodedCorpus, num_teachers: int) -> int:
    """Pairs of folds without a teacher, or of no fold at all (back-translated ones)."""
    return int((~((corpus.folds >= 0) & (corpus.folds < num_teachers)).any(dim=1)).sum())


def _rows_of(outside: list[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, folds in enumerate(outside):
        rows.setdefault(folds, []).append(row)
    return {folds: rows[folds] for folds in sorted(rows)}


def _nearest(source: list[int], reference: list[int], candidates: list[Hypothesis], tokenizer: Tokenizer, min_chrf: float) -> list[int]:
    """Of the hypotheses that hold the slots of source or reference, the one with the best sentence chrF against the reference
    (Kim & Rush 2016, section 3.3); none if it is below `min_chrf`."""
    asked, wanted = tokenizer.decode(source), tokenizer.decode(reference)
    best: list[int] = []
    best_score = min_chrf
    for candidate in candidates:
        text = tokenizer.decode(candidate.tokens)
        score = _CHRF.sentence_score(text, [wanted]).score
        if (score > best_score or (not best and score == best_score)) and (keeps_slots(asked, text) or keeps_slots(wanted, text)):
            best, best_score = candidate.tokens, score
    return best


_CHRF = CHRF()
