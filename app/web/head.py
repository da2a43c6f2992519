"""HEAD wherever GET is answered: the headers of that answer, without its body (RFC 9110, section 9.3.2)."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Answers HEAD as GET up to the headers, then cancels the rest: no file is read, and a live stream ends at once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                answering.cancel()

        answer = self.app({**scope, "method": "GET"}, receive, send_headers)
        answering: asyncio.Future[None] = asyncio.ensure_future(answer)
        try:
            await answering
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # the request itself was canceled, not only its answer
                raise
