"""The engine of the exported model: CTranslate2, without torch."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import ctranslate2

from textmill.base.errors import UserError
from textmill.base.native import inside
from textmill.decode.search import Hypothesis, has_positions
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import BEGIN, END

_SCORE_BATCH = 64
_SHORTEST_SLEEP, _LONGEST_SLEEP = 5e-5, 0.01  # seconds between two polls of a result
_SHARE_OF_SLEEP = 0.1  # sleep time per time waited so far, so that polling adds at most this share to the latency
R = TypeVar("R", covariant=True)


class CTranslate2Engine:
    """The engine for a model folder written by `textmill.export`, of any architecture; see Engine."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        """num_threads: CPU threads per batch. Raises UserError if the folder is not an exported model."""
        try:
            self._pieces: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._architecture, self._max_positions = config.get("architecture", ""), config.get("max_positions", 0)
            # The queue has no limit: CTranslate2 would wait for a full queue in C++, where Ctrl-C has no effect. See _translated.
            threads: dict[str, Any] = {"device": "cpu", "intra_threads": num_threads, "inter_threads": 1, "max_queued_batches": -1}
            kind = _Generator if self._architecture == "decoder_only" else _Translator
            with inside:
                self._model: _Translator | _Generator = kind(folder, threads)
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:  # the last two: JSON with unexpected types
            reason = str(error).split("\n")[0]
            raise UserError(f"{folder}: not an exported model ({reason}). Run `dvc repro export` or `dvc checkout`.") from None
        self._process = os.getpid()
        _ENGINES.add(self)
        self._ids = {piece: index for index, piece in enumerate(self._pieces)}

    def generate(self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1) -> list[list[Hypothesis]]:
        """See Engine. Raises UserError in a process forked after the model was loaded."""
        self._check_process()
        found = [[Hypothesis([], 0.0)] for _ in sources]
        rows = [row for row, source in enumerate(sources) if source]
        named = [self._named(sources[row][: decode.max_tokens]) for row in rows]
        for row, hypotheses in zip(rows, self._model.search(named, self._pieces, decode, num_hypotheses), strict=True):
            found[row] = [Hypothesis([self._ids[piece] for piece in output], score) for output, score in hypotheses]
        return found

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine. Raises UserError in a process forked after the model was loaded."""
        self._check_process()
        return self._model.score([self._named(source) for source in sources], [self._named(target) for target in targets], self._pieces)

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """See Engine."""
        return has_positions(self._architecture, self._max_positions, source, target)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UserError(
                "the model was loaded before this process was forked, and its threads do not exist here. Load it in each process,"
                ' or start processes with "spawn".'
            )

    def _named(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[index] for index in ids]


_ENGINES: WeakSet[CTranslate2Engine] = WeakSet()


def _leave_to_parent() -> None:
    """Keep models alive in a forked child: their threads do not exist there, and freeing a model would wait for them forever."""
    for engine in _ENGINES:
        _never_free(engine._model.loaded)
    _ENGINES.clear()


def _abandon() -> None:
    """At interpreter exit, do not wait for running translations: never free their models, and end the process with `_exit`."""
    inside.close()
    busy = [engine._model.loaded for engine in _ENGINES if engine._model.loaded.num_active_batches]
    libc = ctypes.CDLL(None)
    if busy and hasattr(libc, "on_exit"):  # glibc calls the handler registered last first, with the exit code
        libc.on_exit(libc._exit, None)
        for model in busy:
            _never_free(model)


def _never_free(model: Any) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(model))


os.register_at_fork(after_in_child=_leave_to_parent)
atexit.register(_abandon)


class _Result(Protocol[R]):
    """The future that CTranslate2 returns for a row."""

    def done(self) -> bool: ...

    def result(self) -> R: ...


