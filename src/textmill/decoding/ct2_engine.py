"""The engine of the exported model: CTranslate2, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import ctranslate2

from textmill.decoding.search import Hypothesis
from textmill.errors import UserError
from textmill.settings.inference import DecodeSettings


class CTranslate2Engine:
    """A model folder that `textmill.export` wrote; see Engine."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        """num_threads: for one batch. Raises UserError if the folder does not hold a model."""
        try:
            self._pieces: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
            self._translator = ctranslate2.Translator(str(folder), device="cpu", intra_threads=num_threads, inter_threads=1)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"{folder}: not an exported model ({reason}). Run `dvc repro export` or `dvc checkout`.") from None
        self._ids = {piece: index for index, piece in enumerate(self._pieces)}

    def translate(self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1) -> list[list[Hypothesis]]:
        """See Engine. Every option is given: CTranslate2's own defaults forbid an end at the first step and cut inputs."""
        results = self._translator.translate_batch(
            [self._named(source[: decode.max_tokens]) for source in sources],
            max_batch_size=decode.batch_size,
            beam_size=decode.beam_size,
            num_hypotheses=num_hypotheses,
            length_penalty=decode.length_penalty,
            max_decoding_length=decode.max_tokens,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
        )
        return [
            [
                Hypothesis([self._ids[piece] for piece in pieces], score)
                for pieces, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine."""
        results = self._translator.score_batch(
            [self._named(source) for source in sources], [self._named(target) for target in targets], max_batch_size=64, max_input_length=0
        )
        return [list(result.log_probs) for result in results]

    def _named(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[index] for index in ids]
