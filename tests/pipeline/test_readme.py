"""The block "Your own text" of the READMEs, as it stands there, on a few hundred pairs."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_pipeline import DVC, change, make_clone, run

from textmill.base.files import read_json
from textmill.settings.tree import check_settings

VERBS = {"open": "öffnet", "close": "schließt", "move": "bewegt", "paint": "bemalt", "find": "findet", "draw": "zeichnet"}
PEOPLE = {
    "teacher": "Der Lehrer",
    "child": "Das Kind",
    "painter": "Der Maler",
    "woman": "Die Frau",
    "farmer": "Der Bauer",
    "guest": "Der Gast",
}
THINGS = {
    "door": "die Tür",
    "window": "das Fenster",
    "box": "die Kiste",
    "letter": "den Brief",
    "garden": "den Garten",
    "table": "den Tisch",
}
DAYS = {"today": "heute", "on Monday": "am Montag"}


def own_settings(readme: Path) -> dict[str, Any]:
    """The settings that the README tells its reader to change."""
    (block,) = re.findall(r"```yaml\n((?:   .*\n)*?.*mine\.tsv(?:.*\n)*?)   ```", readme.read_text(encoding="utf-8"))
    settings: dict[str, Any] = YAML(typ="safe").load(re.sub(r"^   ", "", block, flags=re.MULTILINE))
    return settings


def apply(params: dict[str, Any], readme: Path) -> None:
    for section, values in own_settings(readme).items():
        params[section] |= values


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_settings_that_the_readme_shows_are_valid_and_name_the_model_after_its_languages(name: str) -> None:
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    apply(params, Path(name))
    check_settings(params)
    assert (params["tasks"]["translate"]["target_language"], params["export"]["name"]) == ("de", "auto")


@pytest.mark.slow
def test_three_hundred_pairs_get_as_far_as_training_with_the_settings_of_the_readme(tmp_path: Path) -> None:
    clone = make_clone(tmp_path)
    defaults = Path("params.yaml").read_bytes()
    (clone / "params.yaml").write_bytes(defaults)
    change(clone, lambda params: apply(params, Path("README.md")))
    rows = [
        f"The {person} will {verb} the {thing} {day}.\t{PEOPLE[person]} {VERBS[verb]} {DAYS[day]} {THINGS[thing]}.\n"
        for person, verb, thing, day in list(product(PEOPLE, VERBS, THINGS, DAYS))[:300]
    ]
    (clone / "data/raw/mine.tsv").write_text("source\ttarget\n" + "".join(rows), encoding="utf-8")
    done = run(clone, *DVC, "repro", "encode", TEXTMILL_TRACKING="off")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert read_json(clone / "data/tokenizer/metrics.json")["vocabulary_size"] > 276
