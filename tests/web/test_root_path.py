"""Behind a reverse proxy that serves Trackside under a path, all addresses begin with that path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.auth.password import PasswordFile
from app.cli import main
from app.environment import OWN_PATHS, root_path
from app.main import create_app
from app.settings import Settings
from app.storage.db import Database
from app.supervisor import environment_of
from app.web.root import stripped
from tests.conftest import Server
from tests.databases import home_environment, settings_of
from tests.web.conftest import web_process
from tests.web.locked import CHEAP, PASSWORD, sign_in
from tests.web.proxy import ROOT, reverse_proxy

REPOSITORY = Path(__file__).parents[2]
ATTRIBUTE = re.compile(r"""\b(?:href|src|srcset|action|formaction|poster|data-[a-z-]+)=["']/(?!/)""")
SCRIPT = re.compile(r"""["'`]/[A-Za-z$]|(?:assign|fetch|open)\(["'`]/""")
VIEW = re.compile(r"""return [^#\n]*(?<!root\(\) \+ )f?["']/(?:[a-z?]|["'])""")
SETTING = {"TRACKSIDE_ROOT_PATH": f"{ROOT}/"}
TRUST = {"TRACKSIDE_TRUSTED_PROXIES": "127.0.0.1"}


def offending(pattern: re.Pattern[str], *globs: str) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:120]}"
        for glob in globs
        for path in sorted(REPOSITORY.glob(glob))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_address_leaves_out_the_root() -> None:
    assert offending(ATTRIBUTE, "templates/**/*.html") == []
    assert offending(SCRIPT, "static/js/**/*.js") == []
    assert offending(re.compile(r"url\([\"']?/|@import [\"']/"), "static/css/**/*.css") == []
    assert offending(VIEW, "app/web/*/*view.py", "app/web/*/*_tab.py") == []


@pytest.mark.parametrize(
    "line", ['<a href="/runs">', "<img src='/api/x'>", '<form action="/login">', '<div data-image="/api/{{ x }}">']
)
def test_the_search_for_addresses_finds_them(line: str) -> None:
    assert ATTRIBUTE.search(line)
    assert not ATTRIBUTE.search('<a href="{{ root() }}/runs"><a href="#x"><a href="?page=2"><a href="//other">')


@pytest.mark.parametrize(
    ("text", "root"),
    [("", ""), ("/", ""), ("/trackside", "/trackside"), ("trackside/", "/trackside"), ("/a/b-c_1.x/", "/a/b-c_1.x")],
)
def test_a_root_is_a_path(text: str, root: str) -> None:
    assert Settings(root_path=text).root_path == root


@pytest.mark.parametrize("text", ["/a b", "/..", "/a/../b", "//evil.example", 'a"b', "https://x/y", "/runs", "/api/x"])
def test_what_is_no_root(text: str) -> None:
    with pytest.raises(ValueError, match=r"is expected|of Trackside itself"):
        root_path(text)


def test_an_option_that_is_no_root_is_named(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["serve", "--root-path", "/a b"], env=home_environment(tmp_path / "home"))
    assert ended.exit_code == 1
    assert ended.stderr.startswith("TRACKSIDE_ROOT_PATH=/a b: a path of letters")
    assert ended.stderr.endswith("A valid value: TRACKSIDE_ROOT_PATH=/trackside\n")


def test_no_page_can_be_mistaken_for_a_root(tmp_path: Path) -> None:
    database = Database(settings_of(tmp_path).url)
    database.migrate()
    app: Any = create_app(settings_of(tmp_path))
    paths = {*app.openapi()["paths"], *(route.path for route in app.routes if hasattr(route, "path"))}
    assert {path.split("/")[1] for path in paths} - {""} <= OWN_PATHS
    app.state.services.database.close()
    database.close()


def test_a_path_is_stripped_once() -> None:
    assert stripped("/trackside/runs/1", ROOT) == "/runs/1"
    assert stripped("/trackside", ROOT) == stripped("/trackside/", ROOT) == "/"
    assert stripped("/tracksides/runs", ROOT) == "/tracksides/runs"
    assert stripped("/runs/1", ROOT) == "/runs/1"


def test_serve_passes_it_on() -> None:
    assert environment_of(Settings(root_path="/a"))["TRACKSIDE_ROOT_PATH"] == "/a"


@pytest.fixture(scope="module", params=["setting", "header"])
def under_root(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shapes: Path
) -> Iterator[Server]:
    """A web process that learns its root from its settings, or from the proxy."""
    environment = SETTING if request.param == "setting" else TRUST
    with web_process(tmp_path_factory.mktemp("root"), shapes, **environment) as server:
        yield server


