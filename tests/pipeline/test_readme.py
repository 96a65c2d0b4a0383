"""The code blocks of the READMEs, run as they stand there, on three hundred pairs of the reader's own text."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from test_pipeline import DVC, make_clone, run

from textmill.base.files import read_json
from textmill.settings.tree import check_settings, with_defaults

# Four slots of a sentence, English:German. Two sentences share one word at most, so few are near-copies of each other.
SLOTS = [
    "My sister:Meine Schwester,Our neighbour:Unser Nachbar,The painter:Der Maler,A policeman:Ein Polizist,Everybody:Jeder,The guests:Die Gäste,"
    "Grandmother:Großmutter,His boss:Sein Chef,No child:Kein Kind,The butcher:Der Metzger,Two nurses:Zwei Pflegerinnen,Your friend:Dein Freund,"
    "The mayor:Der Bürgermeister,An old sailor:Ein alter Matrose,Nobody:Niemand,The judge:Die Richterin,Her cousin:Ihr Vetter",
    "buys:kauft,will repair:repariert,has forgotten:vergisst,sells:verkauft,describes:beschreibt,wants to see:sieht,hides:versteckt,loves:liebt,"
    "is washing:wäscht,never uses:benutzt nie,brings:bringt,has stolen:stiehlt,throws away:wirft weg,borrowed:borgt,praises:lobt,counts:zählt,"
    "must find:findet",
    "the bicycle:das Fahrrad,seven apples:sieben Äpfel,a warm jacket:eine warme Jacke,this picture:dieses Bild,the kitchen knife:das Küchenmesser,"
    "fresh bread:frisches Brot,your umbrella:deinen Regenschirm,the wooden ladder:die Holzleiter,some flowers:einige Blumen,an engine:einen Motor,"
    "the long letter:den langen Brief,her glasses:ihre Brille,black coffee:schwarzen Kaffee,the dictionary:das Wörterbuch,my keys:meine Schlüssel,"
    "old coins:alte Münzen,the guitar:die Gitarre",
    "in the garden:im Garten,after lunch:nach dem Mittagessen,at the station:am Bahnhof,on Monday:am Montag,behind the church:hinter der Kirche,"
    "every winter:jeden Winter,without help:ohne Hilfe,near the river:am Fluss,before midnight:vor Mitternacht,under the bridge:unter der Brücke,"
    "for his family:für seine Familie,with great care:mit großer Sorgfalt,in Berlin:in Berlin,during the holidays:in den Ferien,"
    "from the balcony:vom Balkon,at school:in der Schule,next to the bakery:neben der Bäckerei",
]
ROWS = 300
READMES = ("README.md", "README.zh-CN.md")
# `make setup` installs from a registry, and `textmill repro` takes half an hour: here it does nothing before there is text of the
# reader's own, and then goes as far as the encoded corpus.
_STUBS = {
    "make": "#!/bin/sh\n",
    "textmill": f"""#!/bin/sh
[ "$1" != repro ] && exec {sys.executable} -m textmill "$@"
echo "$1" >>.git/repros
grep -q mine.tsv params.yaml || exit 0
exec {sys.executable} -m dvc repro encode
""",
}


def blocks(name: str) -> list[tuple[str, str]]:
    """The code blocks of a page, as (language, text)."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", Path(name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found]


def own_rows() -> Iterator[str]:
    slots = [[word.split(":") for word in slot.split(",")] for slot in SLOTS]
    assert {len(slot) for slot in slots} == {17}, "a prime, so that two rows agree in one of the slots 0, 1, 2, 3 at most"
    for row in range(ROWS):
        first, second = divmod(row, 17)
        words = [slot[(first + times * second) % 17] for times, slot in enumerate(slots)]
        yield f"{' '.join(english for english, _ in words)}.\t{' '.join(german for _, german in words)}.\n"


def test_the_blocks_are_the_same_in_both_languages() -> None:
    english, chinese = (
        [(language, re.sub(r"\s*#.*$", "", text, flags=re.MULTILINE)) for language, text in blocks(name)] for name in READMES
    )
    chinese = [(language, text.replace("名称", "NAME").replace("地址", "ADDRESS")) for language, text in chinese]
    assert english == chinese and {language for language, _ in english} == {"sh", "yaml", "python"}


@pytest.mark.parametrize("name", READMES)
def test_the_params_yaml_of_the_readme_is_short_and_valid_and_names_the_model_after_its_languages(name: str) -> None:
    (text,) = [text for language, text in blocks(name) if language == "yaml"]
    assert text.count("\n") <= 10
    params = YAML(typ="safe").load(text)
    check_settings(params)
    assert (params["tasks"]["translate"]["target_language"], with_defaults(params)["export"]["name"]) == ("de", "auto")


@pytest.mark.pipeline
def test_every_block_runs_as_it_stands_and_three_hundred_pairs_get_as_far_as_training(tmp_path: Path, model_folder: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    bin_folder = clone / ".venv/bin"
    bin_folder.mkdir(parents=True)
    for name, text in _STUBS.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    (bin_folder / "activate").write_text(f'PATH="{bin_folder}:$PATH"\n')
    (clone / "data/raw/mine.tsv").write_text("source\ttarget\n" + "".join(own_rows()), encoding="utf-8")
    shutil.copytree(model_folder, clone / "models/export/int8")  # the blocks at the end use the exported model
    for language, text in blocks("README.md"):
        if language == "yaml":
            (clone / "params.yaml").write_text(text, encoding="utf-8")
            continue
        command = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", f". .venv/bin/activate\n{text}"]
        if "source .venv" in text:
            command = ["bash", "-ec", f'PATH="{bin_folder}:$PATH"\n{text}']
        done = run(clone, *command, TEXTMILL_TRACKING="off")
        assert done.returncode == 0, (text, done.stdout[-2000:], done.stderr[-2000:])
        if "int8" in text:
            assert done.stdout.count("\n") == 1, "one output"
    assert (clone / ".git/repros").read_text() == "repro\n" * 2
    done = run(clone, "sh", "-ec", ". .venv/bin/activate; textmill repro", TEXTMILL_TRACKING="off")  # step 3, in the text
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert read_json(clone / "data/tokenizer/metrics.json")["vocabulary_size"] > 276
    assert read_json(clone / "data/preflight/settings.json")["train"]["warmup_steps"] == "auto"
    assert read_json(clone / "data/encode/metrics.json")["pairs"] > 150
    again = run(clone, *DVC, "repro", "encode", TEXTMILL_TRACKING="off")
    assert again.returncode == 0 and "Running stage" not in again.stdout
