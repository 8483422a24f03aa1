"""Check of the way to the hub, without which its client repeats every request for half a minute."""

from __future__ import annotations

import socket
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

from beit.errors import UnavailableError

REMEDY = (
    "check the network, pass a local folder, name a mirror with HF_ENDPOINT, or bring the cache of another machine and "
    "set HF_HUB_OFFLINE=1"
)


def lost_hub() -> str | None:
    """Return the host of the hub if its name cannot be resolved; None if it can, or need not be."""
    from huggingface_hub import constants

    address, proxies = urlsplit(constants.ENDPOINT), getproxies()
    host = address.hostname or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE or proxies.keys() & {address.scheme, "all"}:  # nothing is asked, or by a proxy
        return None
    try:
        _resolve(host)
    except OSError:
        return host
    return None


def need_hub(name: str) -> None:
    """Refuse at once what needs the hub when there is no way to it.

    Raises:
        UnavailableError: Naming the host, and what to do.
    """
    if (host := lost_hub()) is not None:
        raise not_found(name, host)


def not_found(name: str, host: str) -> UnavailableError:
    """Return the error for something of the hub when its host cannot be resolved."""
    return UnavailableError(f"'{name}' is not on this machine, and the host {host} cannot be resolved; {REMEDY}")


@cache  # a failure raises and is asked for again: networks come back
def _resolve(host: str) -> None:
    socket.getaddrinfo(host, None)
