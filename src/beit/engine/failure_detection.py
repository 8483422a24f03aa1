"""A process that is lost or fails ends the run on all processes: at once, and with the reason.

A process that waits for another in a collective operation learns nothing of it but, hours later, that it did not come.
So each keeps a connection to the first, on which it says nothing but how it ends. When a process dies, whatever killed
it, the system closes its connection; of a machine that is gone, keep-alive tells.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

_JOIN_SECONDS = 60.0
_GRACE_SECONDS = 5.0  # for the main thread to find out by itself, and to end in good order
_TOKEN_LENGTH = 32


@dataclass(frozen=True)
class News:
    """How another process ended: well, with an error, or without a word."""

    process: int
    lost: bool = False
    error: str | None = None

    @property
    def bad(self) -> bool:
        """Whether the run cannot go on."""
        return self.lost or self.error is not None


class Peers:
    """This process's ear for the others.

    Args:
        accelerator: Of the run.
        describe: Makes the line for a person of bad news.
    """

    def __init__(self, accelerator: Accelerator, describe: Callable[[News], str]) -> None:
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self._describe = describe
        self._heard, self._handled, self._leaving = threading.Event(), threading.Event(), threading.Event()
        self._news: News | None = None
        self._connections = self._first() if self.rank == 0 else self._other()
        for connection in self._connections.values():
            _keep_alive(connection)
        os.register_at_fork(after_in_child=self._close)  # else a loader of pictures would keep them open
        threading.Thread(target=self._listen, name="peers", daemon=True).start()

    def bad_news(self, seconds: float = _GRACE_SECONDS) -> str | None:
        """Wait for the reason why a collective operation has failed; None if the other processes are well."""
        if not self._heard.wait(seconds) or self._news is None:
            return None
        self._handled.set()
        return self._describe(self._news)

    def leave(self, error: str | None = None) -> None:
        """Tell the others how this process ends."""
        self._handled.set()
        self._leaving.set()
        self._tell(News(self.rank, error=error))

    def _first(self) -> dict[int, socket.socket]:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        token = secrets.token_hex(_TOKEN_LENGTH // 2)
        connections: dict[int, socket.socket] = {}
        with socket.create_server(("", 0), family=family, dualstack_ipv6=dual, backlog=self.world) as server:
            server.settimeout(_JOIN_SECONDS)
            broadcast_object_list([server.getsockname()[1], token])
            while len(connections) < self.world - 1:
                connection, _ = server.accept()
                connection.settimeout(_JOIN_SECONDS)
                said = _first_words(connection)
                if len(said) == 2 and secrets.compare_digest(said[0], token.encode()):
                    connections[int(said[1])] = connection
                else:
                    connection.close()  # a stranger
        return connections

    def _other(self) -> dict[int, socket.socket]:
        told: list[Any] = [None, None]
        broadcast_object_list(told)
        port, token = told
        connection = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=_JOIN_SECONDS)
        connection.sendall(f"{token} {self.rank}\n".encode())
        return {0: connection}

    def _listen(self) -> None:
        """Wait until all others have left well, or for the first bad news."""
        with selectors.DefaultSelector() as selector:
            for process, connection in self._connections.items():
                connection.settimeout(None)
                selector.register(connection, selectors.EVENT_READ, process)
            while selector.get_map():
                for key, _ in selector.select():
                    connection: Any = key.fileobj
                    news = _read(connection, key.data)
                    selector.unregister(connection)
                    if news.bad:
                        self._end(news)
                        return

    def _end(self, news: News) -> None:
        """Pass bad news on, and end this process if its main thread does not."""
        self._news = news
        if self.rank == 0:
            self._tell(news)
        self._heard.set()
        if self._leaving.is_set():
            return
        if not self._handled.wait(_GRACE_SECONDS):  # it waits for who will not come
            print(f"beit: {self._describe(news)}", file=sys.stderr, flush=True)  # noqa: T201  # nobody else will
            os._exit(1)
        threading.Event().wait(2 * _GRACE_SECONDS)  # the end of the program ends this thread too, unless it hangs
        os._exit(1)

    def _tell(self, news: News) -> None:
        line = (json.dumps(asdict(news)) + "\n").encode()
        for process, connection in self._connections.items():
            if process != news.process:
                try:
                    connection.sendall(line)
                except OSError:  # gone as well
                    continue

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def _first_words(connection: socket.socket) -> list[bytes]:
    """Return what a connection says first: a token and a rank, if it is of the run."""
    try:
        return connection.makefile("rb").readline(_TOKEN_LENGTH + 16).split()
    except OSError:  # silence, for one
        return []


def _read(connection: socket.socket, process: int) -> News:
    """Return what a connection has to say; that it is closed without a word says enough."""
    try:
        with connection.makefile("rb") as file:
            line = file.readline()
        return News(**json.loads(line))
    except (OSError, ValueError, TypeError):
        return News(process, lost=True)


def _keep_alive(connection: socket.socket) -> None:
    """Have the system ask every ten seconds whether the other machine is there, and give up after half a minute."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not all systems know all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
