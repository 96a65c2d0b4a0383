"""Label the development text with the fold models, and train one student on the labels and the original pairs.

in   data/encode/development.safetensors                all development pairs as token ids, with their folds
     data/tokenizer/tokenizer.model                     to compare outputs with references as text
     models/train/*/model.safetensors                   the teachers, one per fold; dvc.yaml lists each
out  models/distill/model.safetensors                   the student
     models/distill/history.csv                         learning curve of the student
     models/distill/corpus.safetensors                  training pairs of the student: originals, and sources with teacher outputs
     models/distill/metrics.json                        number of labelled pairs, steps, parameters
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.decode.settings import DecodeSettings, decode_of
from textmill.distill.distillation import Teaching
from textmill.distill.settings import DistillSettings
from textmill.distill.student import distill_student
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.settings import ModelSettings
from textmill.model.weights import load_model, save_model
from textmill.pipeline.runner import run_stage
from textmill.split.settings import FoldsSettings
from textmill.tasks.settings import TaskSettings, by_stored_name, kinds_of
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog
from textmill.train.checkpoints import CheckpointFile
from textmill.train.history import training_metrics, write_history
from textmill.train.run import Run


def main(
    split: FoldsSettings,
    model: ModelSettings,
    distill: DistillSettings,
    decode: DecodeSettings,
    tasks: dict[str, TaskSettings],
    seed: int,
    fingerprint: str,
    log: RunLog,
) -> None:
    corpus = EncodedCorpus.load(paths.ENCODED)
    log.dataset(paths.ENCODED, "encoded", len(corpus))
    teachers = [load_model(paths.fold_model(fold)) for fold in split.folds]
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "distill", fingerprint)
    tokenizer = Tokenizer.load(paths.TOKENIZER)
    decodes = {name: decode_of(decode, task) for name, task in by_stored_name(tasks).items()}
    teaching, run = Teaching(distill, decode, kinds_of(tasks), decodes), Run("train student", seed, checkpoint, log.metrics)
    student, pairs, counts, result = distill_student(corpus, teachers, tokenizer, model, teaching, run)
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
