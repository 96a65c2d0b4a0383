"""The models of CTranslate2, called so that Ctrl-C, forks and the end of the process work. Inputs and outputs are pieces."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import ctranslate2

from textmill.base.native import inside
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.special import BEGIN, END

Outputs = list[tuple[list[str], float]]  # of one source, best first: pieces without END, and score
_SCORE_BATCH = 64
_SHORTEST_SLEEP, _LONGEST_SLEEP = 5e-5, 0.01  # seconds between two polls of a result
_SHARE_OF_SLEEP = 0.1  # sleep time per time waited so far, so that polling adds at most this share to the latency
_FILES = ("model.bin", "config.json", "shared_vocabulary.json")
_SEEDING = threading.Lock()
R = TypeVar("R", covariant=True)


class Model(ABC):
    """A model in memory.

    CTranslate2 gives each worker thread a random generator that reads the seed once, when it is first used (4.8). So the only way
    to draw with a seed is a new model with a new thread; loading one from memory takes a few milliseconds for a small model.
    """

    loaded: Any = None

    def __init__(self, folder: Path, threads: dict[str, Any], files: dict[str, bytes] | None = None) -> None:
        """files: their contents by name, if they have been read before."""
        self._folder, self._threads, self._files = folder, threads, files
        with inside:
            self.loaded = self._load()
        _MODELS.add(self)

    def __del__(self, inside: Any = inside) -> None:  # an argument, because the names of the module may be gone at interpreter exit
        with inside:  # so that the end of the process does not interrupt it (base/native.py)
            self.loaded = None

    @abstractmethod
    def _load(self) -> Any:
        """Return the model of CTranslate2."""

    @abstractmethod
    def _start(self, sources: Sequence[list[str]], begin: str, decode: DecodeSettings, options: dict[str, Any]) -> Any:
        """Start to generate, and return the futures. options: those that both kinds of models have."""

    @abstractmethod
    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""

    def search(self, sources: Sequence[list[str]], pieces: list[str], decode: DecodeSettings, num_hypotheses: int) -> list[Outputs]:
        """Search with a beam."""
        options = _options(decode) | {"beam_size": decode.beam_size, "num_hypotheses": num_hypotheses}
        return [_outputs(result) for result in _finished(lambda: self._start(sources, pieces[BEGIN], decode, options))]

    def sample(self, source: list[str], pieces: list[str], decode: DecodeSettings, num_hypotheses: int, seed: int) -> Outputs:
        """Draw outputs, sorted by score. seed: 32 bits."""
        options = _options(decode) | _sampling(decode) | {"num_hypotheses": num_hypotheses}
        with self._seeded(seed) as copy:
            return _outputs(_finished(lambda: copy._start([source], pieces[BEGIN], decode, options))[0])

    def stream(self, source: list[str], pieces: list[str], decode: DecodeSettings, seed: int | None) -> Iterator[str]:
        """Yield pieces as they are decoded, END included. seed: 32 bits; None is greedy search."""
        running = _Running()
        options = _options(decode) | {"callback": running.put}
        if seed is None:
            running.begin(lambda: self._start([source], pieces[BEGIN], decode, options | {"beam_size": 1}))
        else:
            with self._seeded(seed) as copy:
                running.begin(lambda: copy._start([source], pieces[BEGIN], decode, options | _sampling(decode)))
                running.wait_for_first()
        yield from running.pieces(pieces[END], decode.max_tokens)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[Model]:
        """A copy of the model, which draws with this seed. Until its first token is drawn, no other thread may set the seed."""
        with _SEEDING:
            self._files = self._files or {name: (self._folder / name).read_bytes() for name in _FILES}
            ctranslate2.set_random_seed(seed)
            yield type(self)(self._folder, self._threads, self._files)


class Translator(Model):
    """An encoder-decoder model."""

    def _load(self) -> Any:
        return ctranslate2.Translator(str(self._folder), **({"files": self._files} if self._files else {}), **self._threads)

    def _start(self, sources: Sequence[list[str]], begin: str, decode: DecodeSettings, options: dict[str, Any]) -> Any:
        # Options are explicit: the defaults of CTranslate2 forbid END at the first step and cut inputs.
        limits = {"max_decoding_length": decode.max_tokens, "min_decoding_length": decode.min_tokens, "max_input_length": 0}
        return self.loaded.translate_batch(sources, max_batch_size=decode.batch_size, **limits, **options)

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        results = _finished(
            lambda: self.loaded.score_batch(sources, targets, max_batch_size=_SCORE_BATCH, max_input_length=0, asynchronous=True)
        )
        return [list(result.log_probs) for result in results]


class Generator(Model):
    """A decoder-only model. The prompt is the source followed by BEGIN."""

    def _load(self) -> Any:
        # For a Generator, CTranslate2 needs another name for the vocabulary. On disk, all architectures have the same file names.
        files = self._files or {name: (self._folder / name).read_bytes() for name in _FILES}
        named = {"vocabulary.json" if name == "shared_vocabulary.json" else name: content for name, content in files.items()}
        return ctranslate2.Generator(str(self._folder), files=named, **self._threads)

    def _start(self, sources: Sequence[list[str]], begin: str, decode: DecodeSettings, options: dict[str, Any]) -> Any:
        # With prompts of unequal length in a batch, CTranslate2 4.8 forbids END on all beams but the first at the first step, and
        # counts part of a prompt as output when it looks for repetitions.
        is_alone = options.get("beam_size", 1) > 1 or decode.is_constrained
        limits = {"max_length": decode.max_tokens, "min_length": decode.min_tokens, "include_prompt_in_result": False}
        prompts = [[*source, begin] for source in sources]
        return self.loaded.generate_batch(prompts, max_batch_size=1 if is_alone else decode.batch_size, **limits, **options)

    def score(self, sources: list[list[str]], targets: list[list[str]], pieces: list[str]) -> list[list[float]]:
        """See Engine."""
        texts = [[*source, pieces[BEGIN], *target, pieces[END]] for source, target in zip(sources, targets, strict=True)]
        results = _finished(lambda: self.loaded.score_batch(texts, max_batch_size=_SCORE_BATCH, max_input_length=0, asynchronous=True))
        return [list(result.log_probs)[-len(target) - 1 :] for result, target in zip(results, targets, strict=True)]


def _options(decode: DecodeSettings) -> dict[str, Any]:
    return {
        "length_penalty": decode.length_penalty,
        "no_repeat_ngram_size": decode.no_repeat_ngram,
        "repetition_penalty": decode.repetition_penalty,
        "return_scores": True,
        "asynchronous": True,
    }


def _sampling(decode: DecodeSettings) -> dict[str, Any]:
    return {
        "beam_size": 1,
        "sampling_topk": decode.top_k,
        "sampling_topp": decode.top_p,
        "sampling_temperature": decode.temperature,
    }


def _outputs(result: Any) -> Outputs:
    """Of a result of translate_batch or generate_batch."""
    return list(zip(result.hypotheses if hasattr(result, "hypotheses") else result.sequences, result.scores, strict=True))


class _Result(Protocol[R]):
    """The future that CTranslate2 returns for a row."""

    def done(self) -> bool: ...

    def result(self) -> R: ...


def _finished(call: Callable[[], Sequence[_Result[R]]]) -> list[R]:
    """Wait for the results of an asynchronous call, in order. It polls in Python: waiting in CTranslate2 would block Ctrl-C."""
    with inside:
        waiting = call()
    results, begun = [], time.monotonic()
    for each in waiting:
        while not _is_done(each):
            _sleep(begun)
        with inside:
            results.append(each.result())
    return results


def _is_done(result: _Result[R]) -> bool:
    with inside:
        return result.done()


def _sleep(begun: float) -> None:
    passed = time.monotonic() - begun
    time.sleep(min(max(_SHARE_OF_SLEEP * passed, _SHORTEST_SLEEP), _LONGEST_SLEEP))


class _Running:
    """A text that is being decoded. Its pieces come from a thread of CTranslate2."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._is_closed = False
        self._result: Any = None

    def put(self, step: Any) -> bool:
        """Take the newest piece. Returns whether to stop. CTranslate2 calls it."""
        self._waiting.append(step.token)
        return self._is_closed

    def begin(self, call: Callable[[], Any]) -> None:
        with inside:
            self._result = call()[0]
        _RUNNING.add(self)

    def wait_for_first(self) -> None:
        begun = time.monotonic()
        while not self._waiting and not _is_done(self._result):
            _sleep(begun)

    def pieces(self, end: str, limit: int) -> Iterator[str]:
        """Yield the pieces. CTranslate2 does not show END; it follows if the output has fewer than `limit` pieces."""
        number, begun = 0, time.monotonic()
        try:
            while True:
                is_done = _is_done(self._result)  # before the look at what waits, so that nothing is missed
                while self._waiting:
                    piece, begun, number = self._waiting.popleft(), time.monotonic(), number + 1
                    if piece != end:
                        yield piece
                if is_done:
                    break
                _sleep(begun)
            with inside:
                output = _outputs(self._result.result())[0][0]
            if len(output) < limit:
                yield end
        finally:
            self.close()

    def close(self) -> None:
        """Stop at the next piece, and wait for that."""
        self._is_closed = True
        begun = time.monotonic()
        while not _is_done(self._result):
            _sleep(begun)


_MODELS: WeakSet[Model] = WeakSet()
_RUNNING: WeakSet[_Running] = WeakSet()


def _leave_to_parent() -> None:
    """Keep models alive in a forked child: their threads do not exist there, and freeing a model would wait for them forever."""
    for model in list(_MODELS):
        _never_free(model.loaded)
    _MODELS.clear()
    _RUNNING.clear()


def _abandon() -> None:
    """At interpreter exit, do not wait for running work: never free its models, and end the process with `_exit`."""
    inside.close()
    for running in list(_RUNNING):  # its thread would call Python
        running.close()
    busy = [model.loaded for model in list(_MODELS) if model.loaded is not None and model.loaded.num_active_batches]
    libc = ctypes.CDLL(None)
    if busy and hasattr(libc, "on_exit"):  # glibc calls the handler registered last first, with the exit code
        libc.on_exit(libc._exit, None)
        for loaded in busy:
            _never_free(loaded)


def _never_free(model: Any) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(model))


os.register_at_fork(after_in_child=_leave_to_parent)
atexit.register(_abandon)
