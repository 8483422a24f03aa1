"""What the training of a segmentation model would cost, told before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory

from beit.data import Collate
from beit.training.cost import peak_memory, state_bytes
from beit.training.device import make_accelerator, reproducible
from beit.training.plan import Plan, total_steps
from beit.training.run_folder import RunFolder
from beit.training.scenes import open_scenes
from beit.training.segment_run import SegmentRun
from beit.training.segment_settings import SegmentJob
from beit.training.segment_start import segmentation_start, training_scenes
from beit.training.timed_steps import timed_steps
from beit.training.together import one_run


@dataclass(frozen=True)
class SegmentationCost:
    """What the first steps of a training took on one process.

    Attributes:
        parameters: Of the model.
        scenes: To train on.
        steps: Of the whole run.
        processes: That share a batch.
        state: Bytes of weights, gradients and the optimiser.
        peak_memory: Bytes that this process held in the steps, weights and libraries included.
        seconds_per_step: Median of the timed steps, their data included.
        data_share: Share of that time in which the step waits for pictures.
    """

    parameters: int
    scenes: int
    steps: int
    processes: int
    state: int
    peak_memory: int
    seconds_per_step: float
    data_share: float


@one_run
def forecast_segmentation(job: SegmentJob) -> SegmentationCost:
    """Take some steps of a training and return what they took; nothing is written, and masks are not counted.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures, or pictures without a mask.
        BeitError: If a step needs more memory than there is.
    """
    sources = open_scenes(job.data, job.masks, job.run.seed)
    accelerator = make_accelerator(job.run)
    world = accelerator.num_processes
    start = segmentation_start(job, sources, world)
    with TemporaryDirectory() as nowhere, reproducible():
        run, dataset = SegmentRun(start, job), training_scenes(job, start, sources.train)
        plan = Plan("dry run", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed))
        timed = timed_steps(plan, run, RunFolder(nowhere), accelerator, world)
    return SegmentationCost(
        parameters=start.model.num_parameters(),
        scenes=len(dataset),
        steps=total_steps(job.train, len(dataset)),
        processes=world,
        state=state_bytes(start.model) // (world if job.run.sharding == "fsdp" else 1),
        peak_memory=peak_memory(accelerator.device),
        seconds_per_step=median(one.step for one in timed),
        data_share=sum(one.data for one in timed) / sum(one.step for one in timed),
    )
