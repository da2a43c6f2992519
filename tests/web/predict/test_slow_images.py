"""Images that are slow to decode: others are answered meanwhile, and a client that hangs up costs nothing more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import pytest
from starlette.requests import Request

from app.auth.authenticate import Principal
from app.storage.db import Database
from app.web.predict.sender import sender_of
from tests.app.predictor.predict_home import (
    decoder_host,
    encode,
    make_dataset,
    make_run,
    random_image,
    running_predictor,
    settings_for,
)
from tests.app.predictor.slow_images import slow_jpeg, slow_webp
from tests.conftest import wait_for
from tests.web.predict.serving import serving

RUN = "510b000000"
PNG = encode(random_image(0))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address, and the process id of the predictor."""
    home = tmp_path_factory.mktemp("home")
    make_dataset(home)
    make_run(home, RUN)
    settings = settings_for(home)
    database = Database(settings.url)
    database.migrate()
    database.close()
    with running_predictor(settings) as process, serving(settings) as address:
        yield address, process.pid


def decoders(predictor: int) -> list[psutil.Process]:
    found = []
    for process in decoder_host(predictor).children():
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def post(client: httpx.Client, *images: bytes) -> httpx.Response:
    files = [("file", (f"{number}.bin", image)) for number, image in enumerate(images)]
    return client.post("/api/predict", params={"model": RUN}, files=files)


def probabilities(answer: httpx.Response) -> dict[str, float]:
    return {item["label"]: item["probability"] for item in answer.json()["predictions"]}


@pytest.mark.long
@pytest.mark.timeout(120)
def test_others_are_answered_while_slow_images_are_decoded_and_hanging_up_ends_it(served: tuple[str, int]) -> None:
    address, predictor = served
    hung_up = threading.Event()

    def attack() -> None:
        with httpx.Client(base_url=address, timeout=httpx.Timeout(60, read=8)) as client, suppress(httpx.ReadTimeout):
            post(client, *[slow_webp()] * 64)
        hung_up.set()

    with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(3) as pool:
        wait_for(lambda: post(client, PNG).status_code == 200)  # the predictor has started
        before = probabilities(post(client, PNG))
        attacks = [pool.submit(attack) for _ in range(3)]
        wait_for(lambda: any(process.memory_info().rss > 100 << 20 for process in decoders(predictor)), 30, "a decoder")
        answered = 0
        while not hung_up.is_set():
            # An image in a batch with others may differ in the last bits.
            assert probabilities(post(client, PNG)) == pytest.approx(before, abs=1e-4)
            assert len(decoders(predictor)) <= 2
            answered += 1
        assert answered >= 3  # it would have been none
        for one in attacks:
            one.result()
        # What the clients had sent would take ten minutes.
        wait_for(lambda: len(decoders(predictor)) <= 1, 20, "the end of the decoder of slow images")
        assert post(client, slow_webp(3000)).status_code == 200


def test_slow_and_fast_images_in_one_request_and_beside_each_other(served: tuple[str, int]) -> None:
    slow = slow_webp(3000)
    with httpx.Client(base_url=served[0], timeout=60) as client, ThreadPoolExecutor(3) as pool:
        for requests in ([[slow], [slow, slow], [slow, PNG]], [[PNG], [PNG, slow], [slow]]):
            for answer in pool.map(lambda images: post(client, *images), requests):
                assert answer.status_code == 200
                assert "error" not in answer.text


def test_an_image_with_too_many_scans_is_refused_at_once(served: tuple[str, int]) -> None:
    data = slow_jpeg(1000, side=64)
    at = data.index(b"\xff\xc2") + 5
    with httpx.Client(base_url=served[0], timeout=60) as client:
        answer = post(client, data[:at] + bytes.fromhex("1b581b58") + data[at + 4 :])
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image_too_large")


@pytest.mark.parametrize(
    ("token", "address", "name"),
    [
        (None, "192.0.2.7", "192.0.2.7"),
        (None, "2001:db8::1:2:3:4", "2001:db8::/64"),
        (None, "fe80::1%eth0", "fe80::/64"),
        (None, "::not-one", "::not-one"),
        ("nightly", "192.0.2.7", "token nightly"),
    ],
)
def test_a_client_is_its_token_or_its_address(token: str | None, address: str, name: str) -> None:
    principal = None if token is None else Principal(token, frozenset())
    scope = {"type": "http", "client": (address, 1), "state": {"principal": principal}, "headers": []}
    assert sender_of(Request(scope)) == name
