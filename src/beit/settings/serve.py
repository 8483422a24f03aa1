"""Settings of the service."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import Device, InferencePrecision


@dataclass(frozen=True, config=STRICT)
class ServedModels(Settings):
    """Models to serve, and what computes them."""

    models: tuple[str, ...] = ()
    """Models: MODEL or NAME=MODEL. A model is a folder, a file or a published name (`beit models`). None: small ones
    that the package brings."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: InferencePrecision = "fp32"
    """Precision of the computation; auto takes bf16 on a GPU that supports it, else fp32. fp16 needs a GPU."""


@dataclass(frozen=True, config=STRICT)
class ServiceSettings(Settings):
    """Limits of a service."""

    batch_size: int = Field(default=8, ge=1)
    """Pictures computed together."""
    max_wait_ms: float = Field(default=5.0, ge=0)
    """Time that the first picture of a batch waits for others, in milliseconds."""
    queue: int = Field(default=64, ge=1)
    """Most requests that wait or are computed; further ones are sent away for a second (429)."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Seconds until a request that has arrived is answered, or given up: 504 where its computation is long, 503 where
    its wait is, which is refused at once if it can be foreseen."""
    body_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds in which a request has to arrive (408)."""
    token: str | None = Field(default=None, repr=False)
    """Token that clients have to send, as `Authorization: Bearer TOKEN`. Better set BEIT_SERVE_TOKEN, which the list of
    processes hides; null: nothing."""
    max_upload_mb: float = Field(default=20.0, gt=0)
    """Largest request, in MB of 10^6 bytes (413)."""
    max_pixels: int = Field(default=40_000_000, ge=1)
    """Most pixels of a picture, read from its header before it is decoded (413)."""
    max_windows: int = Field(default=64, ge=1)
    """Most windows of a model's size that a picture is divided into, where a task computes it whole (413)."""
    workers: int = Field(default=2, ge=1)
    """Threads that decode pictures."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the service is reached, beside localhost and addresses of numbers: requests of others, which a
    page of another site could have made, are refused (421, 403). "*": any."""

    def __post_init__(self) -> None:
        """Check the token."""
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ValueError("the token is empty or holds other than printable ASCII; use letters and digits")

    @property
    def max_upload_bytes(self) -> int:
        """Largest request, in bytes."""
        return round(self.max_upload_mb * 1e6)


# Fields come in the order of the bases, the last one first: what is required leads.
@dataclass(frozen=True, config=STRICT)
class ServeJob(ServiceSettings, ServedModels):
    """Serve models over HTTP."""

    tokenizer: str | None = None
    """Tokenizer of the pre-training models, to reconstruct: a folder, a published file or name."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port; 0 for any that is free."""
