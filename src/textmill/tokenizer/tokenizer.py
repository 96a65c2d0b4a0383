"""One SentencePiece model for source and target (Kudo & Richardson 2018)."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from textmill.base.errors import UserError
from textmill.base.files import require_ordinary, write_bytes
from textmill.base.native import inside
from textmill.tokenizer.protection import SLOTS, Protected, protect, protect_pairs
from textmill.tokenizer.settings import TokenizerSettings
from textmill.tokenizer.special import BEGIN, END, PAD, UNKNOWN
from textmill.tokenizer.tasks import with_tasks

_LARGEST_VOCABULARY = 32_000
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_POSSIBLE = re.compile(r"value <= (\d+)")  # in SentencePiece's message that a vocabulary is too large
# SentencePiece writes a space as U+2581, so a U+2581 in a text would be decoded as a space. It is replaced by U+FDD0, a Unicode
# noncharacter. A U+FDD0 or U+FDD1 in the text is escaped with U+FDD1.
_STAND_INS = {"\u2581": "\ufdd0", "\ufdd0": "\ufdd1\ufdd0", "\ufdd1": "\ufdd1\ufdd1"}
_TO_STAND_INS = str.maketrans(_STAND_INS)
_FROM_STAND_INS = {stand_in: character for character, stand_in in _STAND_INS.items()}
UNFINISHED_ESCAPE = "\ufdd1"  # at the end of a text that is decoded token by token, it may be half of an escape
_ANY_STAND_IN = re.compile("\ufdd1[\ufdd0\ufdd1]|\ufdd0")


class Tokenizer:
    """Converts text to token ids and back. No text is unknown, because characters without a piece are encoded as bytes."""

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(model)
        self.model = model
        self.pieces: list[str] = [self._processor.IdToPiece(index) for index in range(self._processor.GetPieceSize())]
        self._bytes = {
            index: bytes([int(self.pieces[index][3:5], 16)]) for index in range(len(self.pieces)) if self._processor.IsByte(index)
        }
        self.has_slots = SLOTS[0] in self.pieces

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[bytes]]:
        """Pickle the model bytes, because the SentencePiece object cannot be sent to worker processes."""
        return Tokenizer, (self.model,)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Load a SentencePiece model.

        Raises UserError if the file is missing, is not a regular file, or is not a SentencePiece model.
        """
        require_ordinary(path)
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
        except (RuntimeError, ValueError):  # ValueError: a piece or an error message is not UTF-8
            raise UserError(f"{path}: not a SentencePiece model. Remove it and run `dvc checkout`.") from None

    def save(self, path: Path) -> None:
        """Write the model to `path` atomically."""
        write_bytes(path, self.model)

    def encode(self, text: str) -> list[int]:
        """Return token ids without begin and end. Names of special pieces in the text are ordinary text."""
        with inside:
            ids: list[int] = self._processor.EncodeAsIds(text.translate(_TO_STAND_INS))
        return ids

    def candidates(self, text: str, count: int) -> list[tuple[list[int], float]]:
        """Return the `count` most likely segmentations of a text and their natural-log probabilities, best first.

        Empty if this is not a unigram model.
        """
        try:
            with inside:
                segmentations = self._processor.NBestEncodeAsIds(text.translate(_TO_STAND_INS), count)
        except RuntimeError:
            return []
        return [(segmentation, sum(map(self._processor.GetScore, segmentation))) for segmentation in segmentations]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode several texts."""
        return [self.encode(text) for text in texts]

    def protect(self, source: str) -> Protected:
        """Replace the spans of a source by slots, if this tokenizer has slots."""
        return protect(source) if self.has_slots else Protected(source, ())

    def task_tokens(self, task: str) -> int:
        """Return the number of tokens that the name of a task takes at the start of a source."""
        return len(self.encode_batch(with_tasks([""], [task]))[0]) if task else 0

    def encode_pairs(self, sources: Sequence[str], targets: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Encode sources and targets; if this tokenizer has slots, they replace the spans of each source on both sides."""
        if self.has_slots:
            sources, targets = protect_pairs(sources, targets)
        return self.encode_batch(sources), self.encode_batch(targets)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids. Special ids are ignored, and so are bytes that are not UTF-8.

        The text of the first tokens is a prefix of the text of all, up to one UNFINISHED_ESCAPE.
        """
        shown = [index for index in ids if index > END]
        if any(index in self._bytes for index in shown):
            shown = self._without_broken_bytes(shown)
        with inside:
            text: str = self._processor.DecodeIds(shown)
        return _ANY_STAND_IN.sub(lambda stand_in: _FROM_STAND_INS[stand_in[0]], text)

    def _without_broken_bytes(self, ids: Sequence[int]) -> list[int]:
        """Remove bytes that are no part of a character in UTF-8: a model can write any sequence of bytes."""
        kept: list[int] = []
        start = 0
        while start < len(ids):
            sizes = (size for size in range(1, _LONGEST_CHARACTER + 1) if self._is_character(ids[start : start + size]))
            size = next(sizes, 0) if ids[start] in self._bytes else 1
            kept += ids[start : start + size]
            start += size or 1
        return kept

    def _is_character(self, ids: Sequence[int]) -> bool:
        """True if these bytes are one character in UTF-8."""
        if not all(index in self._bytes for index in ids):
            return False
        try:
            return len(b"".join(self._bytes[index] for index in ids).decode("utf-8")) == 1
        except UnicodeDecodeError:
            return False


def fit_tokenizer(sources: Sequence[str], targets: Sequence[str], settings: TokenizerSettings) -> Tokenizer:
    """Train a tokenizer on pairs: all sources, then all targets.

    Text is not normalized and spaces are kept, so that decoding returns the original text. The model depends only on the texts,
    their order and the settings. Texts are passed through an iterator, because SentencePiece stores file names in the model.
    Raises UserError if all texts are empty, or if the vocabulary size does not suit the texts.
    """
    if not any(text.strip("\r\n") for text in (*sources, *targets)):
        raise UserError("all texts are empty, so no tokenizer can be fitted. Check the columns in params.yaml, collect.sources.")
    if settings.protect_spans:
        sources, targets = protect_pairs(sources, targets)
    texts = (*sources, *targets)
    size = automatic_vocabulary_size(texts) if settings.vocabulary_size == "auto" else settings.vocabulary_size
    while True:
        try:
            return Tokenizer(_trained(texts, size, settings))
        except RuntimeError as error:
            possible = _POSSIBLE.search(str(error))  # in a small corpus with few different words
            if settings.vocabulary_size != "auto" or possible is None or int(possible[1]) >= size:
                raise UserError(_vocabulary_message(str(error), size)) from None
            size = int(possible[1])


def automatic_vocabulary_size(texts: Sequence[str]) -> int:
    """Return four times the square root of the number of characters: 3,100 for 600,000, 8,000 for 4 million.

    It is at least the number of different characters and 500, and at most 32,000.
    """
    num_characters, different = sum(map(len, texts)), len(set().union(*texts))
    return min(max(round(4 * math.sqrt(num_characters)), different + 500), _LARGEST_VOCABULARY)


def _trained(texts: Sequence[str], size: int, settings: TokenizerSettings) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(text.translate(_TO_STAND_INS) for text in texts),
        model_writer=written,
        model_type=settings.model_type,
        vocab_size=size,
        character_coverage=settings.character_coverage,
        num_threads=settings.num_threads,
        byte_fallback=True,
        user_defined_symbols=list(SLOTS) if settings.protect_spans else [],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=1 << 20,
        pad_id=PAD,
        unk_id=UNKNOWN,
        bos_id=BEGIN,
        eos_id=END,
        minloglevel=2,
    )
    return written.getvalue()


def _vocabulary_message(error: str, wanted: int) -> str:
    possible = _POSSIBLE.search(error)
    if possible:
        return f"params.yaml: tokenizer.vocabulary_size is {wanted}, but this corpus allows at most {possible[1]}. Lower it, or set it to auto."
    required = re.search(r"required_chars|smaller than required", error)
    if required:
        return (
            f"params.yaml: tokenizer.vocabulary_size is {wanted}, too small for the characters of this corpus."
            " Raise it, or lower tokenizer.character_coverage."
        )
    reason = error.strip().split("\n")[-1]
    return f"params.yaml: tokenizer: SentencePiece could not be trained on this corpus ({reason})."
