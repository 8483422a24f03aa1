"""Settings that are `auto`: chosen before a run begins, with their reasons.

Small pictures are kept decoded in memory, and changed where the model is, so that fast steps do not wait for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil
import torch

from beit.data import LONGEST_SIDE, KeptPictures, decoded_bytes, only_on_cpu
from beit.engine.compilation import choose_compilation
from beit.engine.exactness import FAST
from beit.engine.processes import precision_of
from beit.engine.recorded import AUTO, Choice
from beit.engine.schedule import LONGEST_WARMUP
from beit.engine.task import Task
from beit.errors import ConfigError
from beit.image import COLOURS
from beit.image.cpus import cpu_share
from beit.models_torch.device import busy_cpus
from beit.settings.groups import AugmentSettings

_MOST_BYTES = 2**30  # that are kept without being asked for, over the processes of this machine
_SHARE, _LARGEST_SHARE = 0.25, 0.75  # of the memory that is free: without being asked for, and in any case
_LEAST_PASSES = 2.0  # over the pictures; a single one decodes every picture once anyway


def choose(task: Task[Any, Any]) -> list[Choice]:
    """Return the choices for the settings of a task that are `auto`; it has its processes, and what it starts from."""
    settings, choices = task.settings, list[Choice]()
    if settings.optim.lr == AUTO:
        rate, pictures = task.rate(), settings.train.batch_size
        choices.append(Choice("optim.lr", rate.at(pictures), rate.reason(pictures)))
    if settings.optim.warmup_epochs == AUTO and settings.optim.warmup_steps is None:
        reason = f"a tenth of the run, at most {LONGEST_WARMUP:g}"
        choices.append(Choice("optim.warmup_epochs", task.schedule.warmup_epochs, reason))
    if settings.run.precision == AUTO:
        value = precision_of(task.accelerator)
        choices.append(Choice("run.precision", value, _precision(value, task.accelerator.device)))
    if settings.run.exact == AUTO and task.accelerator.device.type == "cuda":  # a CPU is exact in any case
        choices.append(Choice("run.exact", False, f"{FAST}; true for the same bits in every run"))
    if settings.train.compile == AUTO and task.accelerator.device.type == "cuda" and settings.run.framework == "torch":
        choices.append(choose_compilation(task.accelerator.device, settings.run.exact is True))
    if settings.data.workers == AUTO:
        choices.append(Choice("data.workers", task.workers, _loading(task)))
    return choices


def _precision(value: str, device: torch.device) -> str:
    """Return the reason for a precision."""
    if device.type != "cuda":
        return "the faster one here"
    return "the GPU has no bf16; the loss is scaled" if value == "fp16" else "what the GPU supports"


def _loading(task: Task[Any, Any]) -> str:
    """Return the reason for the number of loading processes."""
    computing = busy_cpus(task.accelerator.device)
    return f"of {cpu_share()} CPUs for this process {computing} compute; one loads at least"


def choose_for_small_pictures(task: Task[Any, Any]) -> Iterator[Choice]:
    """Keep the pictures of a task where its settings say so, and yield the choices for those that are `auto`.

    Raises:
        ConfigError: If pictures shall be kept, or changed where the model is, and cannot.
    """
    reason = _keep(task)
    kept = task.sources.train if isinstance(task.sources.train, KeptPictures) else None
    if task.settings.data.keep_decoded == AUTO:
        yield Choice("data.keep_decoded", kept is not None, reason)
    augment = getattr(task.settings, "augment", None)
    if isinstance(augment, AugmentSettings):
        yield from _choose_device(task, augment, kept)


def _keep(task: Task[Any, Any]) -> str:
    """Keep the pictures to train on where settings and memory allow, and return the reason for what was done."""
    wanted, source = task.settings.data.keep_decoded, task.sources.train
    if wanted is False:
        return ""
    objection = _objection(task)
    if objection is None and wanted == AUTO and _passes(task) < _LEAST_PASSES:
        objection = f"the run sees them {_passes(task):.1f} times"
    if objection is None:
        limit = _limit(asked=wanted is True)
        needed = decoded_bytes(source)
        objection = f"decoded they take about {_mib(needed)}, and there is room for {_mib(limit)}"
        if needed <= limit:
            try:
                kept = KeptPictures(source, limit)
            except MemoryError:  # those that were not sampled are larger
                pass
            else:
                task.sources = replace(task.sources, train=kept)
                return f"{len(kept):,} pictures, decoded once, take {_mib(kept.nbytes)}"
    if wanted is True:
        raise ConfigError(f"data.keep_decoded is true, and {objection}; set it to auto, or leave it out")
    return objection


def _objection(task: Task[Any, Any]) -> str | None:
    """Return the reason why the pictures of a task cannot be kept, whatever their size; None if there is none."""
    if not task.keeps_pictures:
        return f"{task.title} reads pictures with their label maps"
    if task.settings.data.channels != COLOURS:
        return "pictures of other than three channels are read anew"
    if task.sources.train.look_ahead:
        return "their shards are fetched while the run works"
    return None


def _passes(task: Task[Any, Any]) -> float:
    return task.schedule.steps * task.settings.train.batch_size / len(task.sources.train)


def _limit(asked: bool) -> int:
    """Return the bytes that the pictures of this process may take."""
    free = psutil.virtual_memory().available
    room = _LARGEST_SHARE * free if asked else min(_MOST_BYTES, _SHARE * free)
    return int(room / int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _choose_device(task: Task[Any, Any], augment: AugmentSettings, kept: KeptPictures | None) -> Iterator[Choice]:
    """Yield the choice for `augment.device` on a GPU, where there is one; refuse what cannot be.

    Raises:
        ConfigError: If the views shall be made where the model is, and cannot.
    """
    if augment.device == "cpu" or (augment.device == AUTO and task.accelerator.device.type != "cuda"):
        return
    views = task.model_views()
    objection = "this training makes views of its own" if views is None else only_on_cpu(views)
    if objection is None and kept is None:
        objection = "pictures are not kept decoded (data.keep_decoded)"
    elif objection is None and kept is not None and kept.unkept:
        objection = f"{kept.unkept} pictures have more than 8 bits, or overviews"
    elif objection is None and kept is not None and kept.longest_side > LONGEST_SIDE:
        objection = f"a picture has a side of {kept.longest_side} pixels, more than {LONGEST_SIDE}"
    if augment.device == AUTO:
        yield Choice("augment.device", "model" if objection is None else "cpu", objection or "pictures are small")
    elif objection is not None:
        raise ConfigError(f"augment.device is model, and {objection}; set it to cpu")
