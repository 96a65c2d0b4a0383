"""Read translation memories in TMX 1.1 to 1.4b as a stream, safely for malicious files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.parsers import expat

from textmill.base.errors import UserError
from textmill.collect.readers.columns import too_long
from textmill.collect.readers.files import opened, shown
from textmill.collect.readers.row import Bad, Found, Reading, Row, Skipped

_CHUNK_BYTES = 1 << 16
_CODES = {"bpt", "ept", "it", "ph", "ut"}  # a translation tool puts these in place of markup; they are not text


def read_tmx(reading: Reading) -> Iterator[Found]:
    """Yield one row per translation unit: its segments in the two languages of the task. `zh-CN` counts as `zh`.

    If a unit has several segments in one language, the first is used. Inline codes of tools (bpt, ept, it, ph, ut) are removed;
    highlighted text is kept.
    Raises UserError if the file is not well-formed or declares an entity. External entities are never loaded.
    """
    memory = _Memory(reading)
    try:
        with opened(reading.file) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                memory.feed(chunk)
                yield from memory.taken()
        memory.parser.Parse(b"", True)
    except expat.ExpatError as error:
        problem = f"not well-formed XML ({expat.ErrorString(error.code)}). Correct the file, or download it again."
        raise UserError(f"{reading.file.name}:{error.lineno}: {problem}") from None
    except (ValueError, LookupError) as error:  # pyexpat raises these for an unknown encoding
        raise UserError(f"{reading.file.name}: not readable as XML ({shown(error)}). Convert it to UTF-8.") from None
    yield from memory.taken()


class _Memory:
    """Handlers for expat, and the rows they have found."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.found: list[Found] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._unknown_entity
        self.fed = self.depth = self.codes = self.line = 0
        self.language: str | None = None
        self.segment: list[str] | None = None
        self.segments: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.size = 0
        self.bad: Bad | None = None

    def feed(self, chunk: bytes) -> None:
        self.parser.Parse(chunk, False)
        self.fed += len(chunk)
        if self.fed - self.parser.CurrentByteIndex > self.reading.max_row_bytes + 2 * _CHUNK_BYTES:
            raise UserError(f"{self.reading.file.name}:{self.parser.CurrentLineNumber}: a tag without an end. Correct the file.")

    def taken(self) -> list[Found]:
        found, self.found = self.found, []
        return found

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self.depth == 0 and name != "tmx":
            raise UserError(f"{self.reading.file.name}: not TMX: its outermost element is '{shown(name[:40])}'. Correct the format.")
        self.depth += 1
        if name == "tu":
            self.line, self.segments, self.size, self.bad = self.parser.CurrentLineNumber, {}, 0, None
            self.counts.clear()
        elif name == "tuv":
            language = attributes.get("xml:lang", attributes.get("lang", ""))
            self.language = language.replace("_", "-").partition("-")[0].lower()
        elif name == "seg":
            self.segment, self.codes = [], 0
        elif name in _CODES:
            self.codes += 1

    def _end(self, name: str) -> None:
        self.depth -= 1
        if name in _CODES:
            self.codes -= 1
        elif name == "seg" and self.segment is not None and self.language is not None:
            self.segments.setdefault(self.language, "".join(self.segment))
            self.counts[self.language] += 1
            self.segment = None
        elif name == "tuv":
            self.language = None
        elif name == "tu":
            self._unit()

    def _unit(self) -> None:
        wanted = (self.reading.source_language, self.reading.target_language)
        if self.bad is not None:
            self.found.append(self.bad)
        elif any(language not in self.segments for language in wanted):
            self.found.append(Skipped(self.line, "language_missing"))
        else:
            source, target = (self.segments[language] for language in wanted)
            self.found.append(Row(self.line, source, target))
            further = sum(self.counts[language] - 1 for language in wanted)
            self.found += [Skipped(self.line, "further_variant")] * further

    def _text(self, text: str) -> None:
        if self.segment is None or self.codes:
            return
        self.size += len(text)
        if self.size > self.reading.max_row_bytes:
            self.bad = too_long(self.line, self.reading)
        else:
            self.segment.append(text)

    def _entity(self, name: str, *_: object) -> None:
        raise UserError(f"{self.reading.file.name}: declares the entity '{shown(name[:40])}', which TMX does not need. Remove its DOCTYPE.")

    def _unknown_entity(self, name: str, is_parameter: bool) -> None:
        if self.segment is not None and not is_parameter:
            problem = f"entity '{shown(name[:40])}' is not known in XML. Write the character itself."
            self.bad = Bad(self.line, "unknown_entity", problem)
