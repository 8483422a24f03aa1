"""Hosts that a service answers under: a page of another site must not reach it by way of a visitor's browser.

Such a page can have its own name point to this machine (DNS rebinding) or post a form to it. A browser names the site
in `Host` and `Origin`; other clients may write there what they like, and the token is for them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from beit.service.errors import ServiceError

_LOOPBACK = "localhost"
ANY = "*"


def check_hosts(headers: Headers, allowed: Sequence[str]) -> None:
    """Refuse a request that a page of another site could have made.

    An address of numbers is nobody's name, so it is allowed as a host.

    Args:
        headers: Of the request.
        allowed: Names under which the service is reached, beside localhost; "*": any.

    Raises:
        ServiceError: If its host or origin is none of these.
    """
    if ANY in allowed:
        return
    host, origin = headers.get("host", ""), headers.get("origin")
    known = {_LOOPBACK, *(name.lower() for name in allowed)}
    if host and not _is_known(_name(host), known):
        raise ServiceError(
            421,
            f"the service has no name {host[:100]!r}; ask it by its address in numbers, or ask its operator to start "
            "it with --allowed_hosts",
        )
    if origin is not None and origin != f"http://{host}" and origin != f"https://{host}":
        name = _name(origin.partition("://")[2])
        if name not in known:
            raise ServiceError(
                403,
                f"a page of {origin[:100]!r} asks, which is another site; open the service's own page, or ask its "
                "operator to start it with --allowed_hosts",
            )


def _is_known(name: str, known: set[str]) -> bool:
    if name in known:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(place: str) -> str:
    """Return the host of `host:port`, without brackets; empty if it is none."""
    try:
        return (urlsplit(f"//{place}").hostname or "").lower()
    except ValueError:
        return ""
