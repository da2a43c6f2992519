"""Promise 13: pages of other sites in the same browser can neither read nor change anything, signed in or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from app.auth.password import PasswordFile
from tests.conftest import Server

CANARY = "a name that others must not learn"
PASSWORD = "correct horse battery"

# Sends requests in every way that a page can. Returns what it could read and which requests were answered at all.
ATTACK = """
async ([target, run]) => {
  const read = [], shown = [];
  const json = JSON.stringify({ dataset: "shapes100", preset: "baseline-cnn", name: "planted" });
  const calls = [
    ["GET", "/api/runs"], ["GET", `/api/runs/${run}`], ["GET", "/"], ["GET", "/tokens"], ["GET", "/metrics"],
    ["POST", "/api/runs", json], ["POST", `/api/runs/${run}/stop`], ["DELETE", `/api/runs/${run}`],
    ["PATCH", `/api/runs/${run}`, '{"name": "defaced"}'], ["PUT", "/api/models/production", `{"run": "${run}"}`],
    ["POST", "/api/runs/bulk", `{"action": "delete", "ids": ["${run}"]}`],
    ["POST", "/api/datasets", '{"name": "planted", "source": "shapes100"}'],
  ];
  for (const [method, path, body] of calls)
    for (const credentials of ["include", "omit"])
      for (const mode of ["cors", "no-cors"])
        for (const type of ["application/json", "text/plain"]) {
          try {
            const headers = { "Content-Type": type };
            const answer = await fetch(target + path, { method, body, mode, credentials, headers });
            read.push(`${method} ${path} ${answer.type} ${await answer.text()}`);
          } catch {}
        }
  navigator.sendBeacon(`${target}/api/runs/${run}/stop`);
  navigator.sendBeacon(`${target}/api/runs`, json);

  const gone = (node, place) => new Promise((resolve) => {
    node.onload = () => { shown.push(place); resolve(); };
    node.onerror = () => resolve();
    document.body.append(node);
  });
  const made = (tag, values) => Object.assign(document.createElement(tag), values);
  const src = `${target}/api/datasets/shapes100/images/train/0.png`;
  await gone(made("img", { src }), "image");
  await gone(made("img", { src, crossOrigin: "use-credentials" }), "image");
  await gone(made("script", { src: `${target}/api/runs` }), "script");
  await gone(made("script", { src: `${target}/static/js/shared/page.js`, type: "module" }), "module");
  await gone(made("link", { rel: "stylesheet", href: `${target}/api/runs/${run}/metrics.csv` }), "style sheet");

  const stream = new EventSource(`${target}/api/events`, { withCredentials: true });
  await new Promise((resolve) => {
    stream.onopen = () => { shown.push("stream"); resolve(); };
    stream.onerror = resolve;
  });
  stream.close();

  const forms = [
    [`/runs/${run}/stop`, {}], [`/runs/${run}/delete`, {}], [`/runs/${run}/edit`, { name: "defaced" }],
    ["/runs", { dataset: "shapes100", preset: "baseline-cnn" }], ["/models", { name: "planted", run }],
    ["/tokens", { name: "planted", scope: "admin" }], ["/logout", { everywhere: "1" }],
  ];
  for (const [index, [action, fields]] of forms.entries()) {
    const frame = made("iframe", { name: `frame${index}` });
    document.body.append(frame);
    const form = made("form", { method: "post", action: target + action, target: frame.name });
    for (const [name, value] of Object.entries(fields)) form.append(made("input", { name, value }));
    document.body.append(form);
    await new Promise((resolve) => { frame.onload = resolve; form.submit(); });
    try {
      if (frame.contentDocument?.body.textContent) read.push(`frame ${action}`);
    } catch {}
  }
  return { read, shown };
}
"""


class Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Another site</title><body>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield site.server_address[1]
        site.shutdown()
        thread.join()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    yield made
    made.close()


def attack_from_everywhere(server: Server, run: str, port: int, context: BrowserContext) -> None:
    before = state(server, context)
    assert CANARY in str(before)
    for site in (f"http://127.0.0.1:{port}", f"http://attacker.test:{port}"):
        page = context.new_page()
        page.goto(site)
        found = page.evaluate(ATTACK, [server.url, run])
        # An opaque response exposes neither a body nor a status.
        assert [line for line in found["read"] if not line.endswith(" opaque ")] == [], site
        assert found["shown"] == [], site
        page.close()
    # DNS rebinding: a foreign host name that resolves to this machine would be same-origin, and is rejected.
    page = context.new_page()
    rebound = f"http://attacker.test:{server.settings.port}"
    answer = page.goto(rebound)
    assert answer is not None
    assert answer.status == 400
    assert CANARY not in page.content()
    ask = "([path, method]) => fetch(path, { method, credentials: 'include' }).then((answer) => answer.status)"
    for method, path in (("GET", "/api/runs"), ("POST", f"/api/runs/{run}/stop"), ("DELETE", f"/api/runs/{run}")):
        assert page.evaluate(ask, [path, method]) == 400
    page.close()
    assert state(server, context) == before


def state(server: Server, context: BrowserContext) -> list[Any]:
    """Return the server's state as the signed-in user of the browser sees it."""
    found = []
    for path in ("/api/runs", "/api/models", "/api/datasets", "/api/tasks"):
        answer = context.request.get(server.url + path)
        assert answer.status == 200
        found.append(answer.json())
    return found


def test_promise_13_other_sites_can_do_nothing_signed_in_or_not(
    server: Server, foreign_port: int, context: BrowserContext
) -> None:
    server.start("web")
    run = server.launch(name=CANARY)
    attack_from_everywhere(server, run, foreign_port, context)

    PasswordFile(server.settings.access).set(PASSWORD, n=2**4)
    page = context.new_page()
    page.goto(f"{server.url}/system")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/system")
    attack_from_everywhere(server, run, foreign_port, context)
    page.goto(f"{server.url}/tokens")
    assert "There are no tokens" in page.content()
