from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.app.predictor.slow_images import slow_jpeg, slow_webp
from trainer.data.decode_cost import MAX_SCANNED_PIXELS, decode_cost


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (300, 200), **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 7).save(file, kind, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description"
FILES = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG"),
    "jpeg with metadata": encoded("JPEG", exif=EXIF.tobytes(), icc_profile=bytes(3000), comment=b"\xff\xda" * 9),
    "progressive": encoded("JPEG", progressive=True),
    "gif": encoded("GIF", "P"),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP"),
    "lossless webp": encoded("WEBP", lossless=True),
    "webp with metadata": encoded("WEBP", exif=EXIF.tobytes()),
    "tiff": encoded("TIFF"),
    "compressed tiff": encoded("TIFF", compression="tiff_adobe_deflate"),
    "avif": encoded("AVIF"),
    "lossless webp by hand": slow_webp(300),
}


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_read_from_the_header(name: str) -> None:
    cost = decode_cost(FILES[name])
    assert cost.pixels == (300 * 300 if "hand" in name else 300 * 200)
    assert (cost.scans > 1) == (name == "progressive")
    assert 0 < cost.seconds < 0.02
    assert not cost.is_excessive
    assert decode_cost(FILES[name][:12]).seconds <= 5  # cut short


def test_an_old_bmp() -> None:
    assert decode_cost(b"BM" + bytes(12) + struct.pack("<IHH", 12, 40, 30)).pixels == 1200


def test_a_tiff_in_either_byte_order() -> None:
    for order in "<>":
        fields = struct.pack(f"{order}HHIHH", 256, 3, 1, 40, 0) + struct.pack(f"{order}HHII", 257, 4, 1, 30)
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
        assert decode_cost(head + struct.pack(f"{order}H", 2) + fields).pixels == 1200
        assert decode_cost(head + struct.pack(f"{order}H", 1) + fields).seconds > 1  # no height


def test_the_largest_of_several_sizes_counts() -> None:
    boxes = b"".join(b"ispe" + struct.pack(">III", 0, side, side) for side in (512, 4032, 160))
    assert decode_cost(b"\0\0\0\x18ftypheic" + boxes).pixels == 4032**2
    assert decode_cost(b"\0\0\0\x18ftypmp42" + bytes(100)).seconds > 1


def test_scans_are_counted() -> None:
    data = slow_jpeg(100, side=64)
    assert decode_cost(data).scans == 100
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (64, 64)
        image.load()
    assert not decode_cost(data).is_excessive
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", 7000, 7000) + data[at + 4 :]
    assert decode_cost(large).is_excessive
    assert decode_cost(large).pixels * 100 > MAX_SCANNED_PIXELS
    baseline = encoded("JPEG", size=(7000, 7000))
    assert not decode_cost(baseline).is_excessive


def test_what_is_appended_to_a_jpeg_has_no_scans() -> None:
    assert decode_cost(encoded("JPEG", size=(7000, 7000)) + b"\xff\xda video" * 100).scans == 1


def test_a_jpeg_whose_frame_is_not_found_is_taken_for_slow() -> None:
    for data in (b"\xff\xd8" + b"\xff\xe1\0\x02" * 10_000, b"\xff\xd8abcdefgh"):
        assert decode_cost(data).seconds > 1


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=60), st.integers(0, 60))
def test_any_header_has_a_cost(name: str, inserted: bytes, at: int) -> None:
    for data in (inserted, FILES[name][:at] + inserted, FILES[name][:at] + inserted + FILES[name][at:]):
        cost = decode_cost(data)
        assert cost.pixels >= 0
        assert cost.scans >= 1
        assert cost.seconds >= 0
