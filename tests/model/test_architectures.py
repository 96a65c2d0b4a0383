"""Properties of every combination of architecture and building blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from int8_arithmetic import INT8_TOLERANCE, distance_from_int8
from torch.nn.utils.rnn import pack_padded_sequence
from toy import DECODE, MODEL

from textmill.base.errors import UserError
from textmill.base.tensors import write_tensors
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.torch_engine import TorchEngine
from textmill.distill.student import copy_teacher
from textmill.encode.batching import make_batch, padded
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.evaluate.systems import loss_of, reference_log_probabilities
from textmill.export.ct2_spec import write_ct2
from textmill.export.parity import compare_engines
from textmill.model.attention import attend
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.lstm import LstmStack
from textmill.model.shape import Shape
from textmill.model.weights import load_model, save_model
from textmill.prune.importance import importance
from textmill.prune.pruning import prune_model
from textmill.prune.settings import PruneSettings
from textmill.tokenizer.special import BEGIN, PAD
from textmill.tokenizer.tokenizer import Tokenizer

WIDE = replace(MODEL, width=32, heads=4, key_value_heads=0, max_positions=80, dropout=0.0, attention_dropout=0.0)
LLAMA: dict[str, Any] = {"norm": "rms_norm", "activation": "swiglu", "positions": "rotary"}
TRANSFORMERS: list[dict[str, Any]] = [
    {},
    {"norm_position": "post", "activation": "gelu", "positions": "learned", "tied_embeddings": False},
    {"norm": "rms_norm", "norm_position": "post", "key_value_heads": 1},
    {**LLAMA, "key_value_heads": 2},
    {**LLAMA, "tied_embeddings": False},
    {"architecture": "decoder_only"},
    {"architecture": "decoder_only", "norm_position": "post", "activation": "gelu", "positions": "learned", "tied_embeddings": False},
    {"architecture": "decoder_only", **LLAMA, "key_value_heads": 2},
]
LSTMS: list[dict[str, Any]] = [
    {"architecture": "lstm"},
    {"architecture": "lstm", "tied_embeddings": False, "encoder_layers": 2, "decoder_layers": 1},
]


def named(choice: dict[str, Any]) -> str:
    return "-".join(str(value) for value in choice.values()) or "plain"


every = pytest.mark.parametrize("choice", [*TRANSFORMERS, *LSTMS], ids=named)
exportable = pytest.mark.parametrize("choice", TRANSFORMERS, ids=named)


def built(choice: dict[str, Any], vocabulary_size: int = 50) -> Seq2SeqModel:
    torch.manual_seed(2)
    network = build_model(Shape.of(replace(WIDE, **choice), vocabulary_size))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        network.tokens.output_bias[3] += 2
    return network.eval()


SOURCE = padded([[5, 6, 7, 8, 9], [8, 9], [10, 11, 12]])
TARGET = padded([[BEGIN, 11], [BEGIN, 14, 15, 16], [BEGIN, 17, 18]])


@every
def test_a_loss_is_finite_and_reaches_every_parameter(choice: dict[str, Any]) -> None:
    network = built(choice).train()
    loss = torch.nn.functional.cross_entropy(network.logits(network(SOURCE, TARGET)).flatten(0, 1), TARGET.flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every
def test_step_by_step_decoding_equals_one_full_pass_also_for_selected_rows(choice: dict[str, Any]) -> None:
    network, target = built(choice), padded([[BEGIN, 11, 12, 13], [BEGIN, 14, 15, 16], [BEGIN, 17, 18, 19]])
    rows = torch.tensor([2, 0, 0])
    with torch.no_grad():
        state = network.encode(SOURCE)
        steps = [network.decode_step(target[:, 0], state)]
        state.select(rows)
        steps += [network.decode_step(target[:, 1], state)]
        state.select_past(torch.tensor([0, 2, 1]))  # exchanges rows of one source
        steps += [network.decode_step(target[:, step], state) for step in (2, 3)]
        at_first = network.logits(network(SOURCE, target[:, :1]))[:, 0]
        mixed = torch.stack((target[rows[[0, 2, 1]], 0], target[[0, 2, 1], 1], target[:, 2], target[:, 3]), dim=1)
        expected = network.logits(network(SOURCE[rows], mixed))
    torch.testing.assert_close(steps[0], at_first, atol=1e-5, rtol=1e-4)
    for step in (2, 3):
        torch.testing.assert_close(steps[step], expected[:, step], atol=1e-5, rtol=1e-4)


@every
def test_an_output_depends_on_neither_other_rows_nor_later_tokens(choice: dict[str, Any]) -> None:
    network = built(choice)
    with torch.no_grad():
        together = network(SOURCE, TARGET)
        for row in range(len(SOURCE)):
            source, target = SOURCE[row][SOURCE[row] != PAD], TARGET[row][TARGET[row] != PAD]
            alone = network(source[None], target[None])[0]
            torch.testing.assert_close(alone, together[row, : len(target)], atol=1e-5, rtol=1e-4)
        changed = TARGET.clone()
        changed[1, 3] = 33
        torch.testing.assert_close(network(SOURCE, changed)[1, :3], together[1, :3], atol=1e-6, rtol=1e-5)
        changed[1, 1] = 33
        assert not torch.allclose(network(SOURCE, changed)[1, 2], together[1, 2])


@every
def test_a_model_in_bfloat16_computes_in_bfloat16(choice: dict[str, Any]) -> None:
    network = built(choice)
    with torch.no_grad():
        exact = network(SOURCE, TARGET)
        rough = network.to(torch.bfloat16)(SOURCE, TARGET)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


@every
def test_a_file_holds_every_shape(choice: dict[str, Any], tmp_path: Path) -> None:
    network = built(choice)
    save_model(tmp_path / "m.safetensors", network)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.shape == network.shape and type(loaded) is type(network)
    with torch.no_grad():
        assert torch.equal(loaded(SOURCE, TARGET), network(SOURCE, TARGET))


@pytest.mark.parametrize("shape", [{"width": 16}, {"architecture": "mamba"}, None], ids=["older", "foreign", "none"])
def test_a_shape_of_another_version_is_refused(shape: dict[str, Any] | None, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    network = built({})
    known = dict(network.shape.__dict__)
    written = {} if shape is None else {"shape": shape if "width" in shape else known | shape}
    write_tensors(path, network.state_dict(), written)
    with pytest.raises(UserError, match="not a model of this version"):
        load_model(path)


@exportable
def test_ctranslate2_says_what_torch_says_before_and_after_pruning(
    choice: dict[str, Any], corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = built(choice, len(tokenizer.pieces))
    heads = 4 if choice.get("key_value_heads") == 1 else 2
    batches = [make_batch(corpus, range(start, start + 10)) for start in (0, 10)]
    pruned = prune_model(network, importance(network, batches), PruneSettings(heads, heads, 0.4, 4, 2, None))  # type: ignore[arg-type]
    sources, targets = [corpus.source(row) for row in range(24)], [corpus.target(row) for row in range(24)]
    for name, model in (("whole", network), ("pruned", pruned)):
        for quantization in ("float32", "int8"):
            folder = tmp_path / name / quantization
            folder.mkdir(parents=True)
            write_ct2(model, tokenizer.pieces, folder, quantization)
            engine = CTranslate2Engine(folder)
            for beam_size in (1, 4):
                parity = compare_engines(TorchEngine([model]), engine, sources, targets, replace(DECODE, beam_size=beam_size))
                assert quantization == "int8" or (parity.max_log_probability_difference < 1e-4 and parity.identical == 1.0)
        assert distance_from_int8(engine, model, sources, targets) < INT8_TOLERANCE
        assert engine.generate([[], sources[0]], DECODE)[0][0].tokens == []


@exportable
def test_a_pruned_model_computes_what_the_model_with_masked_heads_and_units_computes(choice: dict[str, Any], corpus: EncodedCorpus) -> None:
    network = built(choice, corpus.vocabulary_size)
    heads = 4 if choice.get("key_value_heads") == 1 else 2
    importances = importance(network, [make_batch(corpus, range(8))])
    pruned = prune_model(network, importances, PruneSettings(heads, heads, 0.5, 4, 1, None))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, module in network.named_modules():
            score = importances.get(name)
            if name.endswith("attention") and score is not None:
                groups = score.view(module.key_value_heads, -1).sum(1)
                lost = groups.argsort(descending=True, stable=True)[pruned.get_submodule(name).key_value_heads :]
                module.output.weight.view(32, module.key_value_heads, -1)[:, lost] = 0
            elif name.endswith("feed_forward") and score is not None:
                lost = score.argsort(descending=True, stable=True)[pruned.get_submodule(name).down.in_features :]
                module.down.weight[:, lost] = 0
        torch.testing.assert_close(pruned(SOURCE, TARGET), network(SOURCE, TARGET), atol=1e-5, rtol=1e-4)


def test_pruning_a_part_of_a_group_of_heads_is_an_error(corpus: EncodedCorpus) -> None:
    network = built({"key_value_heads": 2}, corpus.vocabulary_size)
    importances = importance(network, [make_batch(corpus, range(4))])
    with pytest.raises(UserError, match=r"prune\.encoder_heads is 3, but groups of 2 heads share a key\. Set it to a multiple of 2"):
        prune_model(network, importances, PruneSettings(3, 2, 0.5, 4, 1, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [choice for choice in TRANSFORMERS if choice.get("positions") == "learned"], ids=named)
def test_pairs_longer_than_the_learned_positions_are_counted_and_not_scored(
    choice: dict[str, Any], corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    network = built(choice | {"max_positions": 12}, corpus.vocabulary_size)
    write_ct2(network, tokenizer.pieces, tmp_path, "float32")
    longest = 12 if choice.get("architecture") == "decoder_only" else 24  # source, begin and target: of both together, or of each
    for engine in (TorchEngine([network]), CTranslate2Engine(tmp_path)):
        fits, too_long = ([300] * (longest // 2), [300] * (longest // 2 - 1)), ([300] * (longest // 2), [300] * (longest // 2))
        assert engine.can_score(*fits) and len(engine.score([fits[0]], [fits[1]])[0]) == longest // 2
        assert not engine.can_score(*too_long)
        with pytest.raises((UserError, RuntimeError)):
            engine.score([too_long[0]], [too_long[1]])
        test = pd.DataFrame({"source": ["Open it", "Open the file and save it again " * 9], "target": ["打开", "打开"], "task": ""})
        loss = loss_of(reference_log_probabilities(engine, tokenizer, test))
        assert loss["unscored_pairs"] == 1 and loss["loss"] > 0
        assert loss_of(reference_log_probabilities(engine, tokenizer, test[1:])) == {"unscored_pairs": 1}


def test_an_lstm_is_neither_exported_nor_pruned_and_says_what_to_do(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    network = built(LSTMS[0], corpus.vocabulary_size)
    with pytest.raises(UserError, match=r"architecture lstm cannot be exported.*Set model\.architecture"):
        write_ct2(network, tokenizer.pieces, tmp_path, "int8")
    with pytest.raises(UserError, match=r"architecture lstm has no attention heads.*Set model\.architecture"):
        importance(network, [make_batch(corpus, range(4))])


def test_lstm_layers_in_a_stack_compute_what_one_lstm_of_torch_computes() -> None:
    torch.manual_seed(1)
    for is_bidirectional in (False, True):
        peer = torch.nn.LSTM(6, 4, 2, batch_first=True, bidirectional=is_bidirectional)
        stack = LstmStack(6, 4, 2, 0.0, is_bidirectional)
        for own, theirs in zip(stack.parameters(), peer.parameters(), strict=True):
            own.data.copy_(theirs)
        x, directions = torch.randn(3, 5, 6), 2 if is_bidirectional else 1
        packed = pack_padded_sequence(x, torch.tensor([2, 5, 3]), batch_first=True, enforce_sorted=False)
        state = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
        for asked, begin in ((x, None), (packed, None), *([(x, state)] if directions == 1 else [])):
            found, (wanted, last) = stack(asked, begin), peer(asked, begin)
            outputs, hidden, cell = found
            pairs = (
                (hidden, last[0]),
                (cell, last[1]),
                *([(outputs, wanted)] if asked is x else zip(outputs[:1], wanted[:1], strict=True)),
            )
            assert all(torch.allclose(own, theirs, atol=1e-6) for own, theirs in pairs)


def test_between_lstm_layers_and_nowhere_else_is_dropout() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 4)
    packed = pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
    for layers, differs in ((1, False), (2, True)):
        stack = LstmStack(4, 4, layers, 0.5, False).train()
        for asked in (x, packed):
            first, second = (stack(asked)[1] for _ in range(2))
            assert torch.equal(first[0], second[0])
            assert torch.equal(first[-1], second[-1]) != differs


@every
def test_a_student_starts_from_its_teacher(choice: dict[str, Any]) -> None:
    teacher, student = built(choice), build_model(built(choice).shape)
    copy_teacher(student, teacher)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in student.state_dict().items())


def test_an_lstm_with_other_layers_cannot_start_from_its_teacher() -> None:
    with pytest.raises(UserError, match="an LSTM student needs as many layers as its teacher"):
        copy_teacher(built(LSTMS[1]), built(LSTMS[0]))


def test_a_text_longer_than_the_learned_positions_is_refused() -> None:
    for architecture, length in (("encoder_decoder", 81), ("decoder_only", 77)):  # behind it, the four of the target
        network = built({"architecture": architecture, "positions": "learned"})
        with pytest.raises(UserError, match=r"model\.max_positions is 80, but a text needs 81 positions"):
            network(torch.full((1, length), 5), TARGET[:1])


def test_grouped_attention_is_attention_with_repeated_keys() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    found = attend(queries, keys, values, None, True, 0.0)
    for head in range(4):
        scores = queries[:, head] @ keys[:, head // 2].transpose(1, 2) / 8**0.5
        scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        torch.testing.assert_close(found[:, head], scores.softmax(-1) @ values[:, head // 2])
