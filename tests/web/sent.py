"""Named requests for the table in test_bad_input_table.py."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
from PIL import Image

from tests.app.predictor.predict_home import decoder_host, encode, random_image, serving_child
from tests.conftest import Server
from tests.web.locked import sign_in
from tests.web.wire import answer_to
from tests.web.zips import GOOD, archive

FINE, EMPTY = "f13e000000", "e3b7000000"  # a finished run, and a running one without a checkpoint
RUN = {"dataset": "shapes100", "preset": "baseline-cnn"}
JSON = {"content-type": "application/json"}
PNG = encode(random_image(0))
FORM = "multipart/form-data; boundary=b"
FORM_START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
MAX_SENT_BYTES = 32 << 20


@dataclass(frozen=True)
class Place:
    """Where a request is sent: a server, and an open client of it."""

    server: Server
    client: httpx.Client


@dataclass(frozen=True)
class Sent:
    """A named request: `to` sends it and returns the response."""

    name: str
    to: Callable[[Place], httpx.Response]


def call(method: str, path: str, *, name: str = "", **options: Any) -> Sent:
    return Sent(name or f"{method} {path}"[:80], lambda place: place.client.request(method, path, **options))


def get(path: str, **headers: str) -> Sent:
    shown = "".join(f", {name} {value!r}"[:60] for name, value in headers.items())
    return call("GET", path, name=f"GET {path}"[:80] + shown, headers=headers)


def from_elsewhere(method: str, origins: Iterable[dict[str, str]]) -> list[Sent]:
    path = "/api/runs/0000000000"
    return [call(method, path, name=f"{method} {headers}", headers=headers) for headers in origins]


def run(**change: Any) -> Sent:
    return call("POST", "/api/runs", name=str(change)[:60], json={**RUN, **change})


def body(content: bytes) -> Sent:
    return call("POST", "/api/runs", name=str(content[:40])[2:-1], content=content, headers=JSON)


def override(text: str) -> Sent:
    """A launch with `text` as the body of `overrides`: JSON that an encoder would not produce, such as NaN."""
    return body(b'{"overrides": {%s}, "dataset": "shapes100", "preset": "baseline-cnn"}' % text.encode())


def predict(data: bytes, name: str = "a.jpg", **query: Any) -> Sent:
    return call("POST", "/api/predict", name=name, params={"top_k": 12, **query}, files={"file": (name, data)})


def image(name: str, data: bytes) -> tuple[Sent, Sent, Sent]:
    """The same image sent to each operation that accepts an image."""
    headers, params, files = {"content-type": "image/svg+xml"}, {"model": FINE}, {"file": (name, data)}
    return (
        predict(data, name, model=FINE),
        call("POST", "/api/predict", name=f"{name} as the body", params=params, content=data, headers=headers),
        call("POST", "/api/predict/saliency", name=f"{name} to be explained", params=params, files=files),
    )


def data_set(name: str, data: bytes, **fields: str) -> Sent:
    files = {"file": ("x.zip", data)}
    return call("POST", "/api/datasets", name=name, files=files, data={"name": "mine", **fields})


def zips(name: str, data: bytes) -> tuple[Sent, Sent]:
    """The same zip sent to each operation that accepts a zip."""
    files, fields = {"file": ("x.zip", data)}, {"model": FINE}
    batch = call("POST", "/api/predict/batch", name=f"{name} to be classified", files=files, data=fields)
    return data_set(name, data), batch


def wire(name: str, *parts: bytes, pace: float = 0) -> Sent:
    return Sent(name, lambda place: answer_to(place.server, parts, pace))


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def declared(path: str, kind: str) -> Sent:
    return wire(f"declared, {path} {kind}", head(path, f"Content-Type: {kind}", "Content-Length: 5000000000"))


def endless(path: str, kind: str) -> Sent:
    """A chunked body that continues until the server responds.

    Raises AssertionError: when there is no response after 32 MiB.
    """

    def parts() -> Iterator[bytes]:
        yield head(path, f"Content-Type: {kind}", "Transfer-Encoding: chunked")
        block = FORM_START if kind == FORM else b'{"'
        for _ in range(MAX_SENT_BYTES >> 16):
            yield b"%x\r\n%b\r\n" % (len(block), block)
            block = b"x" * (1 << 16)
        raise AssertionError("nothing was answered")

    return Sent(f"chunked, {path} {kind}", lambda place: answer_to(place.server, parts()))


def wrong_passwords(count: int) -> Sent:
    def send(place: Place) -> httpx.Response:
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda _: sign_in(place.client, "wrong"), range(count)))
        refused = [answer for answer in answers if answer.status_code != 401]
        return refused[0]

    return Sent(f"{count} wrong passwords at once", send)


def one_stream_more(limit: int) -> Sent:
    def send(place: Place) -> httpx.Response:
        with ExitStack() as stack:
            for _ in range(limit):
                answer = stack.enter_context(place.client.stream("GET", "/api/events"))
                assert answer.status_code == 200
            return place.client.get("/api/events")

    return Sent(f"stream {limit + 1}", send)


def one_prediction_more(limit: int) -> Sent:
    """`limit + 1` concurrent predictions while the predictor is suspended: returns the response of the rejected one.

    Asserts that the others are answered after the predictor is resumed.
    """

    def send(place: Place) -> httpx.Response:
        child = serving_child(place.server.processes["predictor"].pid)
        with ThreadPoolExecutor(limit + 1) as pool:
            child.suspend()
            try:
                asked = {pool.submit(predict(PNG).to, place) for _ in range(limit + 1)}
                refused, waiting = wait(asked, 20, FIRST_COMPLETED)
            finally:
                child.resume()
            assert len(refused) == 1
            assert {one.result().status_code for one in waiting} == {200}
            return refused.pop().result()

    return Sent(f"prediction {limit + 1}", send)


def image_whose_decoders_die() -> Sent:
    slow = encode(Image.new("RGBA", (3000, 3000), (1, 2, 3, 4)), "PNG", compress_level=1)

    def send(place: Place) -> httpx.Response:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(predict(slow).to, place)
            while not asked.done():
                for decoder in decoders(place):
                    with suppress(psutil.NoSuchProcess):
                        decoder.kill()
            answer = asked.result()
        assert "cannot be decoded" in answer.text
        return answer

    return Sent("a decoder that is killed", send)


def image_whose_decoder_hangs() -> Sent:
    """It is killed, and another one decodes the image."""

    def send(place: Place) -> httpx.Response:
        stopped = decoders(place)
        for decoder in stopped:
            decoder.suspend()
        try:
            return predict(PNG).to(place)
        finally:
            for decoder in stopped:
                with suppress(psutil.NoSuchProcess):  # its time limit has passed
                    decoder.resume()

    return Sent("a decoder that hangs", send)


def decoders(place: Place) -> Iterable[psutil.Process]:
    return decoder_host(place.server.processes["predictor"].pid).children()


def uploads_without_room() -> tuple[Sent, Sent]:
    """Uploads to a web process with a file size limit of 1 MiB: larger writes fail as they do on a full disk."""
    noise = archive({**GOOD, "ant/noise.bin": random.Random(0).randbytes(3 << 20)})

    def without_room(sent: Sent) -> Sent:
        def send(place: Place) -> httpx.Response:
            with no_room(place.server):
                return sent.to(place)

        return Sent(sent.name, send)

    one, other = zips("a zip", noise)
    return without_room(one), without_room(other)


@contextmanager
def no_room(server: Server) -> Iterator[None]:
    pid = server.processes["web"].pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
