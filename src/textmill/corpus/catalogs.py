"""Gettext catalogs, alone or inside a wheel."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import polib

from textmill.errors import UserError

# Folders that a language's catalogs are found in; others have the code, or the code and its country.
_FOLDERS = {"zh": {"zh", "zh_CN", "zh-CN", "zh_Hans", "zh-Hans", "zh_Hans_CN"}}


def catalog_entries(name: str, content: bytes) -> Iterator[tuple[int, str, str]]:
    """Line (in a .mo file: number), message and translation of every translated entry of a .po or .mo file.

    Fuzzy and obsolete entries are left out. Of an entry with plural forms the singular goes with the first form and the
    plural with the last; a language with one form has no word for the singular alone, so there only the plural is taken.
    Raises UserError if the file cannot be read.
    """
    for number, entry in enumerate(_catalog(name, content), start=1):
        if entry.obsolete or "fuzzy" in entry.flags:
            continue
        line = getattr(entry, "linenum", None) or number
        forms = [entry.msgstr_plural[index] for index in sorted(entry.msgstr_plural)]
        if not forms:
            pairs = [(entry.msgid, entry.msgstr)]
        elif len(forms) == 1:
            pairs = [(entry.msgid_plural, forms[0])]
        else:
            pairs = [(entry.msgid, forms[0]), (entry.msgid_plural, forms[-1])]
        for message, translation in pairs:
            if message and translation:
                yield line, message, translation


def wheel_catalogs(wheel: Path, language: str, label: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of a language's catalogs in a wheel, sorted by name; .po files where there are, else .mo.

    Raises UserError if the wheel is no zip file or holds no such catalog.
    """
    folders = _FOLDERS.get(language, {language, f"{language}_{language.upper()}", f"{language}-{language.upper()}"})
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in sorted(archive.namelist()) if folders & set(PurePosixPath(name).parts[:-1])]
            found = [name for name in names if name.endswith(".po")]
            found += [name for name in names if name.endswith(".mo") and f"{name[:-3]}.po" not in found]
            contents = [(name, archive.read(name)) for name in sorted(found)]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise UserError(f"{label}: damaged wheel ({error}). Remove it from data/wheels and run again.") from None
    if not contents:
        raise UserError(f"{label}: holds no catalog for language {language}. Remove it from collect.sources.")
    yield from contents


def _catalog(name: str, content: bytes) -> list[polib.POEntry]:
    try:
        if name.endswith(".mo"):
            with tempfile.NamedTemporaryFile(suffix=".mo") as file:  # polib reads .mo from a path only
                file.write(content)
                file.flush()
                return list(polib.mofile(file.name))
        return list(polib.pofile(content.decode("utf-8-sig")))
    except (OSError, ValueError, UnicodeDecodeError, IndexError, MemoryError) as error:
        raise UserError(f"{name}: not a gettext catalog in UTF-8 ({error}). Mend or remove it.") from None
    except Exception as error:  # polib lets struct.error and others through on damaged .mo files
        raise UserError(f"{name}: damaged gettext catalog ({type(error).__name__}: {error}). Mend or remove it.") from None
