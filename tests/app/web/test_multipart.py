"""Bodies of multipart forms, whatever pieces they arrive in."""

from __future__ import annotations

import gc
import weakref

import pytest

from app.errors import ApiError
from app.web.multipart import MultipartBody, part_of

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nbirds\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n--bee\r\n\r\n--b--\r\n'
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_parts_are_the_same_in_pieces_of_any_size(size: int) -> None:
    body = MultipartBody("Multipart/Form-Data; boundary=b", max_parts=2)
    received: dict[str, bytes] = {}
    for at in range(0, len(BODY), size):
        for part, data in body.feed(BODY[at : at + size]):
            received[f"{part.name} {part.filename}"] = received.get(f"{part.name} {part.filename}", b"") + data
    body.finish()
    assert received == {"name None": b"birds", "file a.zip": b"--bee\r\n"}


def test_a_body_is_freed_without_a_garbage_collection() -> None:
    gc.disable()
    try:
        body = MultipartBody("multipart/form-data; boundary=b", max_parts=2)
        body.feed(BODY)
        freed = weakref.ref(body._collector)
        del body
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("multipart/form-data", BODY, 400),
        ("multipart/form-data; boundary=" + "x" * 300, BODY, 400),
        ("multipart/form-data; boundary=c", BODY, 400),
        ("multipart/form-data; boundary=b", BODY[:-10], 400),
        ("multipart/form-data; boundary=b", BODY[:-6] + BODY, 413),
    ],
    ids=["no boundary", "a long boundary", "another boundary", "cut short", "too many parts"],
)
def test_malformed_bodies_are_refused(kind: str, data: bytes, status: int) -> None:
    def read() -> None:
        body = MultipartBody(kind, max_parts=2)
        body.feed(data)
        body.finish()

    with pytest.raises(ApiError) as caught:
        read()
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ("", None),
        ('; filename="a.zip"', "a.zip"),
        ("; filename*=utf-8''V%C3%B6gel.zip", "Vögel.zip"),
        ("; FileName*=UTF-8'de'V%C3%B6gel%20%22.zip", 'Vögel ".zip'),
        ("; filename*=iso-8859-1''V%F6gel.zip", "Vögel.zip"),
        ("; filename*=utf-8''%FF", "\ufffd"),
        ("; filename=\"a.zip\"; filename*=utf-8''b.zip", "a.zip"),
        ("; title=\"; filename*=utf-8''b.zip\"", None),
        ("; filename*=b.zip", None),
    ],
)
def test_the_name_of_a_file_is_read_in_both_forms(parameters: str, filename: str | None) -> None:
    part = part_of(f'form-data; name="file"{parameters}'.encode())
    assert (part.name, part.filename) == ("file", filename)
