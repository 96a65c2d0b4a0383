from __future__ import annotations

from pathlib import Path

import pytest

from textmill.back_translate.settings import MonolingualSettings
from textmill.base.errors import UserError
from textmill.collect.settings import SourceSettings
from textmill.pipeline.watched import require_watched


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/raw with a file, a folder, a link to a file, and a link to a folder; and a folder outside it."""
    project, outside = tmp_path / "project", tmp_path / "outside"
    for folder in (project / "data/raw/deep", project / "data/other", outside):
        folder.mkdir(parents=True)
        for name in ("x.tsv", "x.en", "x.zh", "x.po"):
            (folder / name).write_text("source\ttarget\na\tb\n")
    (project / "data/raw/linked").symlink_to(outside)
    (project / "data/raw/file.tsv").symlink_to(outside / "x.tsv")
    monkeypatch.chdir(project)
    return project


WATCHED = [
    "data/raw/file.tsv",
    "data/raw/deep/x.tsv",
    "./data/raw/deep/x.tsv",
    "data/raw/**/*.tsv",
    "data/raw/d*/x.tsv",
    "data/raw/gone.tsv",
    "data/raw/[.tsv",
]
UNWATCHED = [
    ("/etc/hostname", "is outside data/raw"),
    ("data/other/x.tsv", "is outside data/raw"),
    ("data/raw/../other/x.tsv", "is outside data/raw"),
    ("data/raw/linked/../../other/x.tsv", "is outside data/raw"),
    ("../outside/*.tsv", "is outside data/raw"),
    ("data/*/x.tsv", "is outside data/raw"),
    ("**/*.tsv", "is outside data/raw"),
    ("data/rawer/x.tsv", "is outside data/raw"),
    ("file:///etc/hostname", "is outside data/raw"),
    ("http://127.0.0.1:8080/x.tsv", "is outside data/raw"),
    ("http://169.254.169.254/latest/meta-data/", "is outside data/raw"),
    ("https://example.org/x.tsv", "is outside data/raw"),
    ("data/raw/linked/x.tsv", "leads through 'data/raw/linked', a link to a folder"),
    ("data/raw/*/x.tsv", "leads through 'data/raw/linked', a link to a folder"),
    ("data/raw/linked/*.tsv", "leads through 'data/raw/linked', a link to a folder"),
    ("data/raw/linked/later.tsv", "leads through 'data/raw/linked', a link to a folder"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("path", WATCHED)
def test_what_dvc_watches_passes(path: str) -> None:
    require_watched("collect", [SourceSettings("tsv", path=path)])


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("path", "problem"), UNWATCHED)
def test_a_source_that_dvc_does_not_watch_is_refused_in_one_line(path: str, problem: str) -> None:
    good = SourceSettings("gettext", path="data/raw/deep/x.po")
    wheel = SourceSettings("gettext", wheel="a==1", sha256="0" * 64)
    cases = {
        "collect.sources[2].path": [good, wheel, SourceSettings("tsv", path=path)],
        "collect.sources[1].path": [good, SourceSettings("gettext", path=path)],
        "collect.sources[0].target_path": [SourceSettings("lines", path="data/raw/deep/x.en", target_path=path)],
        "collect.sources[0].path": [MonolingualSettings(path)] if path.count("*") <= 1 else [SourceSettings("tsv", path=path)],
    }
    for key, sources in cases.items():
        with pytest.raises(UserError) as error:
            require_watched("collect", sources)
        assert str(error.value).startswith(f"params.yaml: {key}: {path!r} {problem}, so DVC") and "\n" not in str(error.value)


def test_data_raw_itself_may_be_a_link_to_another_disk(project: Path) -> None:
    (project / "data/raw").rename(project / "elsewhere")
    (project / "data/raw").symlink_to(project / "elsewhere")
    require_watched("collect", [SourceSettings("tsv", path="data/raw/deep/x.tsv")])
