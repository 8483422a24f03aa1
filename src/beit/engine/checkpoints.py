"""Checkpoints of a run: written to a temporary name, synced, renamed; no pickle.

A checkpoint folder holds the model as it is exported, `objective.safetensors` (what is trained or counted beside the
model, if there is any), `average.safetensors` (the moving average of the weights, if one is kept),
`optimiser.safetensors` (the moments by parameter name), `kernels.json` (how its products were computed) and
`state.json` (the format of the checkpoint, the number of finished steps, and the SHA-256 of every other file). In a run
of JAX the folder `jax`, written by Orbax, has parameters, moments and average. Random states are not part of it: all
randomness is a function of seed and step.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator
from torch import Tensor, nn

from beit.engine.processes import found_by_first
from beit.engine.run_folder import saved_steps
from beit.engine.task import SAMPLED
from beit.errors import CheckpointError, shortened
from beit.files import atomic_folder, read_json, write_json
from beit.models_torch.loading import read_safetensors, write_safetensors
from beit.weights import check_shapes

STATE_NAME = "state.json"
MODULE_NAME = "objective.safetensors"
_FORMAT = 3  # of checkpoints; raised when names or files in them change, and no other format is continued
_REPAIRED = 0.1  # share of the pictures of a sample that may be others, as broken ones that were repaired are
_EXPORTED = "model."  # prefix of the exported model among the tensors of a task's module


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest sound checkpoint of a run, or None if there is none at all; damaged newer ones are named.

    Raises:
        CheckpointError: If all of them are damaged, or the newest has the format of another version.
    """
    found = saved_steps(folder)[::-1]
    for path in found:
        damage = _damage(path)
        if damage is None:
            _check_format(path)
            return path
        logging.getLogger(__name__).warning("%s is damaged (%s); trying the one before", path, damage)
    if found:
        raise CheckpointError(f"all checkpoints in {folder} are damaged; restore one, or remove the folder")
    return None


def shared_checkpoint(folder: Path, accelerator: Accelerator) -> Path | None:
    """Return the newest sound checkpoint for all processes of a run; the first alone reads every byte to find it.

    Raises:
        CheckpointError: If there are checkpoints and none is sound, or this process does not see it.
    """
    found = found_by_first(accelerator, partial(latest_checkpoint, folder))
    if found is not None and not found.is_dir():
        raise CheckpointError(
            f"process 0 continues from {found}, which process {accelerator.process_index} does not see; expected a "
            "run.output that all machines share"
        )
    return found


def _damage(path: Path) -> str | None:
    """Return the damage of a checkpoint, None if every file is as it was written."""
    try:
        sums: Any = _read_state(path)["sha256"]
        for name, expected in sums.items():
            if _sha256(path / name) != expected:
                return f"{name} has changed since it was written"
    except CheckpointError as error:
        return str(error)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return repr(error)
    return None


def _check_format(path: Path) -> None:
    """Refuse a sound checkpoint of another version.

    Raises:
        CheckpointError: Naming what to do.
    """
    found = _read_state(path).get("format")
    if found != _FORMAT:
        raise CheckpointError(
            f"{path} was written by another version of beit (format {shortened(found)}, expected {_FORMAT}), whose "
            "runs this one does not continue; choose another run.output; models of that run load as ever"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(
    folder: Path,
    step: int,
    write: Callable[[Path], None],
    module: nn.Module,
    keep: int,
    identity: Mapping[str, Any],
) -> Path:
    """Write the checkpoint after `step` finished steps, and remove all but the `keep` newest.

    Args:
        folder: The folder of the run's checkpoints.
        step: Number of finished steps.
        write: Writes the model, and the state of its optimiser, into a folder.
        module: What is trained.
        keep: Newest checkpoints to keep.
        identity: What must be the same when the run continues.

    Raises:
        StorageError: If the disk is full; earlier checkpoints are untouched.
    """
    path = folder / f"step_{step:08d}"
    with atomic_folder(path) as temporary:
        write(temporary)
        if beside := _beside_the_model(module):
            write_safetensors(temporary / MODULE_NAME, beside)
        files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
        sums = {file.relative_to(temporary).as_posix(): _sha256(file) for file in files}
        write_json(temporary / STATE_NAME, {"format": _FORMAT, "step": step, **identity, "sha256": sums}, indent=1)
    discard_old(path, keep)
    return path


def discard_old(newest: Path, keep: int) -> None:
    """Remove all checkpoints that are older than the `keep` ones up to `newest`; later ones are left alone.

    A run does so after writing one, and where it continues, since it may have been killed in between.
    """
    upto = [path for path in saved_steps(newest.parent) if int(path.name[5:]) <= int(newest.name[5:])]
    for old in upto[:-keep]:
        shutil.rmtree(old)


def restore_module(path: Path, module: nn.Module, identity: Mapping[str, Any]) -> int:
    """Load the tensors beside the model from a checkpoint, and return the finished steps; the task loads the model.

    Raises:
        CheckpointError: If the checkpoint is damaged or belongs to another model or other data.
    """
    state = _read_state(path)
    try:
        step = int(state["step"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path / STATE_NAME} is damaged ({error!r}); remove the folder {path}") from None
    _check_sample(path, state.get(SAMPLED), identity.get(SAMPLED))
    for name, value in identity.items():
        if name != SAMPLED and state.get(name) != value:
            raise CheckpointError(
                f"{path} was made with {_short(state.get(name))} {name} and now there is {_short(value)}; bring the "
                "former back, or start again in another run.output"
            )
    _restore_module(path, module)
    return step


def _check_sample(path: Path, before: Any, now: Any) -> None:
    """Refuse other pictures than those of a checkpoint; a few of a sample may have been repaired since.

    Raises:
        CheckpointError: If more are others.
    """
    if not isinstance(before, list) or now is None:  # of an earlier version
        return
    for was, sample in zip(cast("list[Any]", before), now, strict=False):
        if not isinstance(was, list):
            raise CheckpointError(f"{path / STATE_NAME} is damaged ({SAMPLED} holds no list); remove the folder {path}")
        others = sum(one != other for one, other in zip_longest(was, sample))
        if others > max(1, _REPAIRED * len(sample)) or (others and len(sample) == 1):
            raise CheckpointError(
                f"{path} was made with other pictures, or other label maps: of {len(sample)} that were compared "
                f"{others} are not as they were; bring the former back, or start again in another run.output"
            )


def _read_state(path: Path) -> dict[str, Any]:
    return read_json(path / STATE_NAME, "the state of a run", f"remove the folder {path}", CheckpointError)


def _beside_the_model(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a task's module that are not part of the exported model."""
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items() if not name.startswith(_EXPORTED)}


def _restore_module(path: Path, module: nn.Module) -> None:
    own = _beside_the_model(module)
    found: dict[str, Tensor] = read_safetensors(path / MODULE_NAME) if own else {}
    there, here = ({name: tuple(tensor.shape) for name, tensor in named.items()} for named in (found, own))
    check_shapes(str(path / MODULE_NAME), there, here)
    module.load_state_dict(found, strict=False)


def _short(value: Any) -> str:
    """Return a value for a message: the first 12 characters, which are enough of a hash."""
    return value[:12] if isinstance(value, str) else shortened(value)
