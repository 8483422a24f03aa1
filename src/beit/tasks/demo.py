"""Demo: what pre-training gives with few labels, beside what needs none of it, on the embedded digits, in minutes.

Three fine-tunings of one pre-trained model stand beside three trainings from scratch, which take as many steps as
pre-training and fine-tuning together, and beside two classifiers on raw pixels. All of them learn from the labelled
pictures of their seed. The settings were chosen on training pictures that were held out; nobody sees the 500 test
pictures before the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean, stdev
from typing import TypeVar

from beit.data import Views, few_per_class, open_source
from beit.engine.metrics import read_metrics
from beit.engine.recorded import as_before
from beit.engine.run_folder import RunFolder, changed_since
from beit.errors import ConfigError
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.raw_pixels import raw_pixel_accuracy
from beit.evaluation.classification.sections import evaluation_sections
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification, BeitForMaskedImageModeling
from beit.reports.gallery import scene_section
from beit.reports.quality import quality_sections
from beit.reports.report import Section, numbers_table, write_report
from beit.settings.base import resolved_recipe
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import (
    AugmentSettings,
    DataSettings,
    ModelSettings,
    OptimSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)
from beit.settings.pretrain import MaskSettings, PretrainJob, PretrainTokenizerSettings
from beit.settings.tokenizer import (
    ClusteredTokenizerSettings,
    ClusteringRunSettings,
    ClusteringSettings,
    ClusterJob,
)
from beit.tasks.finetune.task import finetune
from beit.tasks.pretrain.held_out import HiddenPatches, PretrainQuality
from beit.tasks.pretrain.masks import mask_plan
from beit.tasks.pretrain.task import pretrain
from beit.tasks.tokenizer.kmeans import cluster_tokenizer
from beit.tokenizer import TokenEncoder, load_tokenizer

SEEDS = (0, 1, 2)
LABELS_PER_CLASS = 10
PRETRAINED, SCRATCH = "pre-trained and fine-tuned", "from scratch, as many steps in all"
NEAREST, LOGISTIC = "1-nearest neighbour on raw pixels", "logistic regression on raw pixels"
_RIVALS = {
    SCRATCH: "training from scratch for as many steps",
    NEAREST: "the nearest neighbour",
    LOGISTIC: "logistic regression on raw pixels",
}

# Digits are 8 x 8 pixels; model and tokenizer see them at 16 x 16 in 4 x 4 patches.
_SIDE, _PATCH = 16, 4
_MODEL = ModelSettings(
    size="tiny",
    image_size=_SIDE,
    patch_size=_PATCH,
    hidden_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=384,
    layer_scale_init_value=0.0,
    positions="absolute",
    crop_share=1.0,
)
_AUGMENT = AugmentSettings(
    crop_scale=(0.75, 1.0), crop_aspect=(0.85, 1.18), flip=0.0, color_jitter=0.0, rotation=15.0, shear=0.15, shift=0.09
)
_PICTURES = DataSettings(path="digits:train", val_path="digits:test", workers=0)
_QUICK = 20
Training = TypeVar("Training", PretrainJob, FinetuneJob)
_MUON = OptimSettings(name="muon", lr=1e-2, min_lr=1e-4, warmup_steps=25)


@dataclass(frozen=True)
class DemoResult:
    """Accuracies on the test pictures, one per seed for every kind of classifier, and the folders of the runs."""

    accuracies: dict[str, list[float]]
    model: Path
    report: Path


def cluster_job(output: Path) -> ClusterJob:
    """Return the job of the tokenizer."""
    return ClusterJob(
        run=ClusteringRunSettings(output=str(output / "tokenizer")),
        data=_PICTURES,
        augment=_AUGMENT,
        image_size=_SIDE,
        model=ClusteredTokenizerSettings(vocab_size=128, patch_size=_PATCH, window=2 * _PATCH),
        clustering=ClusteringSettings(windows=20_000),
    )


def pretrain_job(output: Path, tokenizer: Path) -> PretrainJob:
    """Return the job of the pre-training."""
    return PretrainJob(
        run=RunSettings(output=str(output / "pretrain"), save_every=200, keep_checkpoints=1),
        data=_PICTURES,
        augment=_AUGMENT,
        model=replace(_MODEL, drop_path_rate=0.0),
        mask=MaskSettings(kind="random", count=9),
        tokenizer=PretrainTokenizerSettings(path=str(tokenizer)),
        optim=_MUON,
        train=TrainSettings(batch_size=64, max_steps=400),
    )


def finetune_job(output: Path, seed: int, checkpoint: Path) -> FinetuneJob:
    """Return the job of one classifier that starts from the pre-trained model."""
    return FinetuneJob(
        run=RunSettings(output=str(output / f"finetune_{seed}"), seed=seed, keep_checkpoints=1),
        data=replace(_PICTURES, per_class=LABELS_PER_CLASS),
        augment=_AUGMENT,
        checkpoint=str(checkpoint),
        model=_MODEL,
        optim=replace(_MUON, lr=5e-3, min_lr=5e-5, betas=(0.9, 0.999), layer_decay=0.8),
        train=TrainSettings(batch_size=64, max_steps=150),
        validation=ValidationSettings(every=0),  # these are the test pictures, by which nothing is chosen
    )


def scratch_job(output: Path, seed: int, before: PretrainJob, tuned: FinetuneJob) -> FinetuneJob:
    """Return the job of the same classifier from random weights, with the steps of both trainings.

    Args:
        output: Folder of the demo.
        seed: Of the labelled pictures, and of everything else.
        before: The pre-training whose steps it has more.
        tuned: The fine-tuning that it stands beside.
    """
    steps = (before.train.max_steps or 0) + (tuned.train.max_steps or 0)
    return replace(
        tuned,
        run=replace(tuned.run, output=str(output / f"scratch_{seed}")),
        checkpoint=None,
        optim=replace(_MUON, betas=tuned.optim.betas),
        train=replace(tuned.train, max_steps=steps),
    )


def shortened(job: Training) -> Training:
    """Return a job with a twentieth of its steps."""
    steps = (job.train.max_steps or 0) // _QUICK
    return replace(job, optim=replace(job.optim, warmup_steps=2), train=replace(job.train, max_steps=steps))


def run_demo(output: str, announce: Callable[[str], None], quick: bool = False) -> DemoResult:
    """Run (or continue) the demo below a folder and return its accuracies.

    Args:
        output: Folder for everything the demo makes.
        announce: Called with a line at the beginning of every stage.
        quick: Whether every training takes a twentieth of its steps.

    Raises:
        ConfigError: If the folder holds a demo of another length.
    """
    place = Path(output)
    _check_place(place, quick)
    announce("1/4  a tokenizer: clusters of whitened patches of 1,297 pictures without labels")
    tokenizer = cluster_tokenizer(cluster_job(place))
    announce("2/4  pre-training on the same pictures")
    job = pretrain_job(place, tokenizer.model)
    job = shortened(job) if quick else job
    pretrained = pretrain(job)
    announce(f"3/4  fine-tuning the pre-trained model with {LABELS_PER_CLASS} labels per class, {len(SEEDS)} seeds")
    jobs = [finetune_job(place, seed, pretrained.model) for seed in SEEDS]
    jobs = [shortened(tuning) for tuning in jobs] if quick else jobs
    tuned = [finetune(tuning) for tuning in jobs]
    announce("4/4  training from scratch, with the steps of both together")
    scratch = [finetune(scratch_job(place, seed, job, tuning)) for seed, tuning in zip(SEEDS, jobs, strict=True)]
    result = DemoResult(
        {
            PRETRAINED: [folder.read_result()["accuracy"] for folder in tuned],
            SCRATCH: [folder.read_result()["accuracy"] for folder in scratch],
            **_raw_pixels(),
        },
        model=tuned[0].model,
        report=place / "report.html",
    )
    _write_report(result, job, tokenizer, pretrained, tuned[0])
    return result


def _check_place(place: Path, quick: bool) -> None:
    """Refuse the folder of a demo of another length, whose runs would not go on: the demo has no settings of theirs.

    Raises:
        ConfigError: Naming what to do.
    """
    job = pretrain_job(place, place / "tokenizer" / "model")
    job, folder = shortened(job) if quick else job, RunFolder(job.run.output)
    if folder.begun and (changed := changed_since(folder, as_before(job))):
        raise ConfigError(
            f"{place} holds a demo {'without' if quick else 'with'} --quick, or of another version "
            f"({'; '.join(changed)}); choose another --output, or remove that folder"
        )


def table(result: DemoResult) -> list[list[str]]:
    """Return the rows of the result: kind, one accuracy per seed, mean and spread."""
    return [
        [
            name,
            *(f"{accuracy:.1%}" for accuracy in accuracies),
            f"{mean(accuracies):.1%} ± {stdev(accuracies):.1%}",
        ]
        for name, accuracies in result.accuracies.items()
    ]


TABLE_COLUMNS = ["test accuracy", *(f"seed {seed}" for seed in SEEDS), "mean ± std"]


def _prediction(run: RunFolder) -> dict[str, float]:
    """Return the part of a run's result that is about masked-token prediction."""
    result = run.read_result()
    return {field.name: result[field.name] for field in fields(PretrainQuality)}


