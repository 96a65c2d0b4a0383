"""A model card (Mitchell et al. 2019): what the exported model is, what it is for, and what it is not."""

from __future__ import annotations

from typing import Any

from textmill.decode.settings import DecodeSettings
from textmill.settings.languages import LanguageSettings

_CARD = """# {name}

A text-to-text model from {source_language} to {target_language}, made by textmill: a Transformer that
was taught by a cross-validated ensemble, pruned, and quantized to 8-bit integers for CTranslate2.

| | |
|---|---|
| Parameters | {parameters:,} |
| int8 model | {int8_bytes:,} bytes, {size_ratio:.3f} of its float32 torch weights |
| Largest difference of a log probability, float32 export against torch | {difference:.1e} nats |
| Equal outputs, float32 export against torch | {identical_float32:.4f} |
| Equal outputs, int8 export against torch | {identical_int8:.4f} |
| Tasks | {tasks} |
| Search | beam {beam_size}, length penalty {length_penalty}, at most {max_tokens} tokens |

## Use

    from textmill.serving.translator import Translator
    Translator.load("int8").translate(["Save the file"]{argument})

Needs ctranslate2 and sentencepiece, and no torch. `manifest.json` holds the SHA-256 of every file; loading checks it.

## What it is for, and what it is not

It does what its training text shows, on text of that kind. Scores on held-out text, with intervals, baselines, sample
outputs and how rows were filtered, are in the report of the rebuild that made it. Text far from the training text is
answered as fluently and is wrong more often. It repeats what is in its training text: names, errors, and one-sided
choices (such as a gender) included. It was not made for decisions about people.
"""


def model_card(name: str, languages: LanguageSettings, export_metrics: dict[str, Any], decode: DecodeSettings) -> str:
    """The card's text, in Markdown. export_metrics: from `export_model`."""
    parity, named = export_metrics["parity"], [task for task in export_metrics["tasks"] if task]
    return _CARD.format(
        name=name,
        tasks=", ".join(named) or "one, without a name",
        argument=f', task="{named[0]}"' if named else "",
        source_language=languages.source_language,
        target_language=languages.target_language,
        parameters=export_metrics["parameters"],
        int8_bytes=export_metrics["size_bytes"]["int8"],
        size_ratio=export_metrics["size_ratio"],
        difference=parity["float32"]["max_log_probability_difference"],
        identical_float32=parity["float32"]["identical"],
        identical_int8=parity["int8"]["identical"],
        beam_size=decode.beam_size,
        length_penalty=decode.length_penalty,
        max_tokens=decode.max_tokens,
    )
