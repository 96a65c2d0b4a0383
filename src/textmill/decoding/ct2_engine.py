"""The engine of the exported model: CTranslate2, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2

from textmill.decoding.search import Hypothesis, has_positions
from textmill.errors import UserError
from textmill.settings.inference import DecodeSettings
from textmill.tokens.special import BEGIN, END

_SCORE_BATCH = 64


class CTranslate2Engine:
    """A model folder that `textmill.export` wrote, of whichever architecture; see Engine."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        """num_threads: for one batch. Raises UserError if the folder does not hold a model."""
        try:
            self._pieces: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._architecture, self._max_positions = config.get("architecture", ""), config.get("max_positions", 0)
            threads: dict[str, Any] = {"device": "cpu", "intra_threads": num_threads, "inter_threads": 1}
            kind = _Generator if self._architecture == "decoder_only" else _Translator
            self._model: _Translator | _Generator = kind(folder, threads)
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:  # the last two: JSON of another shape
            reason = str(error).split("\n")[0]
            raise UserError(f"{folder}: not an exported model ({reason}). Run `dvc repro export` or `dvc checkout`.") from None
        self._ids = {piece: index for index, piece in enumerate(self._pieces)}

    def translate(self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1) -> list[list[Hypothesis]]:
        """See Engine."""
        found = [[Hypothesis([], 0.0)] for _ in sources]
        rows = [row for row, source in enumerate(sources) if source]
        named = [self._named(sources[row][: decode.max_tokens]) for row in rows]
        for row, hypotheses in zip(rows, self._model.search(named, self._pieces, decode, num_hypotheses), strict=True):
            found[row] = [Hypothesis([self._ids[piece] for piece in output], score) for output, score in hypotheses]
        return found

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine."""
        return self._model.score([self._named(source) for source in sources], [self._named(target) for target in targets], self._pieces)

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """See Engine."""
        return has_positions(self._architecture, self._max_positions, source, target)

    def _named(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[index] for index in ids]


class _Translator:
    """An encoder-decoder model: pieces in, pieces out."""

    def __init__(self, folder: Path, threads: dict[str, Any]) -> None:
        self._translator = ctranslate2.Translator(str(folder), **threads)

    def search(
        self, sources: list[list[str]], pieces: list[str], decode: DecodeSettings, num_hypotheses: int
    ) -> list[list[tuple[list[str], float]]]:
        """Outputs with their scores. Every option is given: CTranslate2's own defaults forbid an end at the first step and cut inputs."""
        results = self._translator.translate_batch(
            sources,
            max_batch_size=decode.batch_size,
            beam_size=decode.beam_size,
            num_hypotheses=num_hypotheses,
            length_penalty=decode.length_penalty,
            max_decoding_length=decode.max_tokens,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
        )
        return [list(zip(result.hypotheses, result.scores, strict=True)) for result in results]

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        results = self._translator.score_batch(sources, targets, max_batch_size=_SCORE_BATCH, max_input_length=0)
        return [list(result.log_probs) for result in results]


class _Generator:
    """A decoder-only model: the prompt is the source and BEGIN."""

    def __init__(self, folder: Path, threads: dict[str, Any]) -> None:
        # CTranslate2 wants another name for the vocabulary here; packages of all architectures have the same files.
        names = {"model.bin": "model.bin", "config.json": "config.json", "vocabulary.json": "shared_vocabulary.json"}
        files = {name: (folder / stored).read_bytes() for name, stored in names.items()}
        self._generator = ctranslate2.Generator(str(folder), files=files, **threads)

    def search(
        self, sources: list[list[str]], pieces: list[str], decode: DecodeSettings, num_hypotheses: int
    ) -> list[list[tuple[list[str], float]]]:
        """Outputs with their scores."""
        results = self._generator.generate_batch(
            [[*source, pieces[BEGIN]] for source in sources],
            # With prompts of unequal length in a batch, 4.8 forbids the end on all but the first beam at the first free step.
            max_batch_size=decode.batch_size if decode.beam_size == 1 else 1,
            beam_size=decode.beam_size,
            num_hypotheses=num_hypotheses,
            length_penalty=decode.length_penalty,
            max_length=decode.max_tokens,
            min_length=0,
            include_prompt_in_result=False,
            return_scores=True,
        )
        return [list(zip(result.sequences, result.scores, strict=True)) for result in results]

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        texts = [[*source, pieces[BEGIN], *target, pieces[END]] for source, target in zip(sources, targets, strict=True)]
        results = self._generator.score_batch(texts, max_batch_size=_SCORE_BATCH, max_input_length=0)
        return [list(result.log_probs)[-len(target) - 1 :] for result, target in zip(results, targets, strict=True)]
