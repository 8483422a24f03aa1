"""Settings of prediction."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import Device, InferencePrecision


@dataclass(frozen=True, config=STRICT)
class PredictJob(Settings):
    """Ask a model about many pictures."""

    pictures: tuple[str, ...]
    """Pictures: files, folders, films, tar or parquet shards."""
    model: str | None = None
    """Model: a folder, a file of weights, a published name (`beit models`), or a folder that `beit export` wrote; null:
    a small one that the package brings."""
    device: Device = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    precision: InferencePrecision = "fp32"
    """Precision of the computation; auto takes bf16 on a GPU that supports it, else fp32. fp16 needs a GPU."""
    batch_size: int = Field(default=32, ge=1)
    """Pictures computed together."""
    task: str = "classify"
    """Task: the question about each picture."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Options of the task by name; those left out have their defaults."""
    output: str | None = None
    """File or folder to write; null writes nothing."""
    format: Literal["auto", "jsonl", "csv", "parquet", "npy", "safetensors", "pictures"] = "auto"
    """Format of the output; auto: that of its ending."""
    tokenizer: str | None = None
    """Tokenizer to reconstruct with: a folder, a published file or name."""
    workers: int = Field(default=2, ge=1)
    """Threads that read pictures; processes of ray."""
    engine: Literal["local", "ray"] = "local"
    """This process, or a cluster."""
    json: bool = False
    """Print one JSON object per picture, for other programs."""
