from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from toy import DECODE, MODEL

from textmill.base.errors import UserError
from textmill.decode.torch_engine import TorchEngine
from textmill.encode.batching import padded
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.model.weights import load_model, save_model
from textmill.tokenizer.special import BEGIN, END


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_it_computes_what_torch_nn_transformer_computes(norm_position: str) -> None:
    """An independent implementation with the same weights."""
    torch.manual_seed(0)
    shape = Shape.of(replace(MODEL, norm_position=norm_position, dropout=0.0, attention_dropout=0.0, decoder_layers=1), 50)  # type: ignore[arg-type]
    ours = build_model(shape).eval()
    peer = nn.Transformer(16, 2, 1, 1, 32, 0.0, batch_first=True, norm_first=norm_position == "pre").eval()
    if norm_position == "post":
        peer.encoder.norm = peer.decoder.norm = None
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for layer, theirs in ((ours.encoder[0], peer.encoder.layers[0]), (ours.decoder[0], peer.decoder.layers[0])):
            attentions = [(layer.self_attention, theirs.self_attn)]
            norms = [(layer.self_attention_norm, theirs.norm1)]
            if hasattr(layer, "cross_attention"):
                attentions.append((layer.cross_attention, theirs.multihead_attn))
                norms += [(layer.cross_attention_norm, theirs.norm2), (layer.feed_forward_norm, theirs.norm3)]
            else:
                norms.append((layer.feed_forward_norm, theirs.norm2))
            for own, other in attentions:
                other.in_proj_weight.copy_(own.projection.weight)
                other.in_proj_bias.copy_(own.projection.bias)
                other.out_proj.load_state_dict(own.output.state_dict())
            for own, other in norms:
                other.load_state_dict(own.norm.state_dict())
            theirs.linear1.load_state_dict(layer.feed_forward.up.state_dict())
            theirs.linear2.load_state_dict(layer.feed_forward.down.state_dict())
        if norm_position == "pre":
            peer.encoder.norm.load_state_dict(ours.encoder_norm.state_dict())
            peer.decoder.norm.load_state_dict(ours.decoder_norm.state_dict())
        source, target = padded([[5, 6, 7, 8], [9, 10]]), padded([[BEGIN, 11, 12], [BEGIN, 13, 14]])
        mask = source == 0
        causal = nn.Transformer.generate_square_subsequent_mask(3)
        expected = peer(
            *(ours.source_positions(ours.tokens.embed_source(tokens), torch.arange(tokens.shape[1])) for tokens in (source, target)),
            tgt_mask=causal,
            src_key_padding_mask=mask,
            memory_key_padding_mask=mask,
        )
        torch.testing.assert_close(ours(source, target), expected, atol=1e-5, rtol=1e-5)


def test_decoding_step_by_step_equals_decoding_at_once(model: Seq2SeqModel) -> None:
    source, target = padded([[5, 6, 7], [8, 9]]), padded([[BEGIN, 11, 12, 13], [BEGIN, 14, 15, 16]])
    with torch.no_grad():
        at_once = model.logits(model(source, target))
        state = model.encode(source)
        steps = [model.decode_step(target[:, step], state) for step in range(target.shape[1])]
    torch.testing.assert_close(torch.stack(steps, dim=1), at_once, atol=1e-5, rtol=1e-5)


def exhaustive(model: Seq2SeqModel, source: list[int], length: int) -> tuple[list[int], float]:
    """Find the best output of at most `length` tokens by an exhaustive breadth-first search."""
    best: tuple[list[int], float] = ([], -math.inf)
    open_prefixes = [([], 0.0)]
    with torch.no_grad():
        for size in range(1, length + 1):
            batch = torch.tensor([[BEGIN, *prefix] for prefix, _ in open_prefixes])
            log = torch.log_softmax(model.logits(model(torch.tensor([source] * len(batch)), batch))[:, -1], -1)
            grown = [
                ([*prefix, token], total + float(log[row, token]))
                for row, (prefix, total) in enumerate(open_prefixes)
                for token in range(log.shape[1])
            ]
            for tokens, total in grown:
                if tokens[-1] == END or size == length:
                    shown = tokens[:-1] if tokens[-1] == END else tokens
                    if total / size > best[1]:
                        best = (shown, total / size)
            open_prefixes = [(tokens, total) for tokens, total in grown if tokens[-1] != END]
    return best


def test_a_wide_beam_finds_the_best_of_all_outputs() -> None:
    torch.manual_seed(5)
    model = build_model(Shape.of(MODEL, 7)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    for source in ([4, 5], [6], [5, 4, 6]):
        tokens, score = exhaustive(model, source, 3)
        # 7 pieces and 3 steps: 7^3 prefixes at most, so a beam of 343 forgets nothing
        found = TorchEngine([model]).generate([source], replace(DECODE, beam_size=343, max_tokens=3))[0][0]
        assert found.tokens == tokens
        assert found.score == pytest.approx(score, abs=1e-5)


def test_batches_ensembles_of_one_and_empty_sources(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    sources = [corpus.source(row) for row in range(12)]
    engine = TorchEngine([model])
    together = engine.generate(sources, DECODE, 2)
    alone = [engine.generate([source], DECODE, 2)[0] for source in sources]
    twice = TorchEngine([model, model]).generate(sources, DECODE, 2)
    for first in (alone, twice):
        assert [[h.tokens for h in row] for row in first] == [[h.tokens for h in row] for row in together]
    assert engine.generate([[], sources[0]], DECODE)[0][0].tokens == []
    greedy = engine.generate(sources, replace(DECODE, beam_size=1))
    assert all(len(row) == 1 for row in greedy)


def test_a_hypothesis_has_the_score_that_scoring_gives_it(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    sources = [corpus.source(row) for row in range(8)]
    engine = TorchEngine([model])
    best = [row[0] for row in engine.generate(sources, DECODE)]
    ended = [(source, hypothesis) for source, hypothesis in zip(sources, best, strict=True) if len(hypothesis.tokens) < DECODE.max_tokens]
    assert ended
    scores = engine.score([source for source, _ in ended], [hypothesis.tokens for _, hypothesis in ended])
    for (_, hypothesis), each in zip(ended, scores, strict=True):
        assert hypothesis.score == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_weights_survive_a_file_and_bad_ones_are_refused(model: Seq2SeqModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    assert loaded.shape == model.shape
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True))
    with torch.no_grad():
        model.tokens.output_bias[5] = float("nan")
    with pytest.raises(UserError, match="output_bias contains NaN"):
        save_model(path, model)
    assert load_model(path).shape == loaded.shape, "the good file is still there"
