"""The exported model for users: text in, text out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textmill.decoding.ct2_engine import CTranslate2Engine
from textmill.decoding.translate import translate
from textmill.errors import UserError
from textmill.files import read_json, sha256_of
from textmill.settings.inference import DecodeSettings
from textmill.settings.schema import build
from textmill.tokens.tokenizer import Tokenizer


class Translator:
    """A model folder with its tokenizer and search settings."""

    def __init__(self, engine: CTranslate2Engine, tokenizer: Tokenizer, decode: DecodeSettings) -> None:
        self.engine, self.tokenizer, self.decode = engine, tokenizer, decode

    @classmethod
    def load(cls, folder: Path | str, num_threads: int = 1) -> Translator:
        """Load an exported folder. Raises UserError if a file is missing or differs from what manifest.json says."""
        folder = Path(folder)
        for name, sha256 in read_json(folder / "manifest.json")["files"].items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: no such file. Run `dvc repro export` or `dvc checkout`.")
            if sha256_of(path) != sha256:
                raise UserError(f"{path}: differs from manifest.json: it is damaged or was changed. Remove it and run `dvc checkout`.")
        decode = build(DecodeSettings, read_json(folder / "generation.json"), "generation")
        return cls(CTranslate2Engine(folder, num_threads=num_threads), Tokenizer.load(folder / "tokenizer.model"), decode)

    def translate(self, texts: Sequence[str], beam_size: int | None = None) -> list[str]:
        """The best output of every text, in order. beam_size: another than the exported one."""
        decode = self.decode if beam_size is None else replace(self.decode, beam_size=beam_size)
        return translate(texts, self.tokenizer, self.engine, decode)
