"""Fine-tune a BEiT on labelled pictures, or train one from scratch the same way.

Legend: K classes, labels or numbers.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from beit.data import PAIR, Augmentation, Collate, ImageSource, Mixing, RandAugment, ViewDataset, Views
from beit.data.subset import spread
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.training.broken import note_shards
from beit.training.conclusion import conclude, save_model
from beit.training.device import make_accelerator
from beit.training.early_stop import EarlyStop
from beit.training.evaluation_kinds import evaluate_model
from beit.training.evaluation_pass import PassOptions
from beit.training.evaluation_sections import evaluation_sections
from beit.training.finetune_checks import check_labels, check_settings, label_facts
from beit.training.finetune_model import starting_model
from beit.training.finetune_objective import Targets, balanced_weights
from beit.training.finetune_run import FinetuneRun
from beit.training.inputs import augmentation, open_sources, preprocessing
from beit.training.jobs import FinetuneJob
from beit.training.loop import train
from beit.training.metrics import read_metrics
from beit.training.plan import Plan, check_length
from beit.training.report import Section, curves_section, numbers_table
from beit.training.run_folder import RunFolder, open_run_folder
from beit.training.sharding import check_sharding
from beit.training.together import one_run

_CURVES = {"Loss": ["loss"], "Accuracy": ["accuracy"], "Learning rate": ["lr"]}


@one_run
def finetune(job: FinetuneJob) -> RunFolder:
    """Fine-tune a model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or labels are unusable.
    """
    check_sharding(job.run, job.train)
    sources = open_sources(job.data, job.run.seed, stratified=True)
    classes, kind = check_labels(sources, job)
    accelerator = make_accelerator(job.run)
    check_settings(job, kind, len(classes), accelerator.num_processes)
    check_length(job.train, job.optim, len(sources.train), accelerator.num_processes)
    torch.manual_seed(job.run.seed)
    model = starting_model(job, classes, kind)
    if kind == "regression":
        start_at_mean(model, sources.train)
    view = preprocessing(job.model, model.config.image_hw, job.checkpoint)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    note_shards(accelerator, folder.broken, sources.train, sources.val)
    mixing = Mixing(job.mixing.mixup, job.mixing.cutmix, job.mixing.probability, job.mixing.switch)
    targets = Targets(kind, len(classes), job.label_smoothing, mixing, job.run.seed)
    run = FinetuneRun(model, view, job, targets, class_weights(job, sources.train, len(classes)))
    dataset = ViewDataset(sources.train, Views(view, finetune_augmentation(job)), job.run.seed, replace_broken=True)

    def held_out() -> float:
        some = spread(sources.val, job.early_stop.pictures)
        numbers = evaluate_model(model, view, some, PassOptions(job.train.batch_size)).numbers()
        return numbers["loss"] if job.stop_on == "loss" else 1 - numbers["accuracy"]

    stop = EarlyStop(job.early_stop, "held_out_loss" if job.stop_on == "loss" else "held_out_error", held_out)
    facts, collate, together = label_facts(sources.train), Collate(job.run.seed), PAIR if mixing.active else 1
    plan = Plan(
        "fine-tuning", job.run, job.data, job.optim, job.train, dataset, collate, stop, facts, together=together
    )
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, model, view, sources.val, folder, steps)
    accelerator.wait_for_everyone()
    return folder


def finetune_augmentation(job: FinetuneJob) -> Augmentation:
    """Return the random changes of the training pictures."""
    settings = job.rand_augment
    operations = RandAugment(settings.operations, settings.magnitude, settings.magnitude_std)
    return replace(augmentation(job.augment), rand_augment=operations if settings.operations else None, erase=job.erase)


def class_weights(job: FinetuneJob, source: ImageSource, classes: int) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none."""
    if job.class_weights is None:
        return None
    if job.class_weights == "balanced":
        return balanced_weights(source.labels, classes)
    return torch.tensor(job.class_weights)


def start_at_mean(model: BeitForImageClassification, source: ImageSource) -> None:
    """Let a new head begin with the mean of what it is to learn, not with 0, which may be far off."""
    bias_K = model.get_parameter("classifier.bias")
    if not bias_K.any():  # one that goes on has learnt it already
        with torch.no_grad():
            bias_K.copy_(torch.as_tensor(source.labels).mean(dim=0))


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
