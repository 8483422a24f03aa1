"""Failure detection: a process that fails or disappears ends the run on all processes, at once and with the reason.

A process in a collective operation learns of a missing process only from a timeout, hours later, without the reason.
So each process keeps a connection to the first one, on which it sends nothing but its outcome. When a process dies,
whatever killed it, the system closes its connection; TCP keep-alive detects a machine that is gone.
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

from beit.errors import ConfigError

_JOIN_SECONDS = 60.0
_GRACE_SECONDS = 5.0  # for the main thread to notice the failure itself, and to end in good order
_TOKEN_LENGTH = 32
_LEAST_FILES, _MORE_FILES = 128, 1024  # that a process opens itself: shards, pipes to loading workers, libraries


@dataclass(frozen=True)
class Outcome:
    """End of a process: in good order, with an error, or lost without a message."""

    process: int
    lost: bool = False
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Return whether the run has to end because of it."""
        return self.lost or self.error is not None


def allow_files(processes: int) -> str | None:
    """Raise the number of files that this process may open, so that it can hold a connection to every other one.

    Returns:
        What to do if the system does not let it; None if it does.
    """
    import resource  # not on Windows, which has no such limit

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))
    if hard < processes + _LEAST_FILES:
        return (
            f"the first of {processes} processes may open {hard} files, and needs one for every other process beside "
            "its own; raise the hard limit (ulimit -Hn), or set run.failure_detection to false"
        )
    if soft < (wanted := min(hard, processes + _MORE_FILES)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return None


class Peers:
    """Connections to the other processes of a run.

    Args:
        accelerator: Of the run.
        describe: Makes the message about a failed process.
    """

    def __init__(self, accelerator: Accelerator, describe: Callable[[Outcome], str]) -> None:
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self._describe = describe
        self._failed, self._handled, self._leaving = threading.Event(), threading.Event(), threading.Event()
        self._failure: Outcome | None = None
        self._connections = self._first() if self.rank == 0 else self._other()
        for connection in self._connections.values():
            _keep_alive(connection)
        os.register_at_fork(after_in_child=self._close)  # else a loader of pictures would keep them open
        threading.Thread(target=self._listen, name="peers", daemon=True).start()

    def failure(self, seconds: float = _GRACE_SECONDS) -> str | None:
        """Wait for the reason why a collective operation has failed; None if the other processes are well."""
        if not self._failed.wait(seconds) or self._failure is None:
            return None
        self._handled.set()
        return self._describe(self._failure)

    def leave(self, error: str | None = None) -> None:
        """Send the outcome of this process to the others."""
        self._handled.set()
        self._leaving.set()
        self._send(Outcome(self.rank, error=error))

    def _first(self) -> dict[int, socket.socket]:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        token = secrets.token_hex(_TOKEN_LENGTH // 2)
        reason = allow_files(self.world)
        if reason is not None:
            broadcast_object_list([None, reason])
            raise ConfigError(reason)
        connections: dict[int, socket.socket] = {}
        with socket.create_server(("", 0), family=family, dualstack_ipv6=dual, backlog=self.world) as server:
            server.settimeout(_JOIN_SECONDS)
            broadcast_object_list([server.getsockname()[1], token])
            while len(connections) < self.world - 1:
                connection, _ = server.accept()
                connection.settimeout(_JOIN_SECONDS)
                greeting = _greeting(connection)
                if len(greeting) == 2 and secrets.compare_digest(greeting[0], token.encode()):
                    connections[int(greeting[1])] = connection
                else:
                    connection.close()  # not a process of this run
        return connections

    def _other(self) -> dict[int, socket.socket]:
        received: list[Any] = [None, None]
        broadcast_object_list(received)
        port, token = received
        if port is None:  # the token is the reason
            raise ConfigError(token)
        connection = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=_JOIN_SECONDS)
        connection.sendall(f"{token} {self.rank}\n".encode())
        return {0: connection}

    def _listen(self) -> None:
        """Wait until all other processes have ended in good order, or until the first failure."""
        with selectors.DefaultSelector() as selector:
            for process, connection in self._connections.items():
                connection.settimeout(None)
                selector.register(connection, selectors.EVENT_READ, process)
            while selector.get_map():
                for key, _ in selector.select():
                    connection: Any = key.fileobj
                    outcome = _read(connection, key.data)
                    selector.unregister(connection)
                    if outcome.failed:
                        self._end(outcome)
                        return

    def _end(self, outcome: Outcome) -> None:
        """Forward a failure to the others, and end this process if its main thread does not."""
        self._failure = outcome
        if self.rank == 0:
            self._send(outcome)
        self._failed.set()
        if self._leaving.is_set():
            return
        if not self._handled.wait(_GRACE_SECONDS):  # the main thread waits for the process that is gone
            print(f"beit: {self._describe(outcome)}", file=sys.stderr, flush=True)  # noqa: T201  # the last chance to report it
            os._exit(1)
        threading.Event().wait(2 * _GRACE_SECONDS)  # the end of the program ends this thread too, unless it hangs
        os._exit(1)

    def _send(self, outcome: Outcome) -> None:
        line = (json.dumps(asdict(outcome)) + "\n").encode()
        for process, connection in self._connections.items():
            if process != outcome.process:
                try:
                    connection.sendall(line)
                except OSError:  # gone as well
                    continue

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def _greeting(connection: socket.socket) -> list[bytes]:
    """Return the first words of a connection: a token and a rank, if it belongs to the run."""
    try:
        return connection.makefile("rb").readline(_TOKEN_LENGTH + 16).split()
    except OSError:  # nothing arrived in time, for example
        return []


def _read(connection: socket.socket, process: int) -> Outcome:
    """Return the outcome that arrives on a connection; one that closes without a message belongs to a lost process."""
    try:
        with connection.makefile("rb") as file:
            line = file.readline()
        return Outcome(**json.loads(line))
    except (OSError, ValueError, TypeError):
        return Outcome(process, lost=True)


def _keep_alive(connection: socket.socket) -> None:
    """Turn on TCP keep-alive: a probe every ten seconds, and a machine that has not answered three is given up."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not all systems know all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
