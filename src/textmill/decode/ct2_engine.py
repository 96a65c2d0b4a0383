"""The engine of the exported model: CTranslate2, without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError
from textmill.decode.ct2_model import Generator, Model, Translator
from textmill.decode.search import Hypothesis, Seeds, has_positions, row_seed, seeds_of
from textmill.decode.settings import DecodeSettings


class CTranslate2Engine:
    """The engine for a model folder written by `textmill.export`, of any architecture; see Engine."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        """num_threads: CPU threads per batch. Raises UserError if the folder is not an exported model."""
        try:
            self._pieces: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._architecture, self._max_positions = config.get("architecture", ""), config.get("max_positions", 0)
            # The queue has no limit: CTranslate2 would wait for a full queue in C++, where Ctrl-C has no effect.
            threads: dict[str, Any] = {"device": "cpu", "intra_threads": num_threads, "inter_threads": 1, "max_queued_batches": -1}
            kind = Generator if self._architecture == "decoder_only" else Translator
            self._model: Model = kind(folder, threads)
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:  # the last two: JSON with unexpected types
            reason = str(error).split("\n")[0]
            raise UserError(f"{folder}: not an exported model ({reason}). Run `dvc repro export` or `dvc checkout`.") from None
        self._process = os.getpid()
        self._ids = {piece: index for index, piece in enumerate(self._pieces)}

    def generate(
        self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1, seed: Seeds = 0
    ) -> list[list[Hypothesis]]:
        """See Engine. Raises UserError in a process forked after the model was loaded, and for decode.min_p.

        Each sampled row is decoded alone, by one thread at a time.
        """
        self._require_possible(decode)
        seeds = seeds_of(seed, len(sources))
        found = [[Hypothesis([], 0.0)] for _ in sources]
        rows = [row for row, source in enumerate(sources) if source]
        cut = [decode.read_part(sources[row]) for row in rows]
        named = [self._named(source) for source in cut]
        if decode.method == "sampling":
            # With top_k 1 there is nothing to draw, and CTranslate2 refuses to return one output several times.
            number = 1 if decode.top_k == 1 else num_hypotheses
            outputs = [
                self._model.sample(source, self._pieces, decode, number, row_seed(seeds[row], ids))
                for row, source, ids in zip(rows, named, cut, strict=True)
            ]
            outputs = [output * (num_hypotheses // number) for output in outputs]
        else:
            outputs = self._model.search(named, self._pieces, decode, num_hypotheses)
        for row, hypotheses in zip(rows, outputs, strict=True):
            found[row] = [Hypothesis([self._ids[piece] for piece in output], score) for output, score in hypotheses]
        return found

    def stream(self, source: Sequence[int], decode: DecodeSettings, seed: int = 0) -> Iterator[int]:
        """See Engine. Raises UserError in a process forked after the model was loaded, and for decode.min_p."""
        self._require_possible(decode)
        source = decode.read_part(source)
        drawn = row_seed(seed, source) if decode.method == "sampling" and decode.top_k != 1 else None
        for piece in self._model.stream(self._named(source), self._pieces, decode, drawn):
            yield self._ids[piece]

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine. Raises UserError in a process forked after the model was loaded."""
        self._check_process()
        return self._model.score([self._named(source) for source in sources], [self._named(target) for target in targets], self._pieces)

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """See Engine."""
        return has_positions(self._architecture, self._max_positions, source, target)

    def _require_possible(self, decode: DecodeSettings) -> None:
        self._check_process()
        if decode.method == "sampling" and decode.min_p:
            raise UserError("min_p cannot be used with the exported model, because CTranslate2 does not have it. Use top_p or top_k.")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UserError(
                "the model was loaded before this process was forked, and its threads do not exist here. Load it in each process,"
                ' or start processes with "spawn".'
            )

    def _named(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[index] for index in ids]
