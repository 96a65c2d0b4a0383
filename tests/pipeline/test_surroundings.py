"""The data stages give the same bytes in any process environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from test_pipeline import toy_settings
from toy import PAIRS

_PROGRAM = """
import hashlib, json, os, sys
from pathlib import Path
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.plans import plans_of
from textmill.collect.sources import collect_sources
from textmill.split.splitting import split_corpus
from textmill.settings.schema import build
from textmill.settings.tree import SECTIONS, built
from textmill.base.tables import DEVELOPMENT_SCHEMA, PAIR_SCHEMA, read_table, write_table
from textmill.tokenizer.tokenizer import fit_tokenizer
os.umask(int(sys.argv[1], 8))
params = json.loads(Path("params.json").read_text(encoding="utf-8"))
settings = {name: built(SECTIONS[name], params[name], name) for name in ("tasks", "collect", "clean", "split", "tokenizer")}
out = Path(sys.argv[2])
out.mkdir()
collect_sources(settings["collect"], settings["tasks"], out, out / "collected.parquet")
outputs = Outputs(out / "clean.parquet", out / "rejected.parquet", out / "samples.json")
clean_corpus(out / "collected.parquet", outputs, settings["clean"], plans_of(settings["clean"], settings["tasks"]))
split = split_corpus(read_table(out / "clean.parquet"), settings["split"], 1)
write_table(out / "development.parquet", split.development, DEVELOPMENT_SCHEMA)
write_table(out / "test.parquet", split.test, PAIR_SCHEMA)
tokenizer = fit_tokenizer(split.development["source"].tolist(), split.development["target"].tolist(), settings["tokenizer"])
tokenizer.save(out / "tokenizer.model")
print(json.dumps({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}))
"""
ENVIRONMENTS = [
    ("022", {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC", "OMP_NUM_THREADS": "1"}),
    ("077", {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Shanghai", "OMP_NUM_THREADS": "2"}),
    ("002", {"PYTHONHASHSEED": "random", "LC_ALL": "C.UTF-8", "TZ": "America/St_Johns", "OMP_NUM_THREADS": "8", "PYTHONUTF8": "0"}),
]


@pytest.mark.slow
def test_hash_seed_locale_time_zone_umask_and_threads_change_no_byte_of_the_data(tmp_path: Path) -> None:
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    toy_settings(params)
    rows = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/toy.tsv").write_text("source\ttarget\n" + rows, encoding="utf-8")
    (tmp_path / "params.json").write_text(json.dumps(params), encoding="utf-8")
    root = Path.cwd()
    found = []
    for number, (umask, environment) in enumerate(ENVIRONMENTS):
        settings = {**os.environ, "PYTHONPATH": f"{root / 'src'}", **environment}
        command = [sys.executable, "-c", _PROGRAM, umask, str(number)]
        done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert len(json.loads(found[0])) == 7
    assert found[0] == found[1] == found[2]
