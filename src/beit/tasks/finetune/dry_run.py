"""What a fine-tuning would cost, told before it is started."""

from __future__ import annotations

from beit.data import Collate
from beit.engine.device import make_accelerator, reproducible
from beit.engine.forecast import TrainingCost, training_cost
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.settings.finetune import FinetuneJob
from beit.settings.inputs import open_sources
from beit.tasks.finetune.start import finetuning_run, finetuning_start, training_views


@one_run
def forecast_finetuning(job: FinetuneJob) -> TrainingCost:
    """Take some steps of a fine-tuning and return what they took; nothing is written.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or labels are unusable.
        BeitError: If a step needs more memory than there is.
    """
    sources = open_sources(job.data, job.run.seed, stratified=True)
    accelerator = make_accelerator(job.run)
    start = finetuning_start(job, sources, accelerator.num_processes)
    with reproducible():
        run, dataset = finetuning_run(job, start, sources.train), training_views(job, start, sources.train)
        collate, together = Collate(job.run.seed), start.together
        plan = Plan("dry run", job.run, job.data, job.optim, job.train, dataset, collate, together=together)
        return training_cost(plan, run, accelerator)
