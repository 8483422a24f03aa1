"""What the training of a segmentation model would cost, told before it is started."""

from __future__ import annotations

from beit.data import Collate
from beit.engine.device import make_accelerator, reproducible
from beit.engine.forecast import TrainingCost, training_cost
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.settings.scenes import open_scenes
from beit.settings.segment import SegmentJob
from beit.tasks.segment.run import SegmentRun
from beit.tasks.segment.start import segmentation_start, training_scenes


@one_run
def forecast_segmentation(job: SegmentJob) -> TrainingCost:
    """Take some steps of a training and return what they took; nothing is written, and masks are not counted.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures, or pictures without a mask.
        BeitError: If a step needs more memory than there is.
    """
    sources = open_scenes(job.data, job.masks, job.run.seed)
    accelerator = make_accelerator(job.run)
    start = segmentation_start(job, sources, accelerator.num_processes)
    with reproducible():
        run, dataset = SegmentRun(start, job), training_scenes(job, start, sources.train)
        plan = Plan("dry run", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed))
        return training_cost(plan, run, accelerator)
