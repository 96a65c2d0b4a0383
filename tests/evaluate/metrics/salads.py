"""Generated texts with overlaps, for comparisons with reference implementations."""

from __future__ import annotations

import random

from textmill.evaluate.metrics.interface import Predictions

ENGLISH = "the a an cat Cat running runs runner on mat. mats, The house's houses! 42 3.5 well-known U.S. quickly blue happily happy -- (red)".split()
CHINESE = "我 们 在 北 京 的 公 园 ， 。 2018年 OpenAI 《 书 》 3.5% 看 见 了 、 狗 猫 …… ABC公司 “ ” -".split()
ROWS = 240


def salad(language: str, seed: int, rows: int = ROWS, references: int = 2) -> Predictions:
    """Word salads whose outputs share words with the 1 to `references` references of their row. Some outputs are right or empty."""
    generator = random.Random(seed)
    words, between = (CHINESE, "") if language == "zh" else (ENGLISH, " ")

    def text(low: int, high: int) -> list[str]:
        return [generator.choice(words) for _ in range(generator.randint(low, high))]

    sources, outputs, wanted = [], [], []
    for _ in range(rows):
        source = text(8, 30)
        begin = generator.randrange(len(source) - 4)
        reference = source[begin : begin + generator.randint(1, 9)] + text(0, 2)
        kind = generator.random()
        changed = [word if generator.random() < 0.7 else generator.choice(words) for word in reference[generator.randint(0, 1) :]]
        outputs.append(between.join(reference if kind < 0.15 else [] if kind < 0.18 else changed))
        sources.append(between.join(source))
        others = [between.join(text(1, 6)) for _ in range(generator.randint(0, references - 1))]
        wanted.append((between.join(reference), *others))
    return Predictions(sources, outputs, wanted, training_texts=[between.join(text(3, 30)) for _ in range(60)])
