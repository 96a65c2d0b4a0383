"""Export the pruned model for CTranslate2 as float32 and int8, after checking its parity with torch and its size.

in   models/prune/model.safetensors                  the torch model
     models/distill/metrics.json                     number of training pairs and size before pruning, for the model card
     data/encode/development.safetensors             pairs on which parity is measured
     data/tokenizer/tokenizer.model
     data/split/labels.json
out  models/export/float32/model.bin                 model folder that does not need torch
     models/export/float32/config.json
     models/export/float32/shared_vocabulary.json
     models/export/float32/tokenizer.model
     models/export/float32/generation.json           decoding settings
     models/export/float32/manifest.json             SHA-256 of every file
     models/export/int8/model.bin                    the same in about a quarter of the size
     models/export/int8/config.json
     models/export/int8/shared_vocabulary.json
     models/export/int8/tokenizer.model
     models/export/int8/generation.json
     models/export/int8/manifest.json
     models/export/README.md                         model card
     models/export/metrics.json                      parity, sizes
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import read_json, write_json, write_text
from textmill.collect.settings import CollectSettings
from textmill.decode.settings import DecodeSettings
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.export.generation import example_of, generation_of
from textmill.export.model_card import model_card
from textmill.export.package import export_model
from textmill.export.settings import ExportSettings
from textmill.pipeline.runner import run_stage
from textmill.tasks.settings import TaskSettings, model_name
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog


def main(export: ExportSettings, decode: DecodeSettings, tasks: dict[str, TaskSettings], collect: CollectSettings, log: RunLog) -> None:
    corpus, tokenizer = EncodedCorpus.load(paths.ENCODED), Tokenizer.load(paths.TOKENIZER)
    generation = generation_of(decode, tasks, read_json(paths.LABELS), collect.sources)
    metrics = export_model(paths.PRUNED, corpus, tokenizer, paths.EXPORTED, export, decode, generation)
    write_json(paths.EXPORT_METRICS, metrics)
    card = model_card(
        model_name(export.name, tasks), tasks, read_json(paths.DISTILL_METRICS), metrics, decode, example_of(corpus, tokenizer, tasks)
    )
    write_text(paths.MODEL_CARD, card)
    log.metrics(metrics)
    log.artifact(paths.MODEL_CARD)


if __name__ == "__main__":
    run_stage(main)
