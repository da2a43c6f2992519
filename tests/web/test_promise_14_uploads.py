"""Promise 14: no upload crashes or blocks the server. Sends a corpus of broken images and valid ones meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from PIL import Image

from app.storage.db import Database
from tests.app.predictor.predict_home import (
    add_row,
    encode,
    make_dataset,
    make_run,
    random_image,
    running_predictor,
    serving_child,
    settings_for,
)
from tests.app.predictor.test_predictor_decoders import long_gif, png, text_bomb
from tests.web.predict.serving import serving
from tests.web.predict.test_predict import post

RUN = "b40c000000"
A_REQUEST = 16
REFUSALS = {"unreadable_image", "unsupported_image", "image_too_large"}
GROWTH_BYTES = 100 << 20


def corpus() -> Iterator[bytes]:
    """Yield broken images: truncated at every 64 bytes, with flipped bits in the header and elsewhere, with the header
    of another format, and decompression bombs."""
    draw = random.Random(14)
    picture = Image.fromarray(random_image(14, 40))
    originals = [encode(picture, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
    originals.append(encode(picture.quantize(64), "GIF"))
    for original in originals:
        yield from (original[:length] for length in range(0, len(original), 64))
        for place in [*range(64), *(draw.randrange(len(original)) for _ in range(64))]:
            flipped = bytearray(original)
            flipped[place] ^= 1 << draw.randrange(8)
            yield bytes(flipped)
        yield from (other[:16] + original[16:] for other in originals if other is not original)
    yield from (png(50_000, 50_000), text_bomb(), long_gif(10_000))


def test_promise_14_a_corpus_of_broken_images_while_good_ones_are_served(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, max_image_bytes=4 << 20)
    make_dataset(tmp_path)
    make_run(tmp_path, RUN)
    database = Database(settings.url)
    database.migrate()
    add_row(database, settings, RUN)
    database.close()
    good, files, ended = encode(random_image(0)), list(corpus()), threading.Event()
    with (
        running_predictor(settings) as predictor,
        serving(settings) as address,
        httpx.Client(base_url=address, timeout=60) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        expected = post(client, good, model=RUN).json()["predictions"]
        before = serving_child(predictor.pid).memory_info().rss

        def ask(some: list[bytes]) -> None:
            answer = client.post("/api/predict", params={"model": RUN}, files=[("file", data) for data in some])
            assert answer.status_code == 200, answer.text
            for result in answer.json()["results"]:
                assert "predictions" in result or result["error"]["code"] in REFUSALS

        def ask_for_good_ones() -> int:
            count = 0
            while not ended.is_set():
                answer = post(client, good, model=RUN)
                assert answer.status_code == 200, answer.text
                assert [one["label"] for one in answer.json()["predictions"]] == [one["label"] for one in expected]
                count += 1
            return count

        others = pool.submit(ask_for_good_ones)
        try:
            asked = [pool.submit(ask, files[at : at + A_REQUEST]) for at in range(0, len(files), A_REQUEST)]
            for one in asked:
                one.result()
        finally:
            ended.set()
        assert others.result() > 0
        child = serving_child(predictor.pid)
        assert child.memory_info().rss < before + GROWTH_BYTES
        assert child.status() != psutil.STATUS_ZOMBIE
        assert post(client, good, model=RUN).json()["predictions"] == expected
