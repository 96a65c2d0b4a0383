"""Toy data written for the tests: a few hundred message pairs, a small vocabulary, and a narrow model."""

from __future__ import annotations

import itertools

from textmill.decode.settings import DecodeSettings
from textmill.model.settings import ModelSettings
from textmill.tokenizer.settings import TokenizerSettings
from textmill.train.settings import TrainSettings

_VERBS = {"Open": "打开", "Close": "关闭", "Delete": "删除", "Save": "保存", "Rename": "重命名", "Print": "打印", "Copy": "复制"}
_THINGS = {
    "file": "文件",
    "folder": "文件夹",
    "window": "窗口",
    "user": "用户",
    "page": "页面",
    "image": "图像",
    "message": "消息",
    "report": "报告",
}
_TAILS = {"": "", " now": "（立即）", " %s": " %s", " as {name}": "为 {name}", " again": "（再次）"}

PAIRS: list[tuple[str, str]] = [
    (f"{verb} the {thing}{tail}", f"{chinese}{object_}{end}")
    for (verb, chinese), (thing, object_), (tail, end) in itertools.product(_VERBS.items(), _THINGS.items(), _TAILS.items())
]

TOKENIZER = TokenizerSettings(vocabulary_size=360, model_type="unigram", character_coverage=1.0, num_threads=1, protect_spans=True)
MODEL = ModelSettings(
    architecture="encoder_decoder",
    width=16,
    heads=2,
    key_value_heads=2,
    feed_forward=32,
    encoder_layers=1,
    decoder_layers=2,
    norm="layer_norm",
    norm_position="pre",
    positions="sinusoidal",
    max_positions=0,
    activation="relu",
    tied_embeddings=True,
    embeddings="random",
    dropout=0.1,
    attention_dropout=0.1,
)
TRAIN = TrainSettings(
    batch_tokens=200,
    max_steps=24,
    validate_every=6,
    patience=0,
    optimizer="adam",
    learning_rate=5e-3,
    weight_decay=0.0,
    schedule="inverse_sqrt",
    warmup_steps=4,
    step_size=5,
    gamma=0.5,
    label_smoothing=0.1,
    gradient_clip=1.0,
    average_checkpoints=2,
    precision="float32",
    device="cpu",
    num_threads=1,
)
DECODE = DecodeSettings(beam_size=4, length_penalty=1.0, max_tokens=24, batch_size=16)
