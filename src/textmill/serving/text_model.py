"""Use an exported model. Needs ctranslate2 and sentencepiece, but not torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from textmill.base.errors import UserError
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.generate import Output, encode_sources, generate_n_best
from textmill.decode.labels import label_log_probabilities
from textmill.decode.settings import DecodeSettings
from textmill.decode.streaming import Piece, stream
from textmill.serving.generation import Generation, read_generation
from textmill.serving.manifest import MODEL_FILES, require_as_listed
from textmill.serving.requests import require_texts, shown
from textmill.settings.schema import build
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer

_BLANK = Output("", 0.0, False, False)
_OPTIONS = {each.name for each in fields(DecodeSettings)} - {"device"}


class Classification(NamedTuple):
    """label: the most probable one. probability: of it. probabilities: of every label; they sum to 1."""

    label: str
    probability: float
    probabilities: dict[str, float]


class TextModel:
    """A model folder with its tokenizer and decoding settings.

    The methods that decode take `options`: keys of the section decode of params.yaml, which replace the exported values (beam_size,
    method, temperature, top_k, ...), and `seed` for the method sampling. None is the exported value.
    """

    def __init__(self, engine: CTranslate2Engine, tokenizer: Tokenizer, generation: Generation) -> None:
        self.engine, self.tokenizer, self.generation = engine, tokenizer, generation
        self.decode, self.tasks = generation.decode, generation.tasks

    @classmethod
    def load(cls, folder: Path | str, num_threads: int = 1) -> TextModel:
        """Load an exported folder. Raises UserError if a file is missing or differs from what manifest.json says, or the latter is damaged."""
        folder = Path(folder)
        require_as_listed(folder, MODEL_FILES)
        generation = read_generation(folder / "generation.json")
        return cls(CTranslate2Engine(folder, num_threads=num_threads), Tokenizer.load(folder / "tokenizer.model"), generation)

    def generate(self, texts: Iterable[str], task: str = "", **options: Any) -> list[str]:
        """Return the best output per text, in order. The output of a blank text is "".

        texts: a list of strings.
        task: one of `tasks`; can be left out if there is only one.
        options: see the class, such as beam_size, from 1 (greedy) to the size of the vocabulary.
        Raises UserError for a single string, for an item that is not a string, and for an unknown task, option or value.
        """
        return [output.text for output in self.generate_with_scores(texts, task, **options)]

    def generate_with_scores(self, texts: Iterable[str], task: str = "", **options: Any) -> list[Output]:
        """Return what `generate` returns, with scores and whether source or output was truncated; see Output."""
        return [outputs[0] for outputs in self.generate_n_best(texts, 1, task, **options)]

    def generate_n_best(self, texts: Iterable[str], number: int, task: str = "", **options: Any) -> list[list[Output]]:
        """Return up to `number` outputs per text, best first. The beam is widened to `number`. A blank text has one, which is empty."""
        checked = require_texts(texts, "texts")
        task = self._known(task)
        decode, seed = self._with_options(task, options)
        self._require_beam_size(number, "the number of outputs")
        rows = [row for row, text in enumerate(checked) if text.strip()]
        sources = with_tasks([checked[row] for row in rows], [task] * len(rows))
        labels = self.generation.labels.get(task, []) if decode.method == "labels" else []
        found = [[_BLANK] for _ in checked]
        outputs = generate_n_best(sources, self.tokenizer, self.engine, decode, labels, number, seed)
        for row, each in zip(rows, outputs, strict=True):
            found[row] = each
        return found

    def stream(self, text: str, task: str = "", stop: Sequence[str] = (), **options: Any) -> Iterator[Piece]:
        """Yield one output piece by piece, as soon as its characters are known: by greedy search, or sampled; see Piece.

        stop: strings that end the output.
        Raises UserError if the method is labels, because labels are not decoded token by token.
        """
        (checked,) = require_texts([text], "text")
        task = self._known(task)
        decode, seed = self._with_options(task, options)
        if decode.method == "labels":
            raise UserError("labels are not decoded token by token, so they cannot be streamed. Use classify, or another method.")
        source = with_tasks([checked], [task])[0] if checked.strip() else ""
        return stream(source, self.tokenizer, self.engine, decode, require_texts(stop, "stop"), seed)

    def classify(
        self, texts: Iterable[str], labels: Sequence[str] | None = None, task: str = "", temperature: float | None = None
    ) -> list[Classification]:
        """Return the most probable label of every text, and the probabilities of all.

        labels: the possible outputs. Default: those that were exported for the task.
        temperature: divides the log probabilities. Default: the one that was exported for the task, or 1.
        Raises UserError if there are no labels, or two are equal.
        """
        checked = require_texts(texts, "texts")
        task = self._known(task)
        listed = require_texts(labels, "labels") if labels is not None else self.generation.labels.get(task, [])
        if not listed:
            raise UserError("there are no labels to choose from: none were exported for this task. Pass a list of labels.")
        decode, _ = self._with_options(task, {"temperature": temperature})
        sources = with_tasks(checked, [task] * len(checked))
        found = []
        for scores in label_log_probabilities(sources, listed, self.tokenizer, self.engine, decode):
            probabilities = dict(zip(listed, map(math.exp, scores), strict=True))
            best = max(listed, key=probabilities.__getitem__)
            found.append(Classification(best, probabilities[best], probabilities))
        return found

    def score(self, sources: Iterable[str], targets: Iterable[str], task: str = "") -> list[float]:
        """Return the natural-log probability of each target given its source, end included. No source may be empty."""
        checked, wanted = require_texts(sources, "sources"), require_texts(targets, "targets")
        if len(checked) != len(wanted):
            raise UserError(f"there are {len(checked)} sources and {len(wanted)} targets. Pass one target per source.")
        task = self._known(task)
        decode, _ = self._with_options(task, {})
        encoded, outputs = self.tokenizer.encode_pairs(with_tasks(checked, [task] * len(checked)), wanted)
        for position, source in enumerate(encoded):
            if not source:
                raise UserError(f"sources[{position}] is empty, so the model defines no probability for its target.")
        return [math.fsum(scores) for scores in self.engine.score([decode.read_part(source) for source in encoded], outputs)]

    def reply(self, turns: Iterable[str], task: str = "", **options: Any) -> str:
        """Return the reply to a dialogue. turns: oldest first; see `prompt`."""
        return self.generate([self.prompt(turns, task)], task, **{"cut": "start", **options})[0]

    def prompt(self, turns: Iterable[str], task: str = "") -> str:
        """Join the turns of a dialogue to the source that `reply` reads. The oldest turns that do not fit are left out.

        The newest turn is always there. If it is too long by itself, the model reads its end.
        Raises UserError for several turns if the model was not trained on dialogue.
        """
        listed = require_texts(turns, "turns")
        separator, task = self.generation.turn_separator, self._known(task)
        limit = self._decode_of(task).source_limit
        if separator is None and len(listed) > 1:
            raise UserError("this model has no turn separator: it was not trained on dialogue. Pass one turn.")
        for first in range(len(listed) - 1):
            joined = (separator or "").join(listed[first:])
            if len(encode_sources(with_tasks([joined], [task]), self.tokenizer)[0]) <= limit:
                return joined
        return listed[-1] if listed else ""

    def _with_options(self, task: str, options: dict[str, Any]) -> tuple[DecodeSettings, int]:
        given = {name: value for name, value in options.items() if value is not None}
        seed = given.pop("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UserError(f"seed is {shown(seed)}, but must be a whole number.")
        decode = self._decode_of(task)
        for name in given:
            if name not in _OPTIONS:
                raise UserError(f"unknown option {name}. Known: {', '.join(sorted(_OPTIONS | {'seed'}))}.")
        if "beam_size" in given:
            self._require_beam_size(given["beam_size"], "beam_size")
        try:
            return build(DecodeSettings, asdict(decode) | given, "decode"), seed
        except UserError as error:
            raise UserError(str(error).removeprefix("params.yaml: decode.")) from None

    def _decode_of(self, task: str) -> DecodeSettings:
        return replace(self.generation.decode_of(task), kept_tokens=self.tokenizer.task_tokens(task))

    def _require_beam_size(self, beam_size: Any, name: str) -> None:
        largest = len(self.tokenizer.pieces)
        if isinstance(beam_size, bool) or not isinstance(beam_size, int) or not 1 <= beam_size <= largest:
            raise UserError(f"{name} is {shown(beam_size)}, but must be a whole number from 1 to {largest}, the size of the vocabulary.")

    def _known(self, task: str) -> str:
        if task in self.tasks:
            return task
        if not task and len(self.tasks) == 1:
            return self.tasks[0]
        known = ", ".join(f"'{each}'" for each in self.tasks if each) or "none: it was trained without names of tasks"
        raise UserError(f"task {shown(task)} is not known to this model. Known: {known}.")
