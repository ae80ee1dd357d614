"""Take the files out of a ``multipart/form-data`` body that is in memory already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from flowercli.serving.http.problems import Problem, too_many_images

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
# Of the name that a client gives a file, the end is repeated in the answer.
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class File:
    """One file of a form: the last part of the name that it was given, if any, and its bytes."""

    name: str | None
    content: bytes


def parse_form(content_type: str, body: bytes, limit: int) -> list[File]:
    """Return the files of the fields named ``file``, in order.

    Raises:
        Problem: 400, the form is damaged; 422, it has another field, no file, or more than ``limit``.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _damaged("its Content-Type has no boundary")
    form = _Form(body, limit)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _damaged(str(error)) from None
    if not form.ended:
        raise _damaged("its end is missing")
    if not form.files:
        raise Problem(422, "no_picture", f"The form has no field named '{FIELD}'.")
    return form.files


def last_part(name: str) -> str:
    """Return what is left of a file name without the folders that a client may have put before it."""
    return name.replace("\\", "/").rpartition("/")[2][-MAX_NAME:]


class _Form:
    """Collects the parts that the parser finds; a part's bytes are cut out of the body once, at its end."""

    def __init__(self, body: bytes, limit: int) -> None:
        self.files: list[File] = []
        self.ended = False
        self._body = body
        self._limit = limit
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._data: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._last,
        }

    def _begin(self) -> None:
        if len(self.files) == self._limit:
            # Counted no further than needed to say so.
            raise too_many_images(max(self._body.count(b"filename="), self._limit + 1), self._limit)
        self._disposition = b""
        self._data = []

    def _header_end(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            raise Problem(422, "unknown_field", f"The form has a field '{field[:40]}'; only '{FIELD}' is known.")
        name = options.get(b"filename")
        content = self._data[0] if len(self._data) == 1 else b"".join(self._data)
        self.files.append(File(None if name is None else last_part(name.decode("utf-8", "replace")), content))

    def _last(self) -> None:
        self.ended = True


def _damaged(reason: str) -> Problem:
    return Problem(400, "bad_form", f"The form cannot be read: {reason}.")
