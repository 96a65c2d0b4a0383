"""Section clean of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from textmill.settings.schema import require

PrivacyAction = Literal["mask", "drop", "keep"]


@dataclass(frozen=True)
class RepairSettings:
    """What is mended, on both sides, in the order of REPAIRS in clean/repairs.py; each can be switched off.

    markup: known HTML tags go, unless both sides hold the same ones: then they are content.
    entities: HTML entities become their characters; &lt; and &gt; stay where both sides hold the same number.
    mojibake: UTF-8 that was read in another encoding (ftfy, without its folding of widths and quotes).
    invisible: control, format, private-use and unassigned characters go; joiners of emoji and Indic scripts stay.
    full_width: full-width letters and digits become ASCII everywhere, full-width punctuation and wide spaces in texts without
        Chinese or Japanese characters.
    chinese_punctuation: half-width , ; : ? ! right behind a Han character become full-width. Off by default: it changes style, not damage.
    composition: Unicode normalization form C.
    whitespace: one space for a run of them, none at the ends of lines, at most one empty line.
    """

    markup: bool
    entities: bool
    mojibake: bool
    invisible: bool
    full_width: bool
    chinese_punctuation: bool
    composition: bool
    whitespace: bool


@dataclass(frozen=True)
class FilterSettings:
    """What is rejected, in the order of FILTERS in clean/filters.py. 0 or false switches a filter off.

    max_characters: a longer source or target is rejected (too_long).
    damaged: reject a text that lost characters (U+FFFD) or is mojibake that no repair can undo.
    punctuation_only: reject a side without a letter or digit.
    copy: reject a pair whose target equals its source but for case and punctuation.
    scripts: reject a side that has letters, but none of its language's script (wrong_script), and pairs whose sides are in each
        other's script or language (swapped; for languages of one script it needs language_confidence).
    repetition: a side of which more than this share is one unit of up to 20 characters repeated is rejected.
    boilerplate: reject navigation, cookie and copyright lines and bare addresses.
    length_ratio: longer side over shorter side, in characters, a Han, kana or hangul character counting as
        `wide_character_weight` others; not asked of sides of at most `min_ratio_characters`.
    min_ratio_characters: sides up to this length say nothing about a ratio.
    wide_character_weight: Latin letters that say as much as one Chinese character.
    placeholder_mismatch: reject a pair whose target does not hold the placeholders of its source.
    language_confidence: how sure the language model must be of another language before a long text is rejected
        (wrong_language), from 0.5 to 1; shorter texts need more (clean/language.py).
    chinese_variant: for a side in zh: `simplified` or `traditional` rejects texts written in the other way, `any` rejects none.
        Written Cantonese is another language (yue) and falls to language_confidence.
    max_length_deviation: a target whose length is further from what its source lets expect in this corpus, in
        standard deviations, is rejected (length_unlikely).
    truncated, misaligned: reject when a pair is this many times more like a pair with a cut target, or with the target of
        another row, than like a real one; learned from the corpus itself (clean/evidence.py).
    """

    max_characters: int
    damaged: bool
    punctuation_only: bool
    copy: bool
    scripts: bool
    repetition: float
    boilerplate: bool
    length_ratio: float
    min_ratio_characters: int
    wide_character_weight: float
    placeholder_mismatch: bool
    language_confidence: float
    chinese_variant: Literal["any", "simplified", "traditional"]
    max_length_deviation: float
    truncated: float
    misaligned: float

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
        """Whether a filter is on that has to be fitted to the corpus first."""
        return max(self.max_length_deviation, self.truncated, self.misaligned) > 0


@dataclass(frozen=True)
class PrivacySettings:
    """What is done about each kind of private data: `mask` writes <KIND> in its place on both sides, `drop` rejects the pair
    (reason private_KIND), `keep` lets it pass. All are counted but those kept. What counts as which: clean/privacy.py.

    email: addresses of people. phone: numbers as they are written with a country code, in North America and in China.
    ip_address: IPv4 and IPv6, but those that belong to nobody.
    credit_card: numbers with a right check digit. national_id: Chinese identity numbers and United States social security numbers.
    iban: bank accounts with right check digits. url_credentials: a user name and password inside an address. api_key: keys and tokens
        of well-known services.
    """

    email: PrivacyAction
    phone: PrivacyAction
    ip_address: PrivacyAction
    credit_card: PrivacyAction
    national_id: PrivacyAction
    iban: PrivacyAction
    url_credentials: PrivacyAction
    api_key: PrivacyAction

    def actions(self) -> dict[str, str]:
        """Kind to action, in the order of the fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class CleanSettings:
    """The stage clean. docs/cleaning.md says which knobs suit which task.

    duplicates: `pair` keeps one of equal pairs, `source` one of equal sources, `none` keeps all.
    near_duplicates: pairs that are equal but for case, punctuation and spaces, or whose 3-grams of characters have at
        least this Jaccard similarity, are duplicates too; 0 searches for none.
    evidence_rows: the learned filters are fitted on at most this many pairs, those with the smallest content hashes.
    workers: processes; 1 is this one, more are started on this machine. It changes no byte of the result.
    scheduler: address of a Dask scheduler (tcp://host:port) whose workers are used instead; empty for this machine. It is trusted:
        whoever can reach it can run code in its workers and in this stage (SECURITY.md).
    """

    repairs: RepairSettings
    filters: FilterSettings
    privacy: PrivacySettings
    duplicates: Literal["pair", "source", "none"]
    near_duplicates: float
    evidence_rows: int
    workers: int
    scheduler: str

    def __post_init__(self) -> None:
        require(self.near_duplicates == 0 or 0.5 <= self.near_duplicates <= 1, "near_duplicates: must be 0 (off), or from 0.5 to 1.")
        require(self.evidence_rows >= 1000, "evidence_rows: must be 1000 or more.")
        require(self.workers >= 1, "workers: must be 1 or more.")
        require(self.scheduler == "" or "://" in self.scheduler, "scheduler: must be an address such as tcp://host:8786, or empty.")
