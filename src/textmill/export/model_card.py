"""The model card (Mitchell et al. 2019): training, sizes, parity, use and limits of the exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmill.decode.settings import DecodeSettings
from textmill.tasks.settings import Tasks, TaskSettings

_CARD = """# {name}

A text-to-text Transformer for {kinds}, made with textmill and exported for CTranslate2: the folder `float32`, and the folder `int8` with 8-bit integer weights.

| | |
|---|---|
| Training pairs | {training_pairs} |
| Parameters | {parameters} |
| int8 model | {int8_bytes:,} bytes, {size_ratio:.3f} times the size of the float32 torch weights |
| Largest difference of a log probability between float32 export and torch | {difference:.1e} nats |
| Share of outputs of the float32 export that are identical to torch | {identical_float32:.4f} |
| Share of outputs of the int8 export that are identical to torch | {identical_int8:.4f} |
| Tasks | {tasks} |
| Decoding | beam size {beam_size}, length penalty {length_penalty}, at most {max_tokens} tokens |

## Use

    from textmill.serving.text_model import TextModel
    TextModel.load("int8").generate(["Save the file"]{argument})

The model needs ctranslate2 and sentencepiece, but not torch. `manifest.json` contains the SHA-256 of every file, and
`TextModel.load` checks them.

## Intended use and limits

The model is for texts like its training text. On other texts, its outputs are as fluent but wrong more often.
It repeats what is in its training text, including names, errors and biases, such as always choosing one gender.
It is not intended for decisions about people.

The report of the rebuild has scores on held-out texts with confidence intervals, baselines, sample outputs, and how
the training text was filtered.
"""


def model_card(
    name: str,
    tasks: Tasks,
    distill_metrics: Mapping[str, Any],
    export_metrics: Mapping[str, Any],
    decode: DecodeSettings,
) -> str:
    """Write the card in Markdown.

    distill_metrics: number of training pairs, and parameters before pruning; an output of the stage `distill`.
    export_metrics: from `export_model`.
    """
    parity, named = export_metrics["parity"], [task for task in export_metrics["tasks"] if task]
    return _CARD.format(
        name=name,
        training_pairs=_training_pairs(distill_metrics),
        tasks=", ".join(named) or "one, without a name",
        argument=f', task="{named[0]}"' if named else "",
        kinds="; ".join(_described(name, task) for name, task in tasks.items()),
        parameters=_parameters(export_metrics["parameters"], distill_metrics["parameters"]),
        int8_bytes=export_metrics["size_bytes"]["int8"],
        size_ratio=export_metrics["size_ratio"],
        difference=parity["float32"]["max_log_probability_difference"],
        identical_float32=parity["float32"]["identical"],
        identical_int8=parity["int8"]["identical"],
        beam_size=decode.beam_size,
        length_penalty=decode.length_penalty,
        max_tokens=decode.max_tokens,
    )


def _described(name: str, task: TaskSettings) -> str:
    kind, (source, target) = task.kind.replace("_", " "), task.languages.codes()
    languages = f"from {source} to {target}" if task.special.is_between_languages else f"in {source}"
    return f"{kind} {languages}" if name == task.kind or name == "translate" else f"{kind} {languages} ({name})"


def _training_pairs(counts: Mapping[str, Any]) -> str:
    """Name only the kinds of pairs that the model was trained on. counts: see `model_card`."""
    kinds = {
        "with their original target": counts["originals"],
        "with the output of a teacher model as target (knowledge distillation)": counts["distilled"],
        "with a label and its probability by a teacher model (knowledge distillation)": counts.get("soft_labels", 0),
    }
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)


def _parameters(exported: int, student: int) -> str:
    return f"{exported:,}, pruned from {student:,}" if exported < student else f"{exported:,}"
