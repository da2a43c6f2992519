"""File responses: static assets and downloads, with support for Range requests."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, stat_result
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse, MalformedRangeHeader, RangeNotSatisfiable, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from app.errors import ApiError
from app.web.errors import described

APP = Path(__file__).parent.parent


class Download(FileResponse):
    """Starlette's FileResponse with range errors in the API's error format, instead of as plain text."""

    max_ranges = 8

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Raises ApiError 400: malformed header or too many ranges; 416: a range past the end of the file."""
        try:
            ranges = super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader as error:
            raise ApiError(400, "bad_range", error.content) from None
        except RangeNotSatisfiable:
            headers = {"Content-Range": f"bytes */{file_size}"}
            raise ApiError(416, "unsatisfiable_range", f"The file has {file_size} bytes.", headers=headers) from None
        if not ranges:
            raise ApiError(400, "too_many_ranges", f"At most {cls.max_ranges} ranges are served at once.")
        return ranges


class Assets(StaticFiles):
    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        # Validated at each use: after an upgrade no new page runs with an old script.
        headers = {"Cache-Control": "no-cache"}
        response = Download(full_path, status_code=status_code, stat_result=stat_result, headers=headers)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


def download_answers(media_type: str, errors: Mapping[int | str, str]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of a route that returns a Download."""
    schema = {"type": "string"} if media_type.startswith("text/") else {"type": "string", "format": "binary"}
    content = {"content": {media_type: {"schema": schema}}}
    return {
        200: content,
        206: {"description": "The part that a Range header asked for", **content},
        **described({**errors, 416: "The range lies past the file's end"}),
    }


def asset_folder(name: str) -> Path:
    """The folder of assets: next to the packages in a checkout, inside `app` in an installed wheel."""
    inside = APP / name
    return inside if inside.is_dir() else APP.parent / name
