"""The fold models write targets for the development text, and one student learns them.

in   data/encode/development.safetensors                all development pairs as token ids, with their folds
     data/tokenizer/tokenizer.model                     to compare outputs with references as text
     models/train/*/model.safetensors                   the teachers, one a fold; dvc.yaml names each
out  models/distill/model.safetensors                   the student
     models/distill/history.csv                         its learning curve
     models/distill/corpus.safetensors                  what it learned: originals and the teachers' outputs
     models/distill/metrics.json                        pairs taught, steps, parameters
"""

from __future__ import annotations

from stages.runner import run_stage
from textmill import paths
from textmill.compression.student import distill_student
from textmill.files import write_json
from textmill.model.weights import load_model, save_model
from textmill.settings.corpus import FoldsSettings
from textmill.settings.inference import DecodeSettings
from textmill.settings.model import ModelSettings
from textmill.settings.training import DistillSettings
from textmill.tokens.shards import EncodedCorpus
from textmill.tokens.tokenizer import Tokenizer
from textmill.tracking import RunLog
from textmill.training.checkpoints import CheckpointFile
from textmill.training.history import training_metrics, write_history


def main(
    split: FoldsSettings,
    model: ModelSettings,
    distill: DistillSettings,
    decode: DecodeSettings,
    seed: int,
    fingerprint: str,
    log: RunLog,
) -> None:
    corpus = EncodedCorpus.load(paths.ENCODED)
    log.dataset(paths.ENCODED, "development", len(corpus))
    teachers = [load_model(paths.fold_model(fold)) for fold in split.folds]
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "distill", fingerprint)
    tokenizer = Tokenizer.load(paths.TOKENIZER)
    student, pairs, counts, result = distill_student(corpus, teachers, tokenizer, model, distill, decode, seed, checkpoint, log.metrics)
    save_model(paths.STUDENT, student)
    pairs.save(paths.DISTILLED_CORPUS)
    write_history(paths.STUDENT_HISTORY, result.history)
    metrics = training_metrics(student, result, paths.STUDENT) | counts
    write_json(paths.DISTILL_METRICS, metrics)
    log.metrics(metrics, result.steps)
    log.artifact(paths.STUDENT_HISTORY)
    log.artifact(paths.STUDENT)
    checkpoint.discard()


if __name__ == "__main__":
    run_stage(main)
