"""Ray engine: the units of a job spread over a cluster by Ray Data."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from beit.errors import BeitError, missing_extra
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.pipeline import Todo
from beit.telemetry import keep_telemetry_off

if TYPE_CHECKING:
    from beit.inference.jobs.job import Prediction


class _Actor:
    """Pipeline of one worker process of the cluster."""

    def __init__(self, work: Prediction) -> None:
        self._units, self._pipeline = work.units(), work.pipeline(threads=1)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for number, first in zip(batch["unit"].tolist(), batch["first"].tolist(), strict=True):
            for chunk in self._pipeline([(number, self._units[number], first)]):
                yield {"chunk": [chunk.to_bytes()]}


def ray_chunks(work: Prediction, todo: list[Todo]) -> Iterator[Chunk]:
    """Yield the results about units of work, in the order in which they become ready.

    The cluster is that of RAY_ADDRESS, else one on this machine with as many processes as the job has workers. Every
    machine has to see the model and the pictures under the same paths.

    Raises:
        MissingExtraError: If Ray is not installed.
        BeitError: An error of a worker that a person can mend.
    """
    keep_telemetry_off()
    try:
        import ray
        from ray import data
    except ModuleNotFoundError:
        raise missing_extra("ray", "ray") from None
    library: Any = ray
    datasets: Any = data
    work.trial()
    job = work.job
    began = not library.is_initialized()
    if began and "RAY_ADDRESS" in os.environ:
        library.init(log_to_driver=False, logging_level=logging.ERROR)
    elif began:
        library.init(num_cpus=job.workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        datasets.DataContext.get_current().enable_progress_bars = False  # the job shows its own
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        gpus = 1 if job.device != "cpu" and library.cluster_resources().get("GPU") else 0
        items = [{"unit": number, "first": first} for number, _, first in todo]
        answered = datasets.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=datasets.ActorPoolStrategy(size=min(job.workers, len(items))),
            num_gpus=gpus,
        )
        for row in answered.iter_rows():
            yield Chunk.from_bytes(row["chunk"])
    except BeitError as error:
        raise getattr(error, "cause", error) from None  # without the traceback of the worker
    finally:
        if began:
            library.shutdown()
