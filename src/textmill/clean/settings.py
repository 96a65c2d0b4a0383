"""Section clean of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from textmill.settings.schema import require
from textmill.tasks.settings import Tasks, settings_of_task

PrivacyAction = Literal["mask", "drop", "keep"]


@dataclass(frozen=True)
class RepairSettings:
    """Repairs, applied to both sides in this order (REPAIRS in clean/repairs.py). Each can be switched off.

    markup: remove known HTML tags, unless both sides have the same tags.
    entities: replace HTML entities by their characters. If both sides have the same number of escaped < and >, these are kept.
    mojibake: repair UTF-8 that was read in another encoding (ftfy, with its changes to character width and quotes switched off).
    invisible: remove control, format, private-use and unassigned characters. Joiners in emoji and Indic scripts are kept.
    full_width: replace full-width letters and digits by ASCII. In texts without Chinese or Japanese characters, also replace
        full-width punctuation and spaces.
    chinese_punctuation: make , ; : ? ! full-width right after a Han character. Off by default, because it changes only the style.
    composition: apply Unicode normalization form C.
    whitespace: collapse spaces, strip lines, and keep at most one empty line in a row.
    """

    markup: bool = True
    entities: bool = True
    mojibake: bool = True
    invisible: bool = True
    full_width: bool = True
    chinese_punctuation: bool = False
    composition: bool = True
    whitespace: bool = True


@dataclass(frozen=True)
class FilterSettings:
    """Filters, in the order of FILTERS in clean/filters.py. 0 or false switches a filter off.

    max_characters: reject a pair with a longer source or target (too_long).
    damaged: reject a text with lost characters (U+FFFD) or mojibake that cannot be repaired.
    punctuation_only: reject a pair if one side has no letter or digit.
    copy: reject a pair whose target equals its source except for case, spaces and punctuation.
    scripts: reject a side that has letters, but none in the script of its language (wrong_script), and pairs whose sides are
        interchanged (swapped). If both languages use the same script, interchanged sides are found by language_confidence.
    repetition: reject a side if one repeated unit of up to 20 characters makes up more than this share.
    boilerplate: reject navigation, cookie and copyright lines, and bare URLs.
    length_ratio: reject a pair if the longer side is more than this many times as long as the shorter one. Lengths are in characters;
        a Han, kana or hangul character counts as `wide_character_weight`.
    min_ratio_characters: length_ratio does not apply if the longer side has at most this many characters.
    wide_character_weight: number of Latin letters that carry as much content as one Chinese character.
    placeholder_mismatch: reject a pair if source and target have different placeholders.
    language_confidence: reject a text (wrong_language) if the language model gives another language more than this probability,
        from 0.5 to 1. Short texts need more (clean/language.py).
    chinese_variant: for a side in zh, `simplified` or `traditional` rejects texts in the other variant, and `any` rejects none.
        Written Cantonese counts as another language (yue); language_confidence rejects it.
    max_length_deviation: reject a pair (length_unlikely) if the target length differs by more than this many standard deviations
        from the length expected in this corpus.
    truncated: reject a pair that is this many times more likely to have a truncated target than to be a real pair.
        Learned from the corpus itself (clean/evidence.py).
    misaligned: reject a pair that is this many times more likely to have the target of another row than to be a real pair.
        Learned from the corpus itself (clean/evidence.py).
    """

    max_characters: int = 500
    damaged: bool = True
    punctuation_only: bool = True
    copy: bool = True
    scripts: bool = True
    repetition: float = 0.5
    boilerplate: bool = True
    length_ratio: float = 4.0
    min_ratio_characters: int = 12
    wide_character_weight: float = 2.0
    placeholder_mismatch: bool = True
    language_confidence: float = 0.5
    chinese_variant: Literal["any", "simplified", "traditional"] = "any"
    max_length_deviation: float = 4.5
    truncated: float = 50.0
    misaligned: float = 12.0

    def __post_init__(self) -> None:
        for name in ("max_characters", "min_ratio_characters", "max_length_deviation", "truncated", "misaligned"):
            require(getattr(self, name) >= 0, f"{name}: must be 0 (off) or more.")
        require(0 <= self.repetition < 1, "repetition: must be 0 (off) or more, and below 1.")
        require(self.length_ratio == 0 or self.length_ratio >= 1, "length_ratio: must be 0 (off), or 1 or more.")
        require(self.wide_character_weight > 0, "wide_character_weight: must be above 0.")
        require(
            self.language_confidence == 0 or 0.5 <= self.language_confidence <= 1, "language_confidence: must be 0 (off), or from 0.5 to 1."
        )

    def learns(self) -> bool:
        """Return whether a learned filter is on, which must be fitted to the corpus first."""
        return max(self.max_length_deviation, self.truncated, self.misaligned) > 0


@dataclass(frozen=True)
class PrivacySettings:
    """Action for each kind of private data (clean/privacy.py). `mask` replaces it by <KIND> on both sides. `drop` rejects the pair
    (reason private_KIND). `keep` leaves it and does not count it.

    email: email addresses.
    phone: phone numbers with a country code, or in the format of North America or China.
    ip_address: IPv4 and IPv6 addresses, except loopback, private IPv4 and similar addresses.
    credit_card: card numbers with a valid check digit, or written in groups of four.
    national_id: Chinese identity numbers and United States social security numbers.
    iban: bank account numbers with valid check digits.
    url_credentials: user name and password in a URL.
    api_key: keys and tokens of well-known services.
    """

    email: PrivacyAction = "mask"
    phone: PrivacyAction = "mask"
    ip_address: PrivacyAction = "mask"
    credit_card: PrivacyAction = "mask"
    national_id: PrivacyAction = "mask"
    iban: PrivacyAction = "mask"
    url_credentials: PrivacyAction = "mask"
    api_key: PrivacyAction = "mask"

    def actions(self) -> dict[str, str]:
        """Return kind to action, in the order of the fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class CleanSettings:
    """Settings of the stage clean. docs/cleaning.md says which settings suit which task.

    duplicates: `pair` keeps one of several equal pairs, `source` keeps one pair per source, `none` keeps all.
    near_duplicates: also remove pairs that are equal except for case, punctuation and spaces, or whose character 3-grams have at
        least this Jaccard similarity. 0 switches this off.
    evidence_rows: fit the learned filters to at most this many pairs. The pairs with the smallest content hashes are taken.
    workers: number of processes. 1 uses the process of the stage; more start local workers. The output has the same bytes.
    scheduler: address of a Dask scheduler (tcp://host:port) whose workers are used instead. Empty: this machine. The scheduler is
        trusted: anyone who can reach it can run code in its workers and in this stage (SECURITY.md).
    """

    repairs: RepairSettings = RepairSettings()
    filters: FilterSettings = FilterSettings()
    privacy: PrivacySettings = PrivacySettings()
    duplicates: Literal["pair", "source", "none"] = "pair"
    near_duplicates: float = 0.95
    evidence_rows: int = 100_000
    workers: int = 1
    scheduler: str = ""

    def __post_init__(self) -> None:
        require(self.near_duplicates == 0 or 0.5 <= self.near_duplicates <= 1, "near_duplicates: must be 0 (off), or from 0.5 to 1.")
        require(self.evidence_rows >= 1000, "evidence_rows: must be 1000 or more.")
        require(self.workers >= 1, "workers: must be 1 or more.")
        require(self.scheduler == "" or "://" in self.scheduler, "scheduler: must be an address such as tcp://host:8786, or empty.")


def settings_of(clean: CleanSettings, tasks: Tasks, name: str) -> CleanSettings:
    """Return the settings of a task: those of all tasks, without what makes no sense for its kind, with its own differences.

    Raises UserError for a wrong setting of the task.
    """
    task, kind = tasks[name], tasks[name].special
    of_kind = replace(
        clean,
        duplicates=kind.duplicates if clean.duplicates == "pair" else clean.duplicates,
        near_duplicates=clean.near_duplicates if kind.near_duplicates else 0.0,
    )
    off = {"repairs": kind.repairs_off, "filters": kind.filters_off}
    return settings_of_task(of_kind, task.clean, off, f"tasks.{name}.clean")
