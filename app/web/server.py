"""Runs the application with uvicorn."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from app.settings import Settings
from app.web.services import Services
from app.web.slow_clients import IdleConnections, LimitedProtocol

CLOSE_SECONDS = 3.0  # from the start of a shutdown until open connections are closed
GRACE_SECONDS = 5  # until requests that are still at work are canceled


def run(app: FastAPI, settings: Settings, max_connections: int) -> None:
    """Serve until SIGTERM or SIGINT. With more connections, idle ones are closed."""
    idle = IdleConnections(max_connections)
    protocol = partial(LimitedProtocol, idle=idle, header_seconds=settings.header_seconds)
    server = WebServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=settings.keep_alive_seconds,
            server_header=False,
            limit_concurrency=None,
            http=cast(type[asyncio.Protocol], protocol),
            proxy_headers=False,  # create_app reads them: RootMiddleware has to see the proxy's address
        )
    )
    with suppress(KeyboardInterrupt):
        server.run()


class WebServer(uvicorn.Server):
    """A server that ends the live streams when it is stopped, instead of waiting for their viewers to leave."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services = self.config.app.state.services  # type: ignore[union-attr]
        services.feed.end_streams()
        closing = asyncio.create_task(self._close_connections())
        await super().shutdown(sockets)
        closing.cancel()

    async def _close_connections(self) -> None:
        """Close the connections of requests that are still being sent or answered: their handlers end without error."""
        await asyncio.sleep(CLOSE_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
