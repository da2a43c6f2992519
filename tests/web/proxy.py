"""A small reverse proxy that serves a web process under /trackside, as a shared machine's does."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ROOT = "/trackside"
PASSED = ("content-type", "location", "set-cookie", "cache-control", "content-security-policy")


@contextmanager
def reverse_proxy(port: int, *, strips: bool = True, names_prefix: bool = False) -> Iterator[str]:
    """Yield the proxy's own origin. It strips the prefix, or not, and sends X-Forwarded-Prefix, or not."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if self.path != ROOT and not self.path.startswith(f"{ROOT}/"):
                self.send_error(404, f"only {ROOT}/ is served here")
                return
            path = (self.path.removeprefix(ROOT) or "/") if strips else self.path
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            if names_prefix:
                headers["X-Forwarded-Prefix"] = ROOT
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request(self.command, path, body, headers)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() in PASSED:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while part := answer.read1():  # at once, for live streams
                    self.wfile.write(part)
                    self.wfile.flush()
            except (BrokenPipeError, ConnectionError, TimeoutError):
                self.close_connection = True
            finally:
                connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