def _translated(call: Callable[[], Sequence[_Result[R]]]) -> list[R]:
    """Wait for the results of an asynchronous call, in order. It polls in Python: waiting in CTranslate2 would block Ctrl-C."""
    with inside:
        waiting = call()
    results, begun = [], time.monotonic()
    for each in waiting:
        while not _is_done(each):
            passed = time.monotonic() - begun
            time.sleep(min(max(_SHARE_OF_SLEEP * passed, _SHORTEST_SLEEP), _LONGEST_SLEEP))
        with inside:
            results.append(each.result())
    return results


def _is_done(result: _Result[R]) -> bool:
    with inside:
        return result.done()


class _Loaded:
    """A CTranslate2 model, freed `with inside` (base/native.py), so that the end of the process does not interrupt it."""

    loaded: Any = None

    def __del__(self, inside: Any = inside) -> None:  # an argument, because the names of the module may be gone at interpreter exit
        with inside:
            self.loaded = None


class _Translator(_Loaded):
    """An encoder-decoder model. Inputs and outputs are pieces."""

    def __init__(self, folder: Path, threads: dict[str, Any]) -> None:
        self.loaded = ctranslate2.Translator(str(folder), **threads)

    def search(
        self, sources: list[list[str]], pieces: list[str], decode: DecodeSettings, num_hypotheses: int
    ) -> list[list[tuple[list[str], float]]]:
        """Return outputs with scores. Options are explicit: the defaults of CTranslate2 forbid END at the first step and cut inputs."""
        results = _translated(
            lambda: self.loaded.translate_batch(
                sources,
                max_batch_size=decode.batch_size,
                beam_size=decode.beam_size,
                num_hypotheses=num_hypotheses,
                length_penalty=decode.length_penalty,
                max_decoding_length=decode.max_tokens,
                min_decoding_length=0,
                max_input_length=0,
                return_scores=True,
                asynchronous=True,
            )
        )
        return [list(zip(result.hypotheses, result.scores, strict=True)) for result in results]

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        results = _translated(
            lambda: self.loaded.score_batch(sources, targets, max_batch_size=_SCORE_BATCH, max_input_length=0, asynchronous=True)
        )
        return [list(result.log_probs) for result in results]


class _Generator(_Loaded):
    """A decoder-only model. The prompt is the source followed by BEGIN."""

    def __init__(self, folder: Path, threads: dict[str, Any]) -> None:
        # For a Generator, CTranslate2 needs another name for the vocabulary. On disk, all architectures have the same file names.
        names = {"model.bin": "model.bin", "config.json": "config.json", "vocabulary.json": "shared_vocabulary.json"}
        files = {name: (folder / stored).read_bytes() for name, stored in names.items()}
        self.loaded = ctranslate2.Generator(str(folder), files=files, **threads)

    def search(
        self, sources: list[list[str]], pieces: list[str], decode: DecodeSettings, num_hypotheses: int
    ) -> list[list[tuple[list[str], float]]]:
        """Return outputs with scores."""
        results = _translated(
            lambda: self.loaded.generate_batch(
                [[*source, pieces[BEGIN]] for source in sources],
                # With prompts of unequal length in a batch, CTranslate2 4.8 forbids END on all beams but the first at the first step.
                max_batch_size=decode.batch_size if decode.beam_size == 1 else 1,
                beam_size=decode.beam_size,
                num_hypotheses=num_hypotheses,
                length_penalty=decode.length_penalty,
                max_length=decode.max_tokens,
                min_length=0,
                include_prompt_in_result=False,
                return_scores=True,
                asynchronous=True,
            )
        )
        return [list(zip(result.sequences, result.scores, strict=True)) for result in results]

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        texts = [[*source, pieces[BEGIN], *target, pieces[END]] for source, target in zip(sources, targets, strict=True)]
        results = _translated(lambda: self.loaded.score_batch(texts, max_batch_size=_SCORE_BATCH, max_input_length=0, asynchronous=True))
        return [list(result.log_probs)[-len(target) - 1 :] for result, target in zip(results, targets, strict=True)]
