"""The table of bad input: its kind, the request and the expected status. One row per case.

Each case also asserts that nothing was stored and that valid requests are still answered.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlmodel import select

from app.auth.login_attempts import BY_PEER
from app.storage.db import Database
from app.storage.tables import Checkpoint, Run, Status
from tests.app.predictor.predict_home import add_row, encode, make_dataset, make_run, random_image
from tests.app.predictor.test_predictor_decoders import long_gif, png, text_bomb
from tests.conftest import wait_for
from tests.web.conftest import web_process
from tests.web.errors import assert_error
from tests.web.locked import Locked
from tests.web.sent import (
    EMPTY,
    FINE,
    FORM,
    PNG,
    Place,
    Sent,
    body,
    call,
    data_set,
    declared,
    endless,
    from_elsewhere,
    get,
    image,
    image_whose_decoder_hangs,
    image_whose_decoders_die,
    one_prediction_more,
    one_stream_more,
    override,
    predict,
    run,
    uploads_without_room,
    wire,
    wrong_passwords,
    zips,
)
from tests.web.zips import GOOD, add_bomb, add_link, archive, nothing_written, picture

LIMITS = {
    "TRACKSIDE_HEADER_SECONDS": "1",
    "TRACKSIDE_BODY_SECONDS": "2",
    "TRACKSIDE_MAX_BODY_BYTES": str(256 << 10),
    "TRACKSIDE_MAX_IMAGE_BYTES": str(2 << 20),
    "TRACKSIDE_MAX_IMAGES": "2",
    "TRACKSIDE_MAX_DATASET_BYTES": str(4 << 20),
    "TRACKSIDE_MAX_STREAMS": "1",
    "TRACKSIDE_MAX_QUEUED_PREDICTIONS": "1",
}


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Place]:
    """A server with low limits, a predictor, a finished run, and a running run without a checkpoint."""
    home = tmp_path_factory.mktemp("tight")
    make_dataset(home)
    make_run(home, FINE)
    make_run(home, EMPTY, steps=())
    with web_process(home, shapes, **LIMITS) as server, server.client() as client:
        database = Database(server.settings.url)
        add_row(database, server.settings, FINE)
        add_row(database, server.settings, EMPTY, Status.RUNNING)
        with database.write() as session:
            key = session.exec(select(Run.key).where(Run.id == FINE)).one() or 0
            session.add(Checkpoint(run=key, step=10, epoch=1, sha256="0" * 64, size=1, best=True))
        database.close()
        server.start("predictor", **LIMITS)
        place = Place(server, client)
        wait_for(lambda: predict(PNG).to(place).status_code == 200, 60, "a prediction")
        yield place


@pytest.fixture(scope="module")
def password_set(locked: Locked) -> Iterator[Place]:
    with locked.client() as client:
        yield Place(locked.server, client)


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Place]:
    """A server with a worker and without runs."""
    with web_process(tmp_path_factory.mktemp("working"), shapes) as server, server.client() as client:
        server.start("worker")
        yield Place(server, client)


Then = Callable[[Place, httpx.Response], None]


@dataclass(frozen=True)
class Row:
    what: str
    sent: Sent
    status: int | tuple[int, ...]
    field: str | None = None  # expected in the error's detail
    header: str | None = None  # expected in the response
    at: str = "tight"
    page: bool = False  # an HTML page is expected instead of a JSON error
    then: Then | None = None  # the assertion for a response that is not an error

    def __str__(self) -> str:
        return f"{self.what}: {self.sent.name}"


def each(what: str, sent: Iterable[Sent], status: int | tuple[int, ...], header: str | None = None) -> list[Row]:
    return [Row(what, one, status, header=header) for one in sent]


def like(plain: Image.Image) -> Then:
    def check(place: Place, answer: httpx.Response) -> None:
        answers = (answer, predict(encode(plain)).to(place))
        odd, even = ({p["label"]: p["probability"] for p in one.json()["predictions"]} for one in answers)
        assert len(odd) == 12
        assert odd == pytest.approx(even, abs=1e-4)

    return check


def shown_as_text(place: Place, answer: httpx.Response) -> None:
    for path in ("/", f"/runs/{answer.json()['id']}"):
        page = place.client.get(path, headers={"accept": "text/html"}).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def fails_naming_every_file(place: Place, answer: httpx.Response) -> None:
    task = ended(place, answer)
    assert task["status"] == "failed"
    assert {item["file"] for item in task["error"]["detail"]["files"]} == UNREADABLE.keys()
    assert place.client.get("/api/datasets/mine").status_code == 404


def leaves_them_out(place: Place, answer: httpx.Response) -> None:
    assert ended(place, answer)["status"] == "finished"
    record = place.client.get("/api/datasets/mine").json()
    assert (record["skipped"], record["train_count"] + record["test_count"]) == (len(UNREADABLE), len(GOOD))


def ended(place: Place, answer: httpx.Response) -> dict[str, Any]:
    def asked() -> dict[str, Any] | None:
        task: dict[str, Any] = place.client.get(f"/api/tasks/{answer.json()['id']}").json()
        return task if task["status"] in ("finished", "failed") else None

    found = wait_for(asked, 60, "the task's end")
    assert found is not None
    return found


SITE = "unsafe method with a cross-site Sec-Fetch-Site, a foreign or null Origin"
HOST = "foreign, empty or doubled Host"
ABSURD = "NaN, Infinity, negative or absurd hyperparameters"
UNKNOWN = "unknown field, preset, dataset"
SORT = "unknown sort column, SQL text, limit -1 or 10^9"
NOT_THERE = "unknown id, encoded traversal"
LARGE = "body over the limit, declared or chunked"
SLOW = "headers or body arriving too slowly"
NO_IMAGE = "empty file, text called .jpg, truncated JPEG or PNG"
OTHER = "SVG, EPS, TIFF, PSD, PDF whatever its name"
BOMB = "50,000 x 50,000 PNG, text-chunk bomb, 10,000-frame GIF"
ODD = "CMYK, 16-bit, palette, gray, alpha, 1x1, EXIF-rotated"
DECODER = "decoder crash or time-out"
ZIP = "zip with ../, absolute names, links, clashing names, nested zips, ratio over 100"
CLASSES = "a dataset with 0 or 1 class, an empty class"
BROKEN = "an unreadable image"
SHOWN = "names with <script>, right-to-left marks"
NAME = "NUL, newline, 10 KB"
PARTS = "thousands of Range parts"
BEYOND = "unsatisfiable"
ACTIVE = "stop a finished run, delete a running one"
NO_MODEL = "predict without a model"

ORIGINS = (
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": ""},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "http://["},
)
HOSTS = (
    "evil.example", "", "127.0.0.1.evil.example:80", "127.0.0.1:abc", "127.0.0.1:123456", "127.0.0.1:80:80",
    "user@127.0.0.1", "[::1", "[::1]evil.example", "localhost,evil.example", "localhost/x",
)  # fmt: skip
NO_HOST = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n"
LR = "overrides.optimizer.lr"
BODIES = (
    ("/api/runs", "application/json"),
    ("/api/predict", "image/png"),
    ("/api/predict", FORM),
    ("/api/datasets", FORM),
    ("/api/datasets", "application/json"),
    ("/api/predict/batch", FORM),
)
BEGUN = b"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>"
FILES = (f"/api/runs/{FINE}/checkpoints/10/file", "/static/favicon.svg")
SCRIPT = "<script>alert(1)</script>\u202e"
UNREADABLE = {"ant/text.png": b"no image", "bee/cut.png": picture()[:60]}
HALF_BAD = archive({**GOOD, **UNREADABLE})

COLOR = Image.fromarray(random_image(8))
CMYK = encode(COLOR.convert("CMYK"), "JPEG", quality=100)
GRAY = COLOR.convert("L")
DEEP = Image.fromarray(np.asarray(GRAY).astype(np.uint16) * 257)
PALETTE = COLOR.quantize(64)
CLEAR = COLOR.convert("RGBA")
CLEAR.putalpha(0)
DOT = Image.new("RGB", (1, 1), (200, 30, 60))
UPRIGHT = Image.fromarray(random_image(9, 40)).crop((0, 0, 40, 28))
EXIF = Image.Exif()
EXIF[0x0112] = 6  # orientation 6: stored rotated by 90°, as cameras do
ON_ITS_SIDE = encode(UPRIGHT.transpose(Image.Transpose.ROTATE_90), exif=EXIF)

TABLE = [
    Row("no or wrong token", get("/api/runs"), 401, at="password_set", header="www-authenticate"),
    Row("no or wrong token", get("/api/runs", authorization="Bearer nonsense"), 401, at="password_set"),
    Row(
        "login tried too often",
        wrong_passwords(BY_PEER.burst + 4),
        429,
        at="password_set",
        page=True,
        header="retry-after",
    ),
    *each(SITE, from_elsewhere("POST", ORIGINS), 403),
    *each(SITE, from_elsewhere("PATCH", ORIGINS), 403),
    *each(SITE, from_elsewhere("DELETE", ORIGINS), 403),
    *each(SITE, from_elsewhere("PUT", ORIGINS), 403),
    *each(HOST, (get("/api/runs", host=host) for host in HOSTS), 400),
    Row(HOST, wire("none", NO_HOST, b"\r\n"), 400),
    Row(HOST, wire("two", NO_HOST, b"Host: 127.0.0.1\r\n" * 2, b"\r\n"), 400),
    Row("malformed JSON", body(b"{"), 400),
    Row("malformed JSON", body(b"\xff\xfe"), 400),
    Row("malformed JSON", body(b"[" * 100_000), 400),
    Row("malformed JSON", body(b'{"priority": %s}' % (b"9" * 5000)), 400),
    Row(ABSURD, override('"optimizer.lr": NaN'), 422, LR),
    Row(ABSURD, override('"optimizer.lr": Infinity'), 422, LR),
    Row(ABSURD, override('"optimizer.lr": -Infinity'), 422, LR),
    Row(ABSURD, override('"optimizer.lr": 1e999'), 422, LR),
    Row(ABSURD, run(overrides={"optimizer.lr": -1}), 422, LR),
    Row(ABSURD, run(overrides={"optimizer.lr": 1e9}), 422, LR),
    Row(ABSURD, run(overrides={"batch_size": -5}), 422, "overrides.batch_size"),
    Row(ABSURD, run(overrides={"epochs": 0}), 422, "overrides.epochs"),
    Row(ABSURD, run(overrides={"epochs": 10**12}), 422, "overrides.epochs"),
    Row(ABSURD, run(overrides={"epochs": 10**30}), 422, "overrides.epochs"),
    Row(UNKNOWN, run(unknown=1), 422, "unknown"),
    Row(UNKNOWN, run(overrides={"no.such": 1}), 422, "overrides.no.such"),
    Row(UNKNOWN, run(preset="no-such"), 422, "preset"),
    Row(UNKNOWN, run(dataset="no-such"), 422, "dataset"),
    Row(SORT, get("/api/runs?sort=password"), 422, "sort"),
    Row(SORT, get("/api/runs?sort=created_at;DROP TABLE run"), 422, "sort"),
    Row(SORT, get("/api/runs?limit=-1"), 422, "limit"),
    Row(SORT, get("/api/runs?limit=1000000000"), 422, "limit"),
    Row(NOT_THERE, get("/api/runs/0000000000"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/metrics"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/metrics.csv"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/log"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/log.txt"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/checkpoints"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/checkpoints/1/file"), 404),
    Row(NOT_THERE, get("/api/runs/0000000000/events"), 404),
    Row(NOT_THERE, get("/api/datasets/none"), 404),
    Row(NOT_THERE, get("/api/tasks/none"), 404),
    Row(NOT_THERE, predict(PNG, "by no model", model="0000000000"), 404),
    Row(NOT_THERE, predict(PNG, "by a path", model="../../etc"), 404),
    Row(NOT_THERE, get("/api/runs/..%2f..%2fetc%2fpasswd"), 404),
    Row(NOT_THERE, get("/api/runs/%2e%2e"), 404),
    Row(NOT_THERE, get("/api/datasets/.."), 404),
    Row(NOT_THERE, get("/api/datasets/..%2f..%2fetc"), 404),
    Row(NOT_THERE, get("/api/tasks/..%2f.."), 404),
    Row(NOT_THERE, get("/static/../app/main.py"), 404),
    Row(NOT_THERE, get("/static/..%2fapp%2fmain.py"), 404),
    Row(NOT_THERE, get("/static/%2e%2e%2fapp/main.py"), 404),
    Row(NOT_THERE, get("/static//etc/passwd"), 404),
    *each(LARGE, (declared(*where) for where in BODIES), 413),
    *each(LARGE, (endless(*where) for where in BODIES), 413),
    Row(SLOW, wire("half the headers", BEGUN), 408),
    Row(SLOW, wire("half a body", BEGUN, b"Content-Length: 100\r\n\r\n{"), 408),
    Row(SLOW, wire("drips", BEGUN, b"Content-Length: 100\r\n\r\n", *[b"{"] * 99, pace=0.2), 408),
    Row(SLOW, wire("half a chunk", BEGUN, b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"), 408),
    *each(NO_IMAGE, image("empty.png", b""), 422),
    *each(NO_IMAGE, image("text.jpg", b"I am not an image."), 422),
    *each(NO_IMAGE, image("cut.png", PNG[: len(PNG) // 2]), 422),
    *each(NO_IMAGE, image("cut.jpg", encode(random_image(1, 200), "JPEG")[:3000]), 422),
    *each(OTHER, image("svg.png", SVG), 415),
    *each(OTHER, image("eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"), 415),
    *each(OTHER, image("icon.gif", encode(random_image(2), "ICO")), 415),
    *each(OTHER, image("psd.png", b"8BPS\0\1" + bytes(30)), 415),
    *each(OTHER, image("pdf.bmp", b"%PDF-1.7\n"), 415),
    *each(BOMB, image("huge.png", png(50_000, 50_000)), (413, 422)),
    *each(BOMB, image("text.png", text_bomb()), (413, 422)),
    *each(BOMB, image("long.gif", long_gif(10_000)), (413, 422)),
    Row(ODD, predict(CMYK, "CMYK"), 200, then=like(Image.open(io.BytesIO(CMYK)).convert("RGB"))),
    Row(ODD, predict(encode(DEEP), "16-bit"), 200, then=like(GRAY.convert("RGB"))),
    Row(ODD, predict(encode(PALETTE), "palette"), 200, then=like(PALETTE.convert("RGB"))),
    Row(ODD, predict(encode(PALETTE, "GIF"), "GIF"), 200, then=like(PALETTE.convert("RGB"))),
    Row(ODD, predict(encode(GRAY), "gray"), 200, then=like(GRAY.convert("RGB"))),
    Row(ODD, predict(encode(CLEAR), "alpha"), 200, then=like(Image.new("RGB", (32, 32), "white"))),
    Row(ODD, predict(encode(DOT), "1x1"), 200, then=like(DOT.resize((32, 32)))),
    Row(ODD, predict(ON_ITS_SIDE, "EXIF-rotated"), 200, then=like(UPRIGHT)),
    Row(ODD, predict(encode(COLOR, "BMP"), "BMP"), 200, then=like(COLOR)),
    Row(ODD, predict(encode(COLOR, "WEBP", lossless=True), "WebP"), 200, then=like(COLOR)),
    Row(DECODER, image_whose_decoders_die(), 422),
    Row(DECODER, image_whose_decoder_hangs(), 200, then=like(Image.open(io.BytesIO(PNG)))),
    *each(ZIP, zips("../", archive({**GOOD, "../evil.png": picture()})), 422),
    *each(ZIP, zips("absolute", archive({**GOOD, "/etc/evil.png": picture()})), 422),
    *each(ZIP, zips("link", archive(GOOD, add_link)), 422),
    *each(ZIP, zips("clashing", archive({**GOOD, "ant/0.png/1.png": picture()})), 422),
    *each(ZIP, zips("nested", archive({**GOOD, "ant/more.zip": archive(GOOD)})), 422),
    *each(ZIP, zips("ratio", archive(GOOD, add_bomb)), 422),
    Row(CLASSES, data_set("none", archive({})), 422),
    Row(CLASSES, data_set("one", archive({"ant/0.png": picture(), "ant/1.png": picture()})), 422),
    Row(CLASSES, data_set("an empty one", archive({**GOOD, "cat/": b""})), 422),
    Row(BROKEN, data_set("refused", HALF_BAD), 202, at="working", then=fails_naming_every_file),
    Row(BROKEN, data_set("skipped", HALF_BAD, on_unreadable="skip"), 202, at="working", then=leaves_them_out),
    Row(SHOWN, run(name=SCRIPT), 201, then=shown_as_text),
    Row(NAME, run(name="a\0b"), 422, "name"),
    Row(NAME, run(name="a\nb"), 422, "name"),
    Row(NAME, run(name="x" * 10_240), 422, "name"),
    *each(PARTS, (get(path, range="bytes=" + ",".join(["0-0"] * 5000)) for path in FILES), 400),
    *each(BEYOND, (get(path, range="bytes=999999999-") for path in FILES), 416, "content-range"),
    *each(BEYOND, (get(path, range="bytes=-0") for path in FILES), 416, "content-range"),
    *each(BEYOND, (get(path, range="bytes=0-1,999999999-") for path in FILES), 416, "content-range"),
    Row(ACTIVE, call("POST", f"/api/runs/{FINE}/stop"), 409),
    Row(ACTIVE, call("DELETE", f"/api/runs/{EMPTY}"), 409),
    Row(NO_MODEL, predict(PNG, "by a run without a checkpoint", model=EMPTY), 409),
    Row(NO_MODEL, predict(PNG, "where no run has finished"), 409, at="working"),
    Row("queue full", one_prediction_more(1), 503, header="retry-after"),
    Row("too many streams", one_stream_more(1), 503, header="retry-after"),
    *each("disk full on upload", uploads_without_room(), 507),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_bad_input_gets_what_the_table_says(row: Row, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(row.at)
    statuses = row.status if isinstance(row.status, tuple) else (row.status,)
    with nothing_written(place.server) if row.then is None else nullcontext():
        answer = row.sent.to(place)
    assert answer.status_code in statuses, answer.text[:500]
    assert row.header is None or answer.headers[row.header]
    if row.then is not None:
        row.then(place, answer)
    elif not row.page:
        assert_error(answer, answer.status_code, row.field)
    assert place.client.get("/healthz").status_code == 200
    if "predictor" in place.server.processes:
        assert predict(PNG).to(place).status_code == 200
