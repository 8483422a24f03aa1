"""Middleware around the service: limits on the size and time of requests, security headers, counters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beit.service.admission import Admission
from beit.service.errors import CLIENT_GONE, ServiceError, error_response, internal
from beit.service.hosts import check_hosts
from beit.service.metrics import Metrics
from beit.settings.serve import ServiceSettings

_PROBES = frozenset({"/healthz", "/readyz"})  # asked under any name
ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})  # answered also by a service that stops
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # a page sets its own
    "Cache-Control": "no-store",
}
_DISCARD_SECONDS = 1.0
_log = logging.getLogger(__name__)


class ServiceMiddleware:
    """Middleware around the whole service, mounted applications included.

    Args:
        app: The application inside.
        known: Paths that are counted by name; all that clients invent would make metrics without end.
        admission: Requests under way.
        metrics: Where answers are counted.
        settings: The limits.
    """

    def __init__(
        self,
        app: ASGIApp,
        known: frozenset[str],
        admission: Admission,
        metrics: Metrics,
        settings: ServiceSettings,
    ) -> None:
        self._app = app
        self._known = known
        self._admission = admission
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["method"] == "HEAD":  # what GET answers, whose body the server leaves out
            scope = {**scope, "method": "GET"}
        began = time.perf_counter()
        body = _Body(scope, receive, self._admission, self._settings)
        answer = _Answer(send, body, lambda: self._admission.stopping)
        try:
            await self._answer(scope, body, answer)
        finally:
            body.release()
            route: str = scope["path"] if scope["path"] in self._known else "other"
            self._metrics.answered(route, answer.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, body: _Body, answer: _Answer) -> None:
        if scope["path"] in ALWAYS:
            return await self._app(scope, body, answer)
        if self._admission.stopping:
            stopping = ServiceError(503, "the service is stopping; send the request to another one, or try again later")
            return await error_response(stopping)(scope, body, answer)
        with self._admission.request():
            try:
                if scope["path"] not in _PROBES:
                    check_hosts(Headers(scope=scope), self._settings.allowed_hosts)
                await self._app(scope, body, answer)
            except ServiceError as refusal:
                await error_response(refusal)(scope, body, answer)
            except ClientDisconnect:  # nobody is there to answer
                _log.warning("%s: a client left during its upload", scope["path"])
                answer.status = answer.status or CLIENT_GONE
            except Exception:
                _log.exception("%s failed", scope["path"])
                if answer.status:  # half of an answer is out: only closing the connection can show it
                    raise
                await error_response(internal())(scope, body, answer)


class _Body:
    """Body of a request, counted as it arrives, whether or not its length was declared."""

    def __init__(self, scope: Scope, receive: Receive, admission: Admission, settings: ServiceSettings) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._admission = admission
        self._settings = settings
        length = headers.get("content-length", "0")
        self._declared = int(length) if length.isdecimal() else 0
        self._until = asyncio.get_running_loop().time() + settings.body_timeout_s
        self._bytes = 0
        self._late = False
        self._awaits_continue = headers.get("expect", "").lower() == "100-continue"
        self.whole = length == "0" and "transfer-encoding" not in headers

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            ServiceError: If the body is too large, late, or there is no memory for it now.
        """
        if self.whole:
            return await self._receive()
        self._check(self._declared)
        self._awaits_continue = False  # asking for it invites the client to send
        message = await self._next()
        size = len(message.get("body", b""))
        self._check(self._bytes + size)
        self._admission.hold(size)
        self._bytes += size
        return message

    async def discard(self) -> None:
        """Read on for a moment: a client that still sends would not see the answer, but its connection reset."""
        left = self._settings.max_upload_bytes
        if self._late or self._awaits_continue:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self.whole and left > 0:
                    message = await self._receive()
                    self._note(message)
                    left -= len(message.get("body", b""))

    def release(self) -> None:
        """Release the memory of the body."""
        self._admission.hold(-self._bytes)

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self._late = True
            raise ServiceError(
                408, f"the request did not arrive within {self._settings.body_timeout_s:g} s; send it faster"
            ) from None
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        self.whole = message["type"] == "http.disconnect" or not message.get("more_body", False)

    def _check(self, size: int) -> None:
        most = self._settings.max_upload_bytes
        if size > most:
            raise ServiceError(
                413, f"the request has more than {most} bytes; send a smaller or stronger compressed file"
            )


class _Answer:
    """Answer of the service, with the security headers."""

    def __init__(self, send: Send, body: _Body, stopping: Callable[[], bool]) -> None:
        self._send = send
        self._stopping = stopping
        self._body = body
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not self._body.whole:
                await self._body.discard()
            if not self._body.whole or self._stopping():
                headers["Connection"] = "close"
            self.status = message["status"]
        await self._send(message)
