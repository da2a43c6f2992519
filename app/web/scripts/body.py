"""The body of a request with events: perhaps compressed, and limited in size."""

from __future__ import annotations

import zlib

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.errors import ApiError
from app.web.errors import closing

MOST_BYTES = 4 << 20
GZIP = 16 + zlib.MAX_WBITS


async def events_of(request: Request) -> bytes:
    """Return the decoded body. Raises ApiError 400: not gzip as declared; 413: too large; 415: other encodings."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise closing(ApiError(415, "unsupported_encoding", "The Content-Encoding must be gzip, if there is one."))
    body = await request.body()
    if encoding == "identity" or not body:
        return body
    return await run_in_threadpool(_decompressed, body)


def _decompressed(body: bytes) -> bytes:
    decoder = zlib.decompressobj(GZIP)
    try:
        found = decoder.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        raise ApiError(400, "bad_request", "The body is not gzip.") from None
    if len(found) > MOST_BYTES:
        raise ApiError(413, "too_large", f"The body is larger than {MOST_BYTES} bytes.")
    if not decoder.eof or decoder.unused_data:
        raise ApiError(400, "bad_request", "The gzip body is incomplete, or something follows it.")
    return found