def verdict(result: DemoResult) -> str:
    """Return the result in one sentence: who is ahead, by how much, and who is level."""
    ours = result.accuracies[PRETRAINED]
    others = [_distance(ours, result.accuracies[name], words) for name, words in _RIVALS.items()]
    return (
        f"With {LABELS_PER_CLASS} labels per class, pre-training and fine-tuning recognise {mean(ours):.1%} of the "
        f"test pictures: {', '.join(others[:-1])} and {others[-1]}."
    )


def _distance(ours: list[float], theirs: list[float], name: str) -> str:
    """Return how far ahead ours is; level is what differs by less than the standard error over the seeds."""
    ahead = [100 * (one - other) for one, other in zip(ours, theirs, strict=True)]
    if abs(mean(ahead)) < stdev(ahead) / len(ahead) ** 0.5:
        return f"level with {name} ({mean(ahead):+.1f} points)"
    return f"{abs(mean(ahead)):.1f} points {'ahead of' if mean(ahead) > 0 else 'behind'} {name}"


def _raw_pixels() -> dict[str, list[float]]:
    """Return the accuracies of classifiers on raw pixels, for the labelled pictures of every seed."""
    pictures, test = open_source("digits:train"), open_source("digits:test")
    found = [raw_pixel_accuracy(few_per_class(pictures, LABELS_PER_CLASS, seed), test) for seed in SEEDS]
    return {NEAREST: [each.nearest for each in found], LOGISTIC: [each.logistic for each in found]}


