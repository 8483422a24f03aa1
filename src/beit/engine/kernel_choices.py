"""Kernels that a run was begun with, kept in its checkpoints: others differ in the last bits of their results."""

from __future__ import annotations

from pathlib import Path

from accelerate.utils import gather_object

from beit.errors import CheckpointError
from beit.files import read_json, write_json
from beit.models_torch.kernels import FASTEST

FILE_NAME = "kernels.json"


def kernel_choices() -> list[dict[str, str]]:
    """Return the choices of every process so far; all have to call."""
    return gather_object([FASTEST.choices()])


def save_choices(folder: Path, choices: list[dict[str, str]]) -> None:
    """Write the choices of all processes into a checkpoint."""
    write_json(folder / FILE_NAME, {"processes": choices}, indent=1)


def restore_choices(folder: Path, process: int) -> None:
    """Obey what this process, or the first one if there were fewer, had chosen at a checkpoint.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    path, remedy = folder / FILE_NAME, f"remove the folder {folder}"
    found = read_json(path, "the kernels of a run", remedy, CheckpointError).get("processes")
    try:
        before: list[dict[str, str]] = [dict(choices) for choices in found]  # pyright: ignore
        FASTEST.obey(before[process if process < len(before) else 0])
    except (TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); {remedy}") from None
