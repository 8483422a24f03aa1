"""Server process: socket, signals, and timeouts of slow clients."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beit.errors import ConfigError
from beit.service.service import Service

_MOST_CONNECTIONS = 512
_UNREAD_SECONDS = 30  # after which a client that takes no byte of its answer is given up
_LAST_SECONDS = 1.0  # in which requests that are on their way when the last one is answered arrive
_IDLE_SECONDS = 8  # between requests: longer than clients keep a connection (httpx: 5), who would meet its end else
_CLOSING_SECONDS = 5  # for connections that stay open though their request is answered
_MOST_HEAD_BYTES = 64 * 1024  # of the head of a request, of a chunk, or of the fields after the last one
_MOST_WAITING = 16  # requests of one connection that wait for the answer to the one before
_PIECE_BYTES = 4096  # after which these are compared with what came


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 for clients that do not finish the head of a request, make it endless, or do not read its answer."""

    _late: asyncio.TimerHandle | None = None
    _head_bytes = 0  # since a request, or a part of its body, was passed on

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        connection: socket.socket = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _UNREAD_SECONDS)
        self._begin_waiting()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once the head is there; begin again with the next one."""
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            self._head_bytes += len(piece)
            super().data_received(piece)
            self._check_bounds()
            if self.transport.is_closing():
                break
        cycle: Any = self.cycle  # None before the first request
        waits = not self.transport.is_closing() and (cycle is None or cycle.response_complete)
        if waits and self._late is None:
            self._begin_waiting()
        elif not waits:
            self._stop_waiting()

    def on_headers_complete(self) -> None:
        """Begin to count anew."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew: the middleware bounds the body."""
        self._head_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _check_bounds(self) -> None:
        if self._head_bytes > _MOST_HEAD_BYTES:
            self._refuse(
                f"the head of the request has more than {_MOST_HEAD_BYTES} bytes; send fewer or shorter fields"
            )
        elif len(self.pipeline) > _MOST_WAITING:
            self._refuse(f"more than {_MOST_WAITING} requests wait on this connection; read the answers first")

    def _refuse(self, message: str) -> None:
        """Close the connection, with the reason unless another answer is on its way."""
        cycle: Any = self.cycle
        if not self.transport.is_closing() and (cycle is None or cycle.response_complete):
            body = json.dumps({"error": {"message": message}}).encode()
            head = (
                "HTTP/1.1 431 Request Header Fields Too Large\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _begin_waiting(self) -> None:
        app: Any = self.config.app
        service: Service = app.state.service
        self._late = self.loop.call_later(service.settings.body_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """Server that ends only when every accepted request is answered.

    From the first signal on, new requests are answered with 503 while others are still computed; then it ends. A
    second signal ends it at once.

    Args:
        config: Of uvicorn.
        service: The service behind the application.
        on_ready: Called once it does.
    """

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready: Callable[[], None] | None = on_ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, or end as the signal does by itself: nothing on a disk is half done."""
        if self._service.admission.stopping:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._service.admission.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end: asked ten times a second."""
        if self._on_ready is not None and self._service.ready:
            self._on_ready()
            self._on_ready = None
        admission = self._service.admission
        done = admission.stopping and admission.requests == 0
        return await super().on_tick(counter) or done or self._service.failure is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, answer what the open ones still send, then end."""
        for server in self.servers:
            server.close()
        deadline = asyncio.get_running_loop().time() + _LAST_SECONDS
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def serve(
    app: FastAPI,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve an application of `create_app` until SIGTERM or SIGINT.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        on_listening: Called with the address once connections are taken; the models may still have to be loaded.
        on_ready: Called with it once they are, and requests are answered.

    Raises:
        ConfigError: If the address cannot be listened on.
        BeitError: If the models cannot be loaded.
    """
    service: Service = app.state.service
    options: dict[str, Any] = {"proxy_headers": False, "server_header": False, "access_log": False}
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        timeout_keep_alive=_IDLE_SECONDS,
        **options,
    )
    with _listening(host, port) as listener:
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listener.getsockname()[1]}"
        on_listening(address)
        Server(config, service, lambda: on_ready(address)).run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on port {port} of {host} ({error}); choose another --port or --host"
        ) from None
