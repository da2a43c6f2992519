"""Range headers that cannot be served get the one error shape; what passes here is left to FileResponse."""

from __future__ import annotations

import re
from os import PathLike, stat_result

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.errors import ApiError

MAX_RANGES = 8
_PART = re.compile(r"\s*([0-9]{1,18})?-([0-9]{1,18})?\s*")


def check_ranges(headers: Headers, size: int) -> None:
    """Raises ApiError: 400 for what is malformed or too many parts, 416 for what lies past the end of `size` bytes."""
    header = headers.get("range")
    # With If-Range a range that no longer fits is not wrong: the whole file is sent.
    if header is None or "if-range" in headers:
        return
    unit, _, parts = header.partition("=")
    ranges = [_PART.fullmatch(part) for part in parts.split(",", MAX_RANGES + 1)]
    if len(ranges) > MAX_RANGES:
        raise ApiError(400, "too_many_ranges", f"At most {MAX_RANGES} ranges are served at once.")
    for match in ranges:
        first, last = match.groups() if match is not None else (None, None)
        if unit.strip().lower() != "bytes" or (first is None and last is None):
            raise ApiError(400, "bad_range", "The Range header is malformed.")
        if first and last and int(first) > int(last):
            raise ApiError(400, "bad_range", "A range ends before it starts.")
        if (int(first) if first else size - int(last or 0)) >= size:
            headers_416 = {"Content-Range": f"bytes */{size}"}
            raise ApiError(416, "unsatisfiable_range", f"The file has {size} bytes.", headers=headers_416)


class Assets(StaticFiles):
    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        check_ranges(Headers(scope=scope), stat_result.st_size)
        return super().file_response(full_path, stat_result, scope, status_code)
