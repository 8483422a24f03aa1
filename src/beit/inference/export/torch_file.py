"""Writer of torch's archive of a program."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.export import ExportedProgram

from beit.files import atomic_stream
from beit.inference.export.program import quiet


def write_torch(program: ExportedProgram, file: Path) -> None:
    """Write a program as torch's own archive."""
    with quiet(), atomic_stream(file) as stream:
        torch.export.save(program, stream)
