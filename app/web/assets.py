"""Files as responses: static assets and downloads, with ranges."""

from __future__ import annotations

from os import PathLike, stat_result
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, MalformedRangeHeader, RangeNotSatisfiable, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from app.errors import ApiError

APP = Path(__file__).parent.parent


class Download(FileResponse):
    """Starlette's, whose errors about ranges are plain text, with the one error shape."""

    max_ranges = 8

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Raises ApiError 400 for what is malformed or too many parts, 416 for what lies past the end."""
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
        response = Download(full_path, status_code=status_code, stat_result=stat_result)
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


def asset_folder(name: str) -> Path:
    """Beside the packages in a checkout, inside of `app` in an installed wheel."""
    inside = APP / name
    return inside if inside.is_dir() else APP.parent / name
