"""Limits of a service."""

from __future__ import annotations

from dataclasses import dataclass, field

from beit.errors import ConfigError


@dataclass(frozen=True)
class ServiceSettings:
    """Limits of a service.

    Attributes:
        batch_size: Most pictures that are computed together, at least 1.
        max_wait_ms: How long the first picture of a batch waits for others, in milliseconds.
        queue: Most requests that wait or are computed; further ones are sent away for a second (429).
        timeout_s: Seconds until a request that has arrived is answered, or given up (504).
        body_timeout_s: Seconds in which a request has to arrive (408).
        token: Shown by clients as `Authorization: Bearer TOKEN`; None: they need none.
        max_upload_mb: Largest request, in MB of 10^6 bytes (413).
        max_pixels: Most pixels of a picture, read from its header before it is decoded (413).
        workers: Threads that decode pictures.

    Raises:
        ConfigError: If a limit cannot work.
    """

    batch_size: int = 8
    max_wait_ms: float = 5.0
    queue: int = 64
    timeout_s: float = 30.0
    body_timeout_s: float = 20.0
    token: str | None = field(default=None, repr=False)
    max_upload_mb: float = 20.0
    max_pixels: int = 40_000_000
    workers: int = 2

    def __post_init__(self) -> None:
        """Check every limit."""
        for name in ("batch_size", "queue", "max_pixels", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("timeout_s", "body_timeout_s", "max_upload_mb"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if not self.max_wait_ms >= 0:
            raise ConfigError(f"max_wait_ms is {self.max_wait_ms}; expected 0 or more milliseconds")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ConfigError("the token is empty or holds other than printable ASCII; use letters and digits")

    @property
    def max_upload_bytes(self) -> int:
        """Largest request, in bytes."""
        return round(self.max_upload_mb * 1e6)
