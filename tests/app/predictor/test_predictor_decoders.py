from __future__ import annotations

import asyncio
import random
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import numpy as np
import psutil
import pytest
from PIL import Image

from app.predictor.decoder_process import DecoderHost, DecoderHostExited
from app.predictor.decoders import SMALL_BYTES, BadImage, Decoders
from app.predictor.fair_queue import Sender
from tests.app.predictor.predict_home import SIZE, encode, random_image
from tests.app.predictor.slow_images import lying_gif, slow_jpeg, slow_webp
from tests.conftest import wait_for
from trainer.data.confined import MAX_FRAMES, MEMORY_BYTES, gif_has_more_frames
from trainer.data.decode_cost import decode_cost
from trainer.data.fit import read_image
from trainer.data.format import Fit

GOOD = encode(random_image(0))


@pytest.fixture(scope="module")
def host() -> Iterator[DecoderHost]:
    host = DecoderHost.start()
    yield host
    host.close()
    assert host.process.returncode == 0


def with_decoders(
    host: DecoderHost, work: Callable[[Decoders], Awaitable[None]], *, count: int = 2, **seconds: float
) -> None:
    host_process = psutil.Process(host.process.pid)
    wait_for(lambda: not host_process.children())  # those of the test before have ended

    async def run() -> None:
        decoders = Decoders(host.control, count, 50_000_000, **seconds)
        try:
            await work(decoders)
            assert await decoders.decode(GOOD, SIZE, "crop") == random_image(0).tobytes()
        finally:
            decoders.close()

    asyncio.run(run())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    return png(1, 1, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(30_000_000)))] * 40)


def long_gif(frames: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b"!\xf9\x04\0\0\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02L\x01\0"
    return head + frame * frames + b";"


def test_what_a_decoder_gives_is_what_the_import_gives(host: DecoderHost) -> None:
    colour = random_image(1, 57)
    grey16 = np.random.default_rng(2).integers(0, 65536, (40, 30), np.uint16)
    cases = [
        encode(colour),
        encode(colour, "JPEG"),
        encode(colour, "WEBP"),
        encode(colour, "BMP"),
        encode(colour, "TIFF"),
        encode(colour, "AVIF"),
        encode(Image.fromarray(colour).quantize(16), "GIF"),
        encode(Image.fromarray(colour).convert("CMYK"), "JPEG"),
        encode(Image.fromarray(grey16)),
        encode(Image.fromarray(colour).convert("LA")),
        encode(Image.new("RGBA", (1, 1), (9, 8, 7, 0))),
    ]

    async def work(decoders: Decoders) -> None:
        for data in cases:
            for fit in ("crop", "pad", "squash"):
                assert await decoders.decode(data, SIZE, fit) == read_image(data, SIZE, fit).tobytes()

    with_decoders(host, work)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unreadable_image"),
        (b"holiday.jpg", "unreadable_image"),
        (GOOD[:-20], "unreadable_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "unsupported_image"),
        (b"%PDF-1.7", "unsupported_image"),
        (b"8BPS\0\1", "unsupported_image"),
        (encode(random_image(3), "ICO"), "unsupported_image"),
        (png(50_000, 50_000, chunk(b"IDAT", zlib.compress(bytes(100)))), "image_too_large"),
        (long_gif(10_000), "image_too_large"),
    ],
)
def test_bad_images_are_named(host: DecoderHost, data: bytes, code: str) -> None:
    async def work(decoders: Decoders) -> None:
        with pytest.raises(BadImage) as refused:
            await decoders.decode(data, SIZE, "crop")
        assert refused.value.code == code

    with_decoders(host, work)


def test_bombs_stay_within_the_memory_limit(host: DecoderHost) -> None:
    async def work(decoders: Decoders) -> None:
        with pytest.raises(BadImage):
            await decoders.decode(text_bomb(), SIZE, "crop")
        (decoder,) = psutil.Process(host.process.pid).children()
        assert decoder.rlimit(psutil.RLIMIT_AS) == (MEMORY_BYTES, MEMORY_BYTES)

    with_decoders(host, work, count=1)


