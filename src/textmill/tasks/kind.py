"""What is special about a kind of task. Each kind is one file of this room, and one line in tasks/kinds.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TaskKind:
    """A kind of task. No code outside this room asks which kind it is: it reads these fields.

    name: as in params.yaml, tasks.NAME.kind.
    metrics: names in METRICS (evaluate). The first one decides: best fold, best baseline, order of samples.
    compared: those on which systems are compared, for the verdict; they need no more than the outputs.
    baselines: names in BASELINES (evaluate), at least one.
    repairs_off, filters_off: repairs and filters of `clean` that make no sense here and are off, whatever `clean` says.
    duplicates: what makes two rows duplicates: see CleanSettings.
    near_duplicates: whether near-duplicates are removed as well.
    content: the sides that are content: looked at for leaks into the test set. Prompts and control codes are none.
    target_is_label: whether targets are labels: in no language, and not text that could leak.
    is_between_languages: whether source and target are in different languages, so that both must be named.
    cut: the end of a long source that is cut off.
    long_sources: whether a training pair with a long source is cut as well, or left out.
    method: how outputs are decoded (DecodeSettings).
    taught: what a student learns from its teachers: their outputs, their label probabilities, or nothing.
    """

    name: str
    metrics: tuple[str, ...]
    compared: tuple[str, ...]
    baselines: tuple[str, ...]
    repairs_off: frozenset[str] = frozenset()
    filters_off: frozenset[str] = frozenset()
    duplicates: Literal["pair", "source"] = "pair"
    near_duplicates: bool = True
    content: tuple[Literal["source", "target"], ...] = ("source", "target")
    target_is_label: bool = False
    is_between_languages: bool = False
    cut: Literal["end", "start"] = "end"
    long_sources: Literal["cut", "drop"] = "cut"
    method: Literal["beam", "sampling", "labels"] = "beam"
    taught: Literal["outputs", "probabilities", "nothing"] = "outputs"


# Filters that compare a source with its translation. They mean nothing where a target is not a rendering of the source.
OF_TRANSLATIONS = frozenset({"copy", "length_ratio", "placeholder_mismatch", "max_length_deviation", "truncated", "misaligned"})