def _write_report(
    result: DemoResult, job: PretrainJob, tokenizer: RunFolder, pretrained: RunFolder, tuned: RunFolder
) -> None:
    test = open_source("digits:test")
    encoder = TokenEncoder(load_tokenizer(tokenizer.model))
    model = BeitForMaskedImageModeling.from_pretrained(pretrained.model)
    mask, stride = mask_plan(job.mask, model.beit.embeddings.grid), encoder.tokenizer.stride
    tokenizer_hw = (mask.grid.height * stride, mask.grid.width * stride)
    views = Views(Preprocessing.from_pretrained(pretrained.model), None, tokenizer_hw)
    classifier = BeitForImageClassification.from_pretrained(tuned.model)
    evaluation = evaluate_model(classifier, Preprocessing.from_pretrained(tuned.model), test, PassOptions(256))
    sections = [
        Section("Does pre-training help?", verdict(result), columns=TABLE_COLUMNS, rows=table(result)),
        Section("Pre-training, masked patches of test pictures", table=numbers_table(_prediction(pretrained))),
        *quality_sections(read_metrics(pretrained.metrics)),
        scene_section(HiddenPatches(model, encoder, test, views, mask, job.run.seed, job.gallery.pictures)),
        *evaluation_sections(evaluation),
    ]
    write_report(result.report, "BEiT on handwritten digits", sections, resolved_recipe(job))
