"""Models on the test set: what they decode, score and read."""

from __future__ import annotations

import pandas as pd
import pytest
from toy import DECODE, PAIRS

from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.evaluate import systems
from textmill.evaluate.scoring import Evaluation, evaluation_of
from textmill.evaluate.systems import decoded, engine_speed, evaluate_engine
from textmill.model.interface import Seq2SeqModel
from textmill.tasks.settings import TaskSettings
from textmill.tokenizer.tokenizer import Tokenizer

LABELS = ["open", "close"]


def evaluation(sources: list[str], targets: list[str], task: TaskSettings) -> Evaluation:
    test = pd.DataFrame({"id": [str(row) for row in range(len(sources))], "source": sources, "target": targets, "task": ""})
    return evaluation_of(test, test, {"only": task}, {"": LABELS} if task.special.target_is_label else {}, 100, 1)


def test_labels_are_scored_by_their_method_alone(model: Seq2SeqModel, tokenizer: Tokenizer) -> None:
    """A classification may be decoded as free text, and then it has no probabilities."""
    engine, sources = TorchEngine([model]), [source for source, _ in PAIRS[:3]]
    for decode, has_probabilities in (({}, True), ({"method": "beam"}, False)):
        task = TaskSettings("en", kind="classification", decode=decode)
        metrics, predictions = evaluate_engine(engine, tokenizer, evaluation(sources, ["open", "open", "close"], task), DECODE)
        assert [len(each) for each in predictions["probabilities"]] == [2 * has_probabilities] * 3
        assert set(predictions["hypothesis"]) <= set(LABELS) or not has_probabilities
        assert ("brier" in metrics) == has_probabilities and "accuracy" in metrics


@pytest.mark.parametrize("kind", ["generation", "classification"])
def test_a_reference_of_an_empty_source_is_not_scored(model: Seq2SeqModel, tokenizer: Tokenizer, kind: str) -> None:
    task, targets = TaskSettings("en", kind=kind), ["open", "close"]
    engine = TorchEngine([model])
    metrics, predictions = evaluate_engine(engine, tokenizer, evaluation(["Open", ""], targets, task), DECODE)
    alone, _ = evaluate_engine(engine, tokenizer, evaluation(["Open"], targets[:1], task), DECODE)
    assert metrics["unscored_pairs"] == 1 and metrics["loss"] == pytest.approx(alone["loss"])
    if kind == "generation":
        assert metrics["bits_per_byte"]["score"] == pytest.approx(alone["bits_per_byte"]["score"]), "it costs nothing and has no bytes"
        assert predictions["score"].isna().tolist() == [False, True]


def test_a_reference_is_scored_by_what_the_model_reads_of_its_source(model: Seq2SeqModel, tokenizer: Tokenizer) -> None:
    long = "Save the page now " * 20
    read = tokenizer.decode(tokenizer.encode(long)[: DECODE.source_limit])
    task = TaskSettings("en", target_language="zh")
    losses = [
        evaluate_engine(TorchEngine([model]), tokenizer, evaluation([each], ["保存"], task), DECODE)[0]["loss"] for each in (long, read)
    ]
    assert losses[0] == pytest.approx(losses[1])


def test_equal_prompts_have_outputs_of_their_own(model: Seq2SeqModel, tokenizer: Tokenizer) -> None:
    engine, task = TorchEngine([model]), TaskSettings("en", kind="generation")
    prompts = ["Open", "Save", "Open", "Open"]
    outputs = evaluate_engine(engine, tokenizer, evaluation(prompts, ["x"] * 4, task), DECODE)[1]["hypothesis"].tolist()
    alone = evaluate_engine(engine, tokenizer, evaluation(prompts[:2], ["x"] * 2, task), DECODE)[1]["hypothesis"].tolist()
    assert outputs[:2] == alone and len({outputs[row] for row in (0, 2, 3)}) == 3


def test_speed_is_measured_with_the_method_of_the_task(model: Seq2SeqModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []

    def noted(engine: object, tokenizer: object, sources: list[str], decode: DecodeSettings, *more: object) -> object:
        asked.append((len(sources), decode.method))
        return decoded(engine, tokenizer, sources, decode, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(systems, "decoded", noted)
    task, sources = TaskSettings("en", kind="classification"), [source for source, _ in PAIRS[:3]]
    speed = engine_speed(TorchEngine([model]), tokenizer, evaluation(sources, ["open", "open", "close"], task), DECODE)
    assert asked == [(3, "labels"), *[(1, "labels")] * 3] and min(speed.values()) > 0
