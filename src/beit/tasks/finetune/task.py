"""Fine-tune a BEiT on labelled pictures, or train one from scratch the same way."""

from __future__ import annotations

from beit.data import Collate, ImageSource
from beit.data.subset import spread
from beit.engine.conclusion import conclude, save_model
from beit.engine.device import make_accelerator
from beit.engine.early_stop import EarlyStop
from beit.engine.loop import train
from beit.engine.metrics import read_metrics
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.engine.shards import note_shards
from beit.evaluation.classification.kinds import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.sections import evaluation_sections
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.reports.report import Section, curves_section, numbers_table
from beit.settings.finetune import FinetuneJob
from beit.settings.inputs import open_sources
from beit.tasks.finetune.checks import label_facts
from beit.tasks.finetune.start import finetuning_run, finetuning_start, training_views

_CURVES = {"Loss": ["loss"], "Accuracy": ["accuracy"], "Learning rate": ["lr"]}


@one_run
def finetune(job: FinetuneJob) -> RunFolder:
    """Fine-tune a model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or labels are unusable.
    """
    sources = open_sources(job.data, job.run.seed, stratified=True)
    accelerator = make_accelerator(job.run)
    start = finetuning_start(job, sources, accelerator.num_processes)
    model, view = start.model, start.view
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    run, dataset = finetuning_run(job, start, sources.train), training_views(job, start, sources.train)

    def held_out() -> float:
        some = spread(sources.val, job.early_stop.pictures)
        numbers = evaluate_model(model, view, some, PassOptions(job.train.batch_size)).numbers()
        return numbers["loss"] if job.stop_on == "loss" else 1 - numbers["accuracy"]

    stop = EarlyStop(job.early_stop, "held_out_loss" if job.stop_on == "loss" else "held_out_error", held_out)
    facts, collate = label_facts(sources.train), Collate(job.run.seed)
    plan = Plan(
        "fine-tuning", job.run, job.data, job.optim, job.train, dataset, collate, stop, facts, together=start.together
    )
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, model, view, sources.val, folder, steps)
    accelerator.wait_for_everyone()
    return folder


def _conclude(
    job: FinetuneJob,
    model: BeitForImageClassification,
    view: Preprocessing,
    source: ImageSource,
    folder: RunFolder,
    steps: int,
) -> None:
    """Measure the model, and its moving average if one was kept, and write what was measured."""
    options = PassOptions(job.train.batch_size)
    measured = evaluate_model(model, view, source, options)
    numbers, sections = measured.numbers(), evaluation_sections(measured) if job.run.report else []
    if job.train.ema_decay is not None:
        average = BeitForImageClassification.from_pretrained(folder.average).to(model.device)
        also = evaluate_model(average, view, source, options).numbers()
        numbers |= {f"average_{name}": value for name, value in also.items() if name != "pictures"}
        sections.insert(1, Section("Held-out pictures, moving average of the weights", table=numbers_table(also)))
    conclude(
        "Fine-tuning",
        job,
        folder,
        steps,
        numbers,
        measured.broken,
        lambda: [*sections, curves_section(read_metrics(folder.metrics), _CURVES)],
    )
