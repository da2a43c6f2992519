"""`trackside.Client` against a real server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import trackside
from app.auth.password import PasswordFile
from app.auth.scopes import Scope
from app.auth.tokens import Tokens
from app.supervisor import free_port
from tests.client.conftest import CLIENT
from tests.conftest import ENDLESS, NARROW, Server, new_server
from tests.web.locked import CHEAP, PASSWORD
from trackside.api import Api
from trackside.imports.content import Content
from trackside.tensorboard.source import EventFiles

SHORT = {**NARROW, "max_steps": 30}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Server]:
    server = new_server(tmp_path_factory.mktemp("served") / "home", shapes)
    server.start("web", "worker", "predictor")
    yield server
    server.close()


@pytest.fixture
def client(served: Server, monkeypatch: pytest.MonkeyPatch) -> trackside.Client:
    monkeypatch.setenv("TRACKSIDE_URL", served.url)
    monkeypatch.delenv("TRACKSIDE_TOKEN", raising=False)
    return trackside.Client()


@pytest.fixture(scope="module")
def finished(served: Server) -> str:
    """The id of a finished run."""
    client = trackside.Client(served.url)
    run = client.launch("shapes100", "baseline-cnn", SHORT, name="short", tags=["a", "b"], group="g", project="p")
    assert run.wait(timeout=90, poll=0.05).status == "finished"
    return run.id


def test_a_run_is_launched_and_described(client: trackside.Client, finished: str) -> None:
    run = client.run(finished)
    assert (run.name, run.status, run.has_ended, run.error) == ("short", "finished", True, None)
    assert (run.data["tags"], run.data["group"], run.data["project"]) == (["a", "b"], "g", "p")
    assert 0 <= run.summary["test/acc"] <= 1
    assert run.url.endswith(f"/runs/{finished}")
    assert run.refresh().id == finished


def test_a_run_becomes_an_event_file(finished: str, served: Server, tmp_path: Path) -> None:
    environment = {"PATH": "", "TRACKSIDE_URL": served.url, "PYTHONPATH": str(CLIENT)}
    command = [sys.executable, "-m", "trackside", "export", "tensorboard", finished, "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    content = Content(EventFiles(tmp_path / "out"))
    content.read()
    lines = [json.loads(line) for line in content.bytes_at(0, content.size).splitlines()]
    content.close()
    series: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line["v"].items() if line["e"] == "metrics" else ():
            series.setdefault(name, []).append((line["step"], value))
    expected = served.series(finished)
    assert series.keys() == expected.keys()
    for name, found in expected.items():
        assert [step for step, _ in series[name]] == found["step"], name
        assert [value for _, value in series[name]] == pytest.approx(found["value"], rel=1e-6), name
    (settings,) = [line["v"] for line in lines if line["e"] == "config"]
    assert settings["optimizer/lr"] == 1e-3


def test_metrics_are_lists(client: trackside.Client, finished: str, served: Server) -> None:
    run = client.run(finished)
    metrics = run.metrics()
    assert {"train/loss", "val/acc"} <= metrics.keys()
    expected = served.series(finished)["train/loss"]
    assert metrics["train/loss"] == {name: expected[name] for name in ("step", "value", "time")}
    assert run.metrics(["val/acc", "absent"]).keys() == {"val/acc"}
    assert run.metrics("val/acc").keys() == {"val/acc"}
    assert run.metrics([]) == {}
    assert len(run.metrics("train/loss", points=2)["train/loss"]["step"]) < len(expected["step"])


def test_a_frame_needs_pandas(client: trackside.Client, finished: str) -> None:
    try:
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: F401
    except ImportError:
        with pytest.raises(trackside.UsageError, match="pip install pandas"):
            client.run(finished).metrics().frame()
    else:
        frame = client.run(finished).metrics("train/loss").frame()
        assert list(frame.columns) == ["train/loss"]
        assert frame.index.name == "step"


def test_the_log_and_the_checkpoints_are_read(client: trackside.Client, finished: str, tmp_path: Path) -> None:
    run = client.run(finished)
    lines = run.log()
    assert lines
    assert [line.key for line in lines] == sorted({line.key for line in lines})
    assert run.log(after=lines[0].key) == lines[1:]
    (best,) = [checkpoint for checkpoint in run.checkpoints() if checkpoint.best]
    path = run.download("best", tmp_path)
    assert path == tmp_path / f"{finished}-{best.step}.safetensors"
    assert path.stat().st_size == best.size
    assert run.download(best.step, tmp_path / "w").read_bytes() == path.read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([path.name, "w"])
    with pytest.raises(trackside.ApiError) as caught:
        run.download(7, tmp_path)
    assert caught.value.status == 404


def test_images_are_classified(client: trackside.Client, finished: str, tmp_path: Path) -> None:
    paths = [tmp_path / f'{number} "x" é.png' for number in range(35)]
    for number, path in enumerate(paths):
        Image.new("RGB", (64, 64), (7 * number, 0, 0)).save(path)
    paths[3].write_text("no image")
    answers = client.predict(finished, *paths, top_k=3)
    assert [answer.path for answer in answers] == paths
    assert [index for index, answer in enumerate(answers) if answer.error] == [3]
    assert {len(answer.predictions) for answer in answers if not answer.error} == {3}
    (only,) = client.predict(finished, paths[0], top_k=3)
    assert [item.label for item in only.predictions] == [item.label for item in answers[0].predictions]
    assert 0 < only.predictions[0].probability <= 1
    (bad,) = client.predict(finished, str(paths[3]))
    assert bad.error is not None
    assert bad.predictions == ()
    assert client.predict(finished) == []
    with pytest.raises(trackside.ApiError) as caught:
        client.predict("absent", paths[0])
    assert caught.value.status == 404


def test_runs_are_listed_over_pages(client: trackside.Client, finished: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackside.client.PAGE", 2)
    ids = [client.launch("shapes100", "baseline-cnn", SHORT, group="pages").id for _ in range(5)]
    assert [run.id for run in client.runs(group="pages")] == ids[::-1]
    assert [run.id for run in client.runs(group="pages", sort="created_at", limit=3)] == ids[:3]
    assert finished not in {run.id for run in client.runs(group="pages")}
    for run_id in ids:
        run = client.run(run_id)
        if not run.has_ended:
            run.stop()
    with pytest.raises(trackside.ApiError) as caught:
        list(client.runs(colour="red"))
    assert caught.value.status == 422


@pytest.mark.timeout(240)
def test_a_run_is_stopped_and_resumed(client: trackside.Client, served: Server) -> None:
    run = client.launch("shapes100", "baseline-cnn", {**NARROW, **ENDLESS})
    with pytest.raises(TimeoutError):
        run.wait(timeout=0)
    served.wait_step(run.id, 3)
    run.stop()
    assert run.wait(timeout=60, poll=0.05).status == "stopped"
    with pytest.raises(trackside.ApiError) as caught:
        run.stop()
    assert (caught.value.status, bool(caught.value.code), bool(caught.value.message)) == (409, True, True)
    assert run.resume().has_ended is False
    run.stop().wait(timeout=60, poll=0.05)


def test_a_wait_survives_a_restart_of_the_server(client: trackside.Client, served: Server) -> None:
    run = client.launch("shapes100", "baseline-cnn", SHORT)
    served.kill("web")
    with pytest.raises(trackside.ApiError) as caught:
        run.refresh()
    assert (caught.value.status, caught.value.code, caught.value.is_temporary) == (0, "unreachable", True)
    with pytest.raises(TimeoutError):
        run.wait(timeout=0.1, poll=0.02)
    served.start("web")
    assert run.wait(timeout=60, poll=0.05).status == "finished"


def test_what_the_server_refuses_is_one_class_of_error(client: trackside.Client) -> None:
    with pytest.raises(trackside.ApiError) as caught:
        client.run("../absent")
    assert caught.value.status == 404
    with pytest.raises(trackside.ApiError) as caught:
        client.launch("shapes100", "baseline-cnn", {"epochs": -1})
    assert caught.value.status == 422
    assert "epochs" in str(caught.value.detail)
    with pytest.raises(trackside.ApiError) as caught:
        trackside.Client(f"http://127.0.0.1:{free_port('127.0.0.1')}").datasets()
    assert (caught.value.status, caught.value.code) == (0, "unreachable")
    for address in ("ftp://x", "localhost:8000", "http://x:port"):
        with pytest.raises(trackside.UsageError):
            trackside.Client(address)
    with pytest.raises(trackside.UsageError, match="JSON"):
        client.launch("shapes100", "baseline-cnn", {"lr": float("nan")})
    with pytest.raises(trackside.UsageError, match="token"):
        trackside.Client(token="a\nb").datasets()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100\r\n\r\nseries,step", b"Transfer-Encoding: chunked\r\n\r\nb\r\nseries,step\r\n"],
    ids=["length", "chunked"],
)
def test_an_answer_that_breaks_off_is_an_error(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)

        thread = threading.Thread(target=answer)
        thread.start()
        api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(trackside.ApiError) as caught, api.stream("/") as blocks:
            list(blocks)
        thread.join()
    assert (caught.value.status, caught.value.code) == (0, "unreachable")


def test_datasets_and_searches(client: trackside.Client, served: Server) -> None:
    assert [item["name"] for item in client.datasets()] == ["shapes100"]
    space = {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    begun = client.search(dataset="shapes100", preset="baseline-cnn", space=space, overrides=SHORT, trials=1)
    assert begun["id"] in {item["id"] for item in client.searches()}
    with served.client() as api:
        assert api.post(f"/api/searches/{begun['id']}/stop").status_code == 202


def test_a_token_is_needed_where_there_is_a_password(
    tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = new_server(tmp_path / "home", shapes)
    PasswordFile(server.settings.access).set(PASSWORD, n=CHEAP)
    tokens = Tokens(server.settings.access)
    texts = {scope: tokens.add(scope.value, [scope]) for scope in (Scope.READ, Scope.LAUNCH)}
    server.start("web")
    try:
        with pytest.raises(trackside.ApiError) as caught:
            trackside.Client(server.url).datasets()
        assert caught.value.status == 401
        monkeypatch.setenv("TRACKSIDE_TOKEN", texts[Scope.READ])
        assert trackside.Client(server.url).datasets()
        with pytest.raises(trackside.ApiError) as caught:
            trackside.Client(server.url).launch("shapes100", "baseline-cnn")
        assert caught.value.status == 403
        client = trackside.Client(server.url, texts[Scope.LAUNCH])
        assert client.launch("shapes100", "baseline-cnn").status == "queued"
    finally:
        server.close()


def test_a_script_that_logs_does_not_load_it() -> None:
    code = "import sys, trackside; print('trackside.client' in sys.modules, trackside.Client.__name__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(CLIENT)!r}); {code}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "Client"]
