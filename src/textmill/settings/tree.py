"""All sections of params.yaml, and the checks that run before any stage starts."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from textmill.back_translate.settings import BackTranslateSettings
from textmill.base.errors import UserError
from textmill.clean.settings import CleanSettings, settings_of
from textmill.collect.settings import CollectSettings
from textmill.decode.settings import DecodeSettings, decode_of
from textmill.distill.settings import DistillSettings
from textmill.encode.settings import EncodeSettings
from textmill.evaluate.settings import EvaluateSettings
from textmill.export.settings import ExportSettings
from textmill.model.settings import ModelSettings
from textmill.prune.settings import PruneSettings
from textmill.report.settings import ReportSettings
from textmill.settings.schema import OF_FOLDS, OTHER_TRAININGS, build, completed, converted
from textmill.split.settings import SplitSettings
from textmill.tasks.settings import TaskSettings, require_names, stored_name
from textmill.tokenizer.settings import TokenizerSettings
from textmill.train.settings import TrainSettings

SECTIONS: dict[str, Any] = {
    "tasks": dict[str, TaskSettings],
    "collect": CollectSettings,
    "clean": CleanSettings,
    "split": SplitSettings,
    "tokenizer": TokenizerSettings,
    "back_translate": BackTranslateSettings,
    "encode": EncodeSettings,
    "model": ModelSettings,
    "train": TrainSettings,
    "distill": DistillSettings,
    "prune": PruneSettings,
    "decode": DecodeSettings,
    "export": ExportSettings,
    "evaluate": EvaluateSettings,
    "report": ReportSettings,
}

DEFAULT_SEED = 1
SEEDS = 1 << 31  # NumPy allows 2**32; this leaves room for the fold and repeat numbers that are added


def with_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params`, which must be valid, with all defaults and inherited settings filled in."""
    full = _all_sections(params)
    sections = {name: _filled(_as_values(built(section, full[name], name)), full[name]) for name, section in SECTIONS.items()}
    return {"seed": DEFAULT_SEED} | full | sections


def _as_values(section: Any) -> dict[str, Any]:
    if isinstance(section, Mapping):
        return {name: dataclasses.asdict(each) for name, each in section.items()}
    return dataclasses.asdict(section)