@pytest.fixture(params=["stripped", "kept"])
def proxied(request: pytest.FixtureRequest, under_root: Server) -> Iterator[httpx.Client]:
    with (
        reverse_proxy(under_root.settings.port, strips=request.param == "stripped", names_prefix=True) as origin,
        httpx.Client(base_url=origin, timeout=30) as client,
    ):
        yield client


def test_every_address_of_every_page_is_answered(proxied: httpx.Client) -> None:
    body = {"dataset": "shapes100", "preset": "baseline-cnn"}
    made = proxied.post(f"{ROOT}/api/runs", json=body)
    assert made.status_code == 201
    run_id = made.json()["id"]
    assert made.headers["location"] == f"{ROOT}/api/runs/{run_id}"
    assert proxied.get(made.headers["location"]).json()["id"] == run_id
    pages = ["/", "/runs/new", f"/runs/{run_id}", f"/runs/{run_id}?tab=setup", "/datasets", "/datasets/shapes100",
             "/predict", f"/compare?runs={run_id}", "/results", "/system", "/models", "/docs", "/nowhere"]  # fmt: skip
    addresses: set[str] = set()
    for page in pages:
        answer = proxied.get(f"{ROOT}{page}", headers={"accept": "text/html"})
        assert answer.status_code == (404 if page == "/nowhere" else 200), page
        found = re.findall(r"""<[^>]*?(?<=\s)(?:href|src|action)="([^"#][^"]*)\"""", answer.text)
        absolute = [address for address in found if not address.startswith(("?", "data:", "https://", "http://"))]
        assert [address for address in absolute if not address.startswith(f"{ROOT}/")] == [], page
        assert f'data-root="{ROOT}"' in answer.text
        addresses |= {address.replace("&amp;", "&") for address in absolute}
    assert len(addresses) > 40
    refused = {address: proxied.get(address).status_code for address in sorted(addresses)}
    assert {address: status for address, status in refused.items() if status not in (200, 303, 405)} == {}


def test_redirects_and_forms(proxied: httpx.Client) -> None:
    typed = {"dataset": "shapes100", "preset": "baseline-cnn", "epochs": "3"}
    made = proxied.post(f"{ROOT}/runs", data=typed)
    assert made.status_code == 303
    assert re.fullmatch(rf"{ROOT}/runs/[0-9a-z]+", made.headers["location"])
    assert proxied.get(made.headers["location"]).status_code == 200
    slash = proxied.get(f"{ROOT}/datasets/")
    assert slash.headers["location"] == f"{ROOT}/datasets" if slash.status_code in (307, 308) else slash.is_client_error


def test_the_api_document_names_the_root(proxied: httpx.Client) -> None:
    assert proxied.get(f"{ROOT}/openapi.json").json()["servers"] == [{"url": ROOT}]
    assert proxied.get(ROOT).status_code == 200


def test_without_a_proxy_it_is_served_at_the_top(web: Server) -> None:
    """Nobody but a trusted proxy can change the addresses."""
    with web.client() as client:
        answer = client.get("/", headers={"accept": "text/html", "x-forwarded-prefix": ROOT})
        assert 'data-root=""' in answer.text
        assert ROOT not in answer.text
        assert "servers" not in client.get("/openapi.json").json()


@pytest.mark.parametrize("prefix", ["/a b", "//evil.example", '/"><script>', "/..", "/runs", ""])
def test_a_prefix_that_is_no_path_is_ignored(under_root: Server, prefix: str) -> None:
    with under_root.client() as client:
        answer = client.get("/", headers={"accept": "text/html", "x-forwarded-prefix": prefix})
    assert re.findall(r'data-root="([^"]*)"', answer.text) in ([""], [ROOT])
    assert answer.status_code == 200


def test_signing_in_and_out(tmp_path: Path, shapes: Path) -> None:
    PasswordFile(settings_of(tmp_path).access).set(PASSWORD, n=CHEAP)
    with (
        web_process(tmp_path, shapes, **SETTING) as server,
        reverse_proxy(server.settings.port) as origin,
        httpx.Client(base_url=f"{origin}{ROOT}", timeout=30) as client,
    ):
        asked = client.get("/runs/new", headers={"accept": "text/html"})
        assert asked.headers["location"] == f"{ROOT}/login?next=/runs/new"
        signed = sign_in(client, next="/runs/new")
        assert (signed.status_code, signed.headers["location"]) == (303, f"{ROOT}/runs/new")
        assert re.search(rf"; path={ROOT}(;|$)", signed.headers["set-cookie"], re.IGNORECASE)
        assert client.get("/runs/new").status_code == 200
        assert sign_in(client, next=f"{ROOT}/runs/new").headers["location"] == f"{ROOT}/runs/new"
        out = client.post("/logout")
        assert out.headers["location"] == f"{ROOT}/login"
        assert client.get("/runs/new").status_code == 303
