"""Section evaluate of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require


@dataclass(frozen=True)
class EvaluateSettings:
    """Evaluation on the test set.

    bootstrap_samples: number of bootstrap resamplings of the test set for each interval and comparison (Koehn 2004).
    """

    bootstrap_samples: int = 1000

    def __post_init__(self) -> None:
        require(self.bootstrap_samples >= 100, "bootstrap_samples: must be 100 or more.")