def _all_sections(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` with what trainings inherit, and an empty mapping for each missing section."""
    return {name: {} for name in SECTIONS} | completed(params)


def _filled(defaults: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` unchanged, plus `defaults` for the missing keys."""
    filled = {name: _filled(defaults[name], value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return defaults | filled


def check_settings(params: Mapping[str, Any]) -> None:
    """Raise UserError if `params`, the whole of params.yaml, has an unknown or missing key, a wrong type or an invalid value."""
    if not isinstance(params, Mapping):
        raise UserError("params.yaml: must be a mapping of sections, such as `collect:`. docs/settings.md lists them.")
    known = ["seed", *SECTIONS]
    for name in params:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]}?" if close else f"Known sections: {', '.join(known)}."
            raise UserError(f"params.yaml: unknown section {name}. {hint}")
    seed = params.get("seed", DEFAULT_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise UserError(f"params.yaml: seed must be a whole number from 0 to {SEEDS - 1}, not {seed!r}.")
    full = _all_sections(params)
    # `train` comes first, so that a mistake is reported there and not in a section that inherits it.
    train = {"train": build(TrainSettings, full["train"], "train")}
    sections = {name: train.get(name) or built(section, full[name], name) for name, section in SECTIONS.items()}
    _check_tasks(sections)
    _check_together(sections)


def built(section: Any, values: Any, key: str) -> Any:
    """Return the settings object of a section, or the mapping of names to settings objects. Raises UserError as `build` does."""
    return (
        build(section, values, key) if isinstance(section, type) and dataclasses.is_dataclass(section) else converted(values, section, key)
    )


def _check_tasks(sections: Mapping[str, Any]) -> None:
    """Raise UserError if a source names no task, or a task has no source, or wrong settings."""
    tasks: dict[str, TaskSettings] = sections["tasks"]
    if not tasks:
        raise UserError("params.yaml: tasks is empty. Name at least one, with its kind and languages.")
    require_names(tasks)
    for section in ("collect", "back_translate"):
        for position, source in enumerate(sections[section].sources):
            try:
                stored_name(source.task, tasks)
            except UserError as error:
                raise UserError(f"params.yaml: {section}.sources[{position}].task: {error}") from None
    for key, default in (("method", "beam"), ("cut", "end")):
        if getattr(sections["decode"], key) != default:
            raise UserError(f"params.yaml: decode.{key} follows from the kind of each task. Set it in tasks.NAME.decode, for one task.")
    with_source = {stored_name(source.task, tasks) for source in sections["collect"].sources}
    for name, task in tasks.items():
        if stored_name(name, tasks) not in with_source:
            raise UserError(f"params.yaml: tasks.{name}: no source in collect.sources has this task. Add one, or remove the task.")
        settings_of(sections["clean"], tasks, name)
        own = decode_of(sections["decode"], task, f"tasks.{name}.decode")
        if own.method == "sampling" and own.min_p and sections["model"].architecture != "lstm":
            raise UserError(
                f"params.yaml: tasks.{name}: min_p is {own.min_p}, but the exported model does not have it. Use top_p or top_k."
            )


def _check_together(sections: Mapping[str, Any]) -> None:
    """Raise UserError if sections that are valid on their own contradict each other.

    sections: name to settings object.
    """
    model: ModelSettings = sections["model"]
    others = {f"{section}.{key}": getattr(sections[section], key) for section, key in OTHER_TRAININGS}
    for where, training in others.items():
        for name, default in OF_FOLDS.items():
            if getattr(training, name) != default:
                raise UserError(f"params.yaml: {where}.{name} is only for the fold models (train.{name}). Remove it.")
    for where, training in {"train": sections["train"], **others}.items():
        for name, value, off in (("compile", True, "false"), ("cuda_graphs", "always", "auto")):
            if getattr(training, name) == value and model.architecture == "lstm":
                raise UserError(f"params.yaml: {where}.{name} does not work with an lstm. Set it to {off}.")
    if sections["train"].subword_sampling and sections["tokenizer"].model_type != "unigram":
        raise UserError("params.yaml: train.subword_sampling needs tokenizer.model_type unigram. Set it to 0, or use that tokenizer.")
    _check_student(model, sections["distill"])
    if model.architecture == "lstm":
        return
    group = model.heads // model.shared_heads
    for stack in ("decoder",) if model.architecture == "decoder_only" else ("encoder", "decoder"):
        wanted = getattr(sections["prune"], f"{stack}_heads")
        if wanted > model.heads:
            raise UserError(f"params.yaml: prune.{stack}_heads is {wanted}, but model.heads is {model.heads}. Lower it.")
        if wanted % group != 0:
            raise UserError(
                f"params.yaml: prune.{stack}_heads is {wanted}, but model.key_value_heads makes groups of {group} heads that share a key."
                f" A group is pruned as a whole. Make it a multiple of {group}."
            )
    decodes = [decode_of(sections["decode"], task, f"tasks.{name}.decode") for name, task in sections["tasks"].items()]
    needed = max(_positions_needed(model.architecture, sections["encode"], decode) for decode in [sections["decode"], *decodes])
    if model.positions == "learned" and model.max_positions < needed:
        raise UserError(
            f"params.yaml: model.max_positions is {model.max_positions}, but with the limits of encode, decode and tasks a text"
            f" can have {needed} positions. Raise it to {needed}, or lower them."
        )


def _check_student(model: ModelSettings, distill: DistillSettings) -> None:
    """Raise UserError if a student is to start from the weights of a teacher with another shape."""
    if distill.start_from == "scratch":
        return
    # In an LSTM each layer needs the outputs of the layer below, so none can be left out. It has no feed-forward networks.
    fixed = ("encoder_layers", "decoder_layers") if model.architecture == "lstm" else ("feed_forward",)
    for name in fixed:
        own, theirs = getattr(distill, name), getattr(model, name)
        if own not in (0, theirs):
            raise UserError(
                f"params.yaml: distill.start_from is teacher, but distill.{name} is {own} and model.{name} {theirs}."
                " Set it to 0 (as in model), or start from scratch."
            )


def _positions_needed(architecture: str, encode: EncodeSettings, decode: DecodeSettings) -> int:
    """Return the positions of the longest text.

    In training, a begin symbol comes before the target. In decoding, the last token is never an input.
    """
    if architecture == "decoder_only":
        return max(encode.source_limit + encode.max_tokens + 1, decode.source_limit + decode.max_tokens)
    return max(encode.source_limit, encode.max_tokens + 1, decode.source_limit, decode.max_tokens)


def limits(params: Mapping[str, Any]) -> str:
    """Return one line about stages that valid settings cannot run, or an empty string."""
    if params["model"]["architecture"] != "lstm":
        return ""
    return (
        "params.yaml: model.architecture is lstm, which cannot be pruned or exported: `dvc repro prune` and all later"
        " stages will fail. `dvc repro train`, `dvc repro evaluate@fold-0`, `dvc repro distill` and `dvc repro evaluate@student` work.\n"
    )
