"""Parses a multipart/form-data body piece by piece, without keeping the data of its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.errors import ApiError
from app.web.errors import closing

MULTIPART = "multipart/form-data"
PART_BYTES = 4096  # per part, for its boundary and headers
NAME_LENGTH = 255
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# RFC 8187, as urllib3 1.x and other clients send a file name that is not ASCII.
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*([\w!#$%&+^`{}~-]*)'[^']*'([^\s;]*)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Part:
    """A part's name and, of a file, the name of the file."""

    name: str
    filename: str | None


Piece = tuple[Part, bytes]


class MultipartBody:
    """`feed` returns what a chunk of the body holds: each part once without data, then the pieces of its data."""

    def __init__(self, content_type: str, max_parts: int) -> None:
        _, options = parse_options_header(content_type)
        if not options.get(b"boundary"):
            raise malformed("The Content-Type lacks its boundary.")
        # The parser refers to the collector and not the reverse: a cycle would keep the pieces until a collection.
        self._collector = collector = _Collector(max_parts)
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": collector.begin,
                    "on_header_field": collector.header_name,
                    "on_header_value": collector.header_value,
                    "on_header_end": collector.header_end,
                    "on_headers_finished": collector.headers_finished,
                    "on_part_data": collector.data,
                    "on_end": collector.end,
                },
            )
        except FormParserError as error:
            raise malformed(f"The multipart body is malformed: {error}") from None

    def feed(self, chunk: bytes) -> list[Piece]:
        """Raises ApiError 400: the body is malformed; 413: it has too many parts."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise malformed(f"The multipart body is malformed: {error}") from None
        pieces, self._collector.pieces = self._collector.pieces, []
        return pieces

    def finish(self) -> None:
        """Raises ApiError 400: the body has ended within a part."""
        if not self._collector.ended:
            raise malformed("The multipart body is cut short.")


class _Collector:
    """Receives the parser's events."""

    def __init__(self, max_parts: int) -> None:
        self.pieces: list[Piece] = []
        self.ended = False
        self._parts_left = max_parts
        self._part = Part("", None)
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""

    def begin(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            message = "The body has too many parts."
            raise closing(ApiError(413, "too_many_parts", message))
        self._headers = {}

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def headers_finished(self) -> None:
        self._part = part_of(self._headers.get(b"content-disposition", b""))
        self.pieces.append((self._part, b""))

    def data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append((self._part, data[start:end]))

    def end(self) -> None:
        self.ended = True


def part_of(disposition: bytes) -> Part:
    """The part that a Content-Disposition header describes; its name is empty if the header has none."""
    _, options = parse_options_header(disposition)
    plain = options.get(b"filename")
    filename = extended_name(disposition) if plain is None else plain.decode(errors="replace")
    return Part(
        options.get(b"name", b"").decode(errors="replace"), None if filename is None else filename[:NAME_LENGTH]
    )


def extended_name(disposition: bytes) -> str | None:
    """The file name of a `filename*` parameter (RFC 8187), None if there is none."""
    found = _EXTENDED_NAME.search(_QUOTED.sub('""', disposition.decode("latin-1")))
    if found is None:
        return None
    charset, text = found.groups()
    encoding = "latin-1" if charset.lower() == "iso-8859-1" else "utf-8"
    return unquote_to_bytes(text).decode(encoding, "replace")


def malformed(message: str) -> ApiError:
    return closing(ApiError(400, "malformed_body", message))


def media_type(request: Request) -> str:
    """The media type of the body in lower case, without its parameters; empty if the request has none."""
    value: str = request.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()
