"""Services on the loopback that messages are sent to: a webhook that may misbehave, and a mail server."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook(ThreadingHTTPServer):
    """Keeps what it has taken. `behavior` is asked for each request: "take", "close", "hang", "500" or an address that
    it redirects to."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.taken: list[dict[str, Any]] = []
        self.asked = 0
        self.behavior = "take"
        self.released = threading.Event()
        super().__init__((host, 0), _WebhookHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _WebhookHandler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        match self.server.behavior:
            case "close":
                self.connection.close()
                return
            case "hang":
                self.server.released.wait(60)
                return
            case "take":
                self.server.taken.append(json.loads(body))
                self.send_response(200)
            case "500":
                self.send_response(500)
            case address:
                self.send_response(307)
                self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as is needed to take a message."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[str] = []
        super().__init__(("127.0.0.1", 0), _MailHandler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            word = line.split(b" ")[0].strip().upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line.decode())
                self.server.mails.append("".join(lines))
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


@contextmanager
def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