def test_damaged_images_are_answered_one_by_one(host: DecoderHost) -> None:
    """Cut and bit-flipped files give pixels or a BadImage, each its own, whatever came before."""
    draw = random.Random(4)
    originals = [encode(random_image(5, 48), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
    originals.append(encode(Image.fromarray(random_image(5, 48)).quantize(8), "GIF"))

    async def one(decoders: Decoders, data: bytes) -> bool:
        try:
            return len(await decoders.decode(data, SIZE, "crop")) == SIZE * SIZE * 3
        except BadImage as error:
            return error.code in ("unreadable_image", "unsupported_image", "image_too_large")

    def damaged(original: bytes) -> bytes:
        if draw.random() < 0.5:
            return original[: draw.randrange(len(original))]
        data = bytearray(original)
        for _ in range(draw.randint(1, 20)):
            data[draw.randrange(min(200, len(data)))] ^= 1 << draw.randrange(8)
        return bytes(data)

    async def work(decoders: Decoders) -> None:
        corpus = [damaged(original) for original in originals for _ in range(60)]
        assert all(await asyncio.gather(*(one(decoders, data) for data in corpus)))

    with_decoders(host, work)


def test_an_image_that_kills_its_decoders_is_refused(host: DecoderHost) -> None:
    slow = encode(Image.new("RGBA", (3000, 3000), (1, 2, 3, 4)), "PNG", compress_level=1)

    def kill_all() -> None:
        for decoder in psutil.Process(host.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # the one of the last round is gone only now
                decoder.kill()

    async def work(decoders: Decoders) -> None:
        await decoders.decode(GOOD, SIZE, "crop")
        doomed = asyncio.create_task(decoders.decode(slow, SIZE, "crop"))
        while not doomed.done():
            await asyncio.to_thread(kill_all)
        with pytest.raises(BadImage, match="cannot be decoded"):
            await doomed

    with_decoders(host, work, count=1)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_decoder_killed_while_idle_costs_no_image(host: DecoderHost, noticed: bool) -> None:
    async def work(decoders: Decoders) -> None:
        await decoders.decode(GOOD, SIZE, "crop")
        (decoder,) = psutil.Process(host.process.pid).children()
        decoder.kill()
        wait_for(lambda: not psutil.Process(host.process.pid).children())
        if noticed:
            await asyncio.sleep(0)

    with_decoders(host, work, count=1)


def test_a_slow_image_is_given_up_at_its_deadline(host: DecoderHost) -> None:
    slow = encode(Image.new("RGBA", (4000, 4000), (1, 2, 3, 4)), "PNG", compress_level=1)

    async def work(decoders: Decoders) -> None:
        with pytest.raises(BadImage, match="takes too long"):
            await decoders.decode(slow, SIZE, "crop")

    with_decoders(host, work, seconds=0.05)


def test_those_that_wait_go_together_and_each_gets_its_own(host: DecoderHost) -> None:
    fits: tuple[Fit, ...] = ("crop", "pad")
    files = [(encode(random_image(seed, 20 + seed)), 16 + 8 * (seed % 2), fits[seed // 4 % 2]) for seed in range(40)]

    async def work(decoders: Decoders) -> None:
        found = await asyncio.gather(
            *(decoders.decode(*file) for file in files), *(decoders.decode(*file) for file in files)
        )
        right = [read_image(data, size, fit).tobytes() for data, size, fit in files]
        assert found == right * 2

    with_decoders(host, work, count=1)


def test_a_decoder_that_dies_over_many_costs_none_of_them(host: DecoderHost) -> None:
    files = [encode(random_image(seed, 90)) for seed in range(60)]

    async def work(decoders: Decoders) -> None:
        await decoders.decode(GOOD, SIZE, "crop")
        (decoder,) = psutil.Process(host.process.pid).children()
        decoder.suspend()
        waiting = asyncio.gather(*(decoders.decode(data, SIZE, "crop") for data in files))
        await asyncio.sleep(0)
        decoder.kill()
        assert await waiting == [read_image(data, SIZE, "crop").tobytes() for data in files]

    with_decoders(host, work, count=1)


def decoder_processes(host: DecoderHost) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(host.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_slow_images_leave_a_decoder_for_the_others(host: DecoderHost) -> None:
    async def work(decoders: Decoders) -> None:
        slow = [asyncio.create_task(decoders.decode(slow_webp(), SIZE, "crop")) for _ in range(8)]
        await asyncio.sleep(0)
        for number in range(60):
            sender = Sender("another", number)
            assert await decoders.decode(GOOD, SIZE, "crop", sender=sender) == random_image(0).tobytes()
            assert len(decoder_processes(host)) <= 2
        assert sum(not task.done() for task in slow) >= 6
        for task in slow:
            task.cancel()

    with_decoders(host, work)


def test_a_withdrawn_image_is_not_decoded_any_further(host: DecoderHost) -> None:
    async def work(decoders: Decoders) -> None:
        slow = [asyncio.create_task(decoders.decode(slow_webp(), SIZE, "crop")) for _ in range(50)]
        while not (busy := decoder_processes(host)):
            await asyncio.sleep(0.01)
        (decoder,) = busy
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        while decoder_processes(host):
            await asyncio.sleep(0.01)
        assert not decoder.is_running()

    with_decoders(host, work)


def test_images_of_a_client_with_few_go_before_those_of_one_with_many(host: DecoderHost) -> None:
    """Also among slow images."""
    slow = slow_webp(3000)

    async def work(decoders: Decoders) -> None:
        ended: list[str] = []

        async def decode(name: str, number: int) -> None:
            await decoders.decode(slow, SIZE, "crop", sender=Sender(name, number))
            ended.append(name)

        many = [asyncio.create_task(decode("many", 1)) for _ in range(6)]
        await asyncio.sleep(0)
        one = asyncio.create_task(decode("one", 2))
        await asyncio.gather(one, *many)
        assert ended.index("one") <= 2

    with_decoders(host, work)


def test_an_image_whose_header_lies_does_not_hold_up_the_others(host: DecoderHost) -> None:
    lying = lying_gif()
    assert len(lying) <= 2 * SMALL_BYTES
    assert decode_cost(lying).pixels == 1

    async def work(decoders: Decoders) -> None:
        files = [lying, *[GOOD] * 20]
        found = await asyncio.gather(*(decoders.decode(data, SIZE, "crop") for data in files))
        assert found[1:] == [random_image(0).tobytes()] * 20
        assert len(found[0]) == 3 * SIZE * SIZE

    with_decoders(host, work, fast_seconds=0.2)


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(host: DecoderHost) -> None:
    data = slow_jpeg(1000, side=64)
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", 7000, 7000) + data[at + 4 :]

    async def work(decoders: Decoders) -> None:
        with pytest.raises(BadImage, match="49,000,000 pixels in 1,000 scans") as refused:
            await decoders.decode(large, SIZE, "crop")
        assert refused.value.code == "image_too_large"
        assert not decoder_processes(host)
        assert len(await decoders.decode(data, SIZE, "crop")) == 3 * SIZE * SIZE

    with_decoders(host, work)


def test_no_image_is_blamed_for_the_end_of_the_host() -> None:
    """The serving process ends upon DecoderHostExited without an answer, and the client asks its successor."""
    host = DecoderHost.start()

    async def run() -> None:
        decoders = Decoders(host.control, 1, 50_000_000)
        host.process.kill()
        host.process.wait()
        with pytest.raises(DecoderHostExited):
            await decoders.decode(GOOD, SIZE, "crop")
        decoders.close()

    asyncio.run(run())
    host.close()


def test_a_cancelled_image_does_not_answer_the_next_one(host: DecoderHost) -> None:
    async def work(decoders: Decoders) -> None:
        first = asyncio.create_task(decoders.decode(encode(random_image(6, 900)), SIZE, "crop"))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    with_decoders(host, work, count=1)


def test_frames_of_a_gif_are_counted_without_decoding() -> None:
    first, second = (Image.fromarray(random_image(seed)).quantize(32) for seed in (7, 8))
    two = encode(first, "GIF", save_all=True, append_images=[second])
    assert gif_has_more_frames(two, 1)
    assert not gif_has_more_frames(two, 2)
    assert gif_has_more_frames(long_gif(MAX_FRAMES + 1), MAX_FRAMES)
    assert not gif_has_more_frames(long_gif(MAX_FRAMES), MAX_FRAMES)
    assert not gif_has_more_frames(b"GIF89a", 0)
