"""Chunk of results, as it passes from the model to the files and between processes."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Chunk:
    """Results about a part of a unit of work.

    Attributes:
        unit: Number of the unit.
        number: Number of the chunk in it; only films have more than one.
        last: Whether the unit ends with it.
        columns: Columns of a table of the results.
        rows: An object for every result, with the name of its picture.
        files: Contents of the files that are made, by their names.
        broken: (name, reason) of the pictures that could not be read.
        gone: Whether some of them have gone since the job began, so that the same job tries the chunk again.
    """

    unit: int
    number: int
    last: bool = True
    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    broken: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False

    def to_bytes(self) -> bytes:
        """Return the chunk as JSON."""
        files = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        return json.dumps({**asdict(self), "files": files}).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Chunk:
        """Return the chunk that `to_bytes` made into bytes."""
        fields = json.loads(content)
        files = {name: base64.b64decode(text) for name, text in fields.pop("files").items()}
        broken = [(name, reason) for name, reason in fields.pop("broken")]
        return cls(**fields, files=files, broken=broken)
