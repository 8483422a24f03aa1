"""Reading safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from beit.errors import CheckpointError

WEIGHTS_NAME = "model.safetensors"


def read_safetensors(path: str | Path, framework: str = "pt", device: str = "cpu") -> dict[str, Any]:
    """Return all tensors of a safetensors file.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected the weights of a model in safetensors format")
    try:
        with safe_open(path, framework=framework, device=device) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); fetch or save it again"
        ) from None
