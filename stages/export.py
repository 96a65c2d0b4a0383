"""Write the pruned model for CTranslate2 as float32 and int8, once its parity with torch and its size are checked.

in   models/prune/model.safetensors                  the torch model
     data/encode/development.safetensors             pairs that parity is measured on
     data/tokenizer/tokenizer.model
out  models/export/float32/model.bin                 a model folder that needs no torch ...
     models/export/float32/config.json
     models/export/float32/shared_vocabulary.json
     models/export/float32/tokenizer.model
     models/export/float32/generation.json           search settings
     models/export/float32/manifest.json             SHA-256 of every file
     models/export/int8/model.bin                    ... and the same in a quarter of the size
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
from textmill.base.files import write_json, write_text
from textmill.decode.settings import DecodeSettings
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.export.model_card import model_card
from textmill.export.package import export_model
from textmill.export.settings import ExportSettings
from textmill.pipeline.runner import run_stage
from textmill.settings.languages import LanguageSettings
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog


def main(export: ExportSettings, decode: DecodeSettings, collect: LanguageSettings, log: RunLog) -> None:
    corpus, tokenizer = EncodedCorpus.load(paths.ENCODED), Tokenizer.load(paths.TOKENIZER)
    metrics = export_model(paths.PRUNED, corpus, tokenizer, paths.EXPORTED, export, decode)
    write_json(paths.EXPORT_METRICS, metrics)
    write_text(paths.MODEL_CARD, model_card(export.name, collect, metrics, decode))
    log.metrics(metrics)
    log.artifact(paths.MODEL_CARD)


if __name__ == "__main__":
    run_stage(main)
