"""Count what cleaning did to a corpus, keep samples, and warn if the corpus as a whole looks wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from textmill.clean.chinese import VARIANTS
from textmill.clean.duplicates import DUPLICATE_REASONS, Duplicates
from textmill.clean.evidence import EVIDENCE_REASONS, Evidence
from textmill.clean.filters import FILTERS
from textmill.clean.language import LANGUAGE_REASONS, UNDETERMINED, checked_language
from textmill.clean.plans import Plans, TaskPlan
from textmill.clean.privacy import KINDS, without_private_data
from textmill.clean.repairs import REPAIRS
from textmill.clean.samples import SmallestHashes
from textmill.clean.settings import FilterSettings
from textmill.text.hashing import hashes64

REASONS = tuple(dict.fromkeys([*FILTERS, *LANGUAGE_REASONS, *EVIDENCE_REASONS, *(f"private_{kind}" for kind in KINDS), *DUPLICATE_REASONS]))
_SAMPLES = 4
_SHOWN_CHARACTERS = 200
_HISTOGRAM_EDGES = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 10000]
_SUSPICIOUS = 0.1  # above this share of the rows, the file is probably wrong and not only some rows
_NAMES = {"yue": "yue (written Cantonese)"}


class Counts:
    """Counts of the three passes of clean/cleaning.py. Every input row must reach `judged` or `kept_as_is` exactly once."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._rows = self._kept = 0
        self._repaired, self._rejected, self._private = (Counter[str]() for _ in range(3))
        self._named: dict[str, Counter[tuple[str, str]]] = {task: Counter() for task in plans}
        self._evidence_rows: dict[str, int] = {}
        self._test: Counter[str] = Counter()
        self._duplicates = {"clusters": 0, "largest": 0, "crowded": 0}
        self._lengths = {side: np.zeros(len(_HISTOGRAM_EDGES) - 1, dtype=np.int64) for side in ("source", "target")}
        self._samples: dict[tuple[str, str], SmallestHashes[dict[str, Any]]] = defaultdict(lambda: SmallestHashes(_SAMPLES))

    def languages(self, counts: Mapping[str, Counter[tuple[str, str]]]) -> None:
        """Add the counts of `language_reasons` for one chunk, by task."""
        for task, named in counts.items():
            self._named[task].update(named)

    def fitted(self, evidence: Mapping[str, Evidence | None]) -> None:
        """Record how many rows the learned filters of each task were fitted on."""
        self._evidence_rows = {task: 0 if each is None else len(each.hashes) for task, each in evidence.items()}

    def duplicates(self, found: Duplicates) -> None:
        """Record the result of the search for near-duplicates."""
        self._duplicates = {"clusters": found.clusters, "largest": found.largest, "crowded": found.crowded}

    def judged(self, frame: pd.DataFrame) -> None:
        """Count rows with their final reason.

        frame: with the columns of the table between passes in clean/cleaning.py.
        """
        reasons = frame["reason"].to_numpy(dtype=object)
        passed = reasons == ""
        self._rows += len(frame)
        self._kept += int(passed.sum())
        self._rejected.update(reasons[~passed].tolist())
        for side, histogram in self._lengths.items():
            lengths = frame[f"clean_{side}"][passed].str.len().to_numpy(dtype=np.int64)
            histogram += np.histogram(lengths, bins=_HISTOGRAM_EDGES)[0]
        sides = (frame[side].to_numpy(dtype=object) for side in ("source", "target"))
        hashes = hashes64(f"{source}\0{target}" for source, target in zip(*sides, strict=True))
        for reason in set(reasons[~passed].tolist()):
            self._sample("rejected", reason, frame, hashes, reasons == reason)
        for part, names, column, counter in (
            ("repaired", REPAIRS, "repairs", self._repaired),
            ("private", KINDS, "found", self._private),
        ):
            bits = frame[column].to_numpy(dtype=np.int64)
            for place, name in enumerate(names):
                has = (bits >> place) & 1 == 1
                counter[name] += int(has.sum())
                self._sample(part, name, frame, hashes, has & passed)

    def kept_as_is(self, frame: pd.DataFrame) -> None:
        """Count rows of an official test set: they stay as they are, and `reason` says what would have rejected them."""
        self._rows += len(frame)
        self._kept += len(frame)
        changed = (frame["source"] != frame["clean_source"]) | (frame["target"] != frame["clean_target"])
        self._test.update({"rows": len(frame), "changed": int((changed & (frame["reason"] == "")).sum())})
        self._test.update(f"rejected: {reason}" for reason in frame["reason"] if reason)

    def _sample(self, part: str, name: str, frame: pd.DataFrame, hashes: np.ndarray, chosen: np.ndarray) -> None:
        places = np.flatnonzero(chosen)
        if len(places):
            smallest = places[np.argsort(hashes[places], kind="stable")[:_SAMPLES]]
            self._samples[part, name].offer(hashes[smallest], lambda place: _shown(frame.iloc[smallest[place]]))

    def rows_in(self) -> int:
        """Return the number of rows judged so far."""
        return self._rows

    def listed(self) -> str:
        """Return the reasons with their counts as text, most frequent first."""
        return ", ".join(f"{reason}: {count}" for reason, count in sorted(self._rejected.items(), key=lambda each: (-each[1], each[0])))

    def samples(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Return {"rejected", "repaired", "private"}: each a mapping of name to a few rows, before and after, with origin and line."""
        result: dict[str, dict[str, list[dict[str, Any]]]] = {"rejected": {}, "repaired": {}, "private": {}}
        for (part, name), sample in self._samples.items():
            result[part][name] = sample.drawn()[1]
        return result

    def metrics(self) -> dict[str, Any]:
        """Return all counts, and the sentences of `warnings`."""
        assert self._kept + sum(self._rejected.values()) == self._rows, "a row was lost"
        return {
            "rows_in": self._rows,
            "rows_out": self._kept,
            "repaired": {name: self._repaired[name] for name in REPAIRS},
            "rejected": {reason: self._rejected[reason] for reason in REASONS},
            "private": {kind: self._private[kind] for kind in KINDS},
            "languages": {side: self._counted(side) for side in ("source", "target")},
            "chinese_variants": {side: self._variants(side) for side in ("source", "target") if self._counted(f"{side}_variant")},
            "near_duplicates": self._duplicates,
            "evidence_rows": sum(self._evidence_rows.values()),
            "source_characters": {"edges": _HISTOGRAM_EDGES, "counts": self._lengths["source"].tolist()},
            "target_characters": {"edges": _HISTOGRAM_EDGES, "counts": self._lengths["target"].tolist()},
            "warnings": self.warnings(),
        } | ({"official_test": dict(sorted(self._test.items()))} if self._test["rows"] else {})

    def _counted(self, side: str) -> dict[str, int]:
        return self._of_side(sum(self._named.values(), Counter()), side)

    @staticmethod
    def _of_side(named: Counter[tuple[str, str]], side: str) -> dict[str, int]:
        return {name: count for (each, name), count in sorted(named.items()) if each == side}

    def _variants(self, side: str) -> dict[str, int]:
        return {variant: sum(named[f"{side}_variant", variant] for named in self._named.values()) for variant in VARIANTS}

    def warnings(self) -> list[str]:
        """Return warnings about the corpus as a whole, one sentence each."""
        found = [warning for task, plan in self._plans.items() for warning in self._task_warnings(task, plan)]
        for reason in ("misaligned", "damaged", "placeholder_mismatch"):
            share = self._rejected[reason] / max(self._rows, 1)
            if share > _SUSPICIOUS:
                found.append(f"{share:.0%} of the rows were rejected as {reason}: look at the source they come from.")
        if not all(self._evidence_rows.values()):
            found.append("Too few rows passed to learn what is misaligned or truncated: those filters were not asked.")
        return found

    def _task_warnings(self, task: str, plan: TaskPlan) -> list[str]:
        sides = zip(("source", "target"), plan.languages.codes(), strict=True)
        found = [warning for side, code in sides for warning in self._language_warnings(task, side, code, plan.clean.filters)]
        return [f"{task}: {warning}" if task else warning for warning in found]

    def _language_warnings(self, task: str, side: str, code: str, filters: FilterSettings) -> list[str]:
        named = self._of_side(self._named[task], side)
        asked = sum(named.values())
        others = {name: count for name, count in named.items() if name != code}
        found = []
        if asked and sum(others.values()) > _SUSPICIOUS * asked:
            name = max(others, key=lambda each: (others[each], each))
            found.append(
                f"The corpus is not what it claims: {sum(others.values()) / asked:.0%} of the {side}s are not {code}; most of those are"
                f" {_NAMES.get(name, name)}. Correct {side}_language of the task or leave the file out."
            )
        variants = {variant: self._named[task][f"{side}_variant", variant] for variant in VARIANTS}
        mixed = min(variants["simplified"], variants["traditional"])
        if filters.chinese_variant == "any" and mixed > _SUSPICIOUS * sum(variants.values()):
            found.append(
                f"The {side}s mix simplified ({variants['simplified']:,}) and traditional ({variants['traditional']:,}) Chinese:"
                " a model will mix them too. Choose one in clean.filters.chinese_variant."
            )
        if code != UNDETERMINED and not checked_language(code):
            found.append(f"No language check knows {code}: the {side}s were not checked.")
        return found


def _shown(row: pd.Series[Any]) -> dict[str, Any]:
    """Return a row for people to read: long texts are truncated, private data is masked."""
    texts = {name: _short(without_private_data(row[name])) for name in ("source", "target", "clean_source", "clean_target")}
    return {**texts, "origin": row["origin"], "line": int(row["line"])}


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
