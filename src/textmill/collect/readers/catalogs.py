"""Read gettext catalogs, single files or those of a wheel."""

from __future__ import annotations

import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import polib

from textmill.base.errors import UserError
from textmill.collect.readers.files import MAX_WHOLE_BYTES, SourceFile, read_whole, shown, whole_text
from textmill.collect.readers.row import Found, Reading, Row, Skipped

# Names of the folder with the catalogs of a language. For other languages it is the code, or the code and the country.
_FOLDERS = {"zh": {"zh", "zh_CN", "zh-CN", "zh_Hans", "zh-Hans", "zh_Hans_CN"}}
# polib ends a line at each of these, but in a catalog only "\n" ends a line. They are replaced by lone surrogates while polib reads.
_ODD_LINE_ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_ASIDE = {ord(character): 0xDC00 + index for index, character in enumerate(_ODD_LINE_ENDS)}
_BACK = {code: character for character, code in _ASIDE.items()}
_MO_MAGIC = (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde")
_MO_HEADER_BYTES = 20


def read_gettext(reading: Reading) -> Iterator[Found]:
    """Yield message and translation of every translated entry of a .po or .mo file.

    The line is the number of the entry in a .mo file. Fuzzy, obsolete and untranslated entries are skipped.
    An entry with plural forms gives two pairs: the singular with the first form and the plural with the last. If the language has
    only one form, it gives the plural with that form.
    Raises UserError if the file cannot be read.
    """
    last = 1
    for number, entry in enumerate(_catalog(reading.file), start=1):
        last = max(last, getattr(entry, "linenum", None) or number)
        reason = next((reason for reason in ("obsolete", "fuzzy") if _is(entry, reason)), None)
        forms = [entry.msgstr_plural[index] for index in sorted(entry.msgstr_plural)]
        if not forms:
            pairs = [(entry.msgid, entry.msgstr)]
        elif len(forms) == 1:
            pairs = [(entry.msgid_plural, forms[0])]
        else:
            pairs = [(entry.msgid, forms[0]), (entry.msgid_plural, forms[-1])]
        for message, translation in pairs:
            if reason is not None or not message or not translation:
                yield Skipped(last, reason or "untranslated")
            else:
                yield Row(last, message.translate(_BACK), translation.translate(_BACK))


def wheel_catalogs(wheel: Path, language: str, label: str) -> list[SourceFile]:
    """Return the catalogs of a language in a wheel, sorted by name. A .mo file is left out if its .po file is there.

    Raises UserError if the wheel is not a zip file or has no catalog for the language.
    """
    folders = _FOLDERS.get(language, {language, f"{language}_{language.upper()}", f"{language}-{language.upper()}"})
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in sorted(archive.namelist()) if folders & set(PurePosixPath(name).parts[:-1])]
            found = [name for name in names if name.endswith(".po")]
            found += [name for name in names if name.endswith(".mo") and f"{name[:-3]}.po" not in found]
            contents = _unpacked(archive, sorted(found), label)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        # These also cover invalid names, unknown compression methods and passwords.
        raise UserError(f"{label}: damaged wheel ({shown(error)}). Remove it from data/wheels and run again.") from None
    files = [SourceFile(f"{label}/{shown(name)}", wheel, content) for name, content in contents.items()]
    if not files:
        raise UserError(f"{label}: contains no catalog for language {language}. Remove it from collect.sources.")
    return files


def _unpacked(archive: zipfile.ZipFile, names: Sequence[str], label: str) -> dict[str, bytes]:
    """Return the content of members by name.

    The limit is on the bytes that were actually decompressed, because the sizes that the archive states cannot be trusted.
    Raises UserError above 256 MiB in total.
    """
    contents: dict[str, bytes] = {}
    left = MAX_WHOLE_BYTES
    for name in names:
        with archive.open(name) as member:
            contents[name] = member.read(left + 1)
        left -= len(contents[name])
        if left < 0:
            raise UserError(
                f"{label}: its catalogs unpack to more than {MAX_WHOLE_BYTES >> 20} MiB at {shown(name)}. Remove it from collect.sources."
            )
    return contents


def _is(entry: polib.POEntry, reason: str) -> bool:
    return bool(entry.obsolete) if reason == "obsolete" else reason in entry.flags


def _catalog(file: SourceFile) -> list[polib.POEntry]:
    content = read_whole(file)
    try:
        if content[:4] in _MO_MAGIC:
            _require_honest(file, content)
            with tempfile.NamedTemporaryFile(suffix=".mo") as temporary:  # polib reads .mo files only from a path
                temporary.write(content)
                temporary.flush()
                return list(polib.mofile(temporary.name))
        text = whole_text(file, content).replace("\r\n", "\n").translate(_ASIDE)
        return list(polib.pofile(text + "\n"))  # with a line end, polib cannot take it for a file name
    except UserError:
        raise
    except Exception as error:  # polib raises struct.error and others on damaged .mo files
        reason = shown(f"{type(error).__name__}: {error}")[:200]
        raise UserError(f"{file.name}: not a readable gettext catalog ({reason}). Correct or remove it.") from None


def _require_honest(file: SourceFile, content: bytes) -> None:
    """Raise UserError if the entries of a .mo file are longer in total than the file.

    Entries can point to the same text, so a file of 2 MB can expand to 60 GB.
    The header is magic number, revision, number of texts, and the offsets of two tables of (length, offset).
    """
    order = "<" if content[:4] == _MO_MAGIC[0] else ">"
    problem = "is cut"
    if len(content) >= _MO_HEADER_BYTES:
        _, _, count, *tables = struct.unpack_from(f"{order}5I", content)
        if all(start + 8 * count <= len(content) for start in tables):
            lengths = [np.frombuffer(content, f"{order}u4", 2 * count, start)[::2].sum(dtype=np.uint64) for start in tables]
            problem = "its entries are longer than the file" if sum(map(int, lengths)) > len(content) else ""
    if problem:
        raise UserError(f"{file.name}: not a readable gettext catalog ({problem}). Correct or remove it.")
