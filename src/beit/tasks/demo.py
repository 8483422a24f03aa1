"""Demo: pre-training against training from scratch on the embedded digits with few labels, in minutes.

Three fine-tunings of the same pre-trained model and three trainings from scratch share every setting, the labelled
pictures of their seed, and the number of steps. Nobody sees the 500 test pictures before the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean, stdev

from beit.data import Views, open_source
from beit.engine.metrics import read_metrics
from beit.engine.run_folder import RunFolder
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.sections import evaluation_sections
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification, BeitForMaskedImageModeling
from beit.reports.gallery import scene_section
from beit.reports.quality import quality_sections
from beit.reports.report import Section, numbers_table, write_report
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import MaskSettings, PretrainJob, PretrainTokenizerSettings
from beit.settings.recipe import resolved_recipe
from beit.settings.tokenizer import CodebookLossSettings, CodebookSettings
from beit.tasks.finetune.task import finetune
from beit.tasks.pretrain.held_out import HiddenPatches, PretrainQuality
from beit.tasks.pretrain.start import mask_plan
from beit.tasks.pretrain.task import pretrain
from beit.tokenizer import TokenEncoder, load_tokenizer

SEEDS = (0, 1, 2)
LABELS_PER_CLASS = 10

# Digits are 8 x 8 pixels; the model sees them at 16 x 16 in 4 x 4 patches, the tokenizer at 8 x 8.
_MODEL = ModelSettings(
    size="tiny",
    image_size=16,
    patch_size=4,
    hidden_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=384,
    crop_share=1.0,
)
_AUGMENT = AugmentSettings(crop_scale=(0.6, 1.0), crop_aspect=(0.8, 1.25), flip=0.0, color_jitter=0.0)
_PICTURES = DataSettings(path="digits:train", val_path="digits:test", workers=0)


@dataclass(frozen=True)
class DemoResult:
    """Accuracies on the test pictures, one per seed, and the folders of the runs."""

    pretrained: list[float]
    from_scratch: list[float]
    model: Path
    report: Path


def pretrain_job(output: Path) -> PretrainJob:
    """Return the job of the pre-training, its tokenizer included."""
    return PretrainJob(
        run=RunSettings(output=str(output / "pretrain"), save_every=200, keep_checkpoints=1),
        data=_PICTURES,
        augment=_AUGMENT,
        model=replace(_MODEL, drop_path_rate=0.0),
        mask=MaskSettings(count=7, min_block=2),
        tokenizer=PretrainTokenizerSettings(
            codebook=CodebookSettings(
                vocab_size=128, hidden_size=32, blocks_per_group=1, groups=2, decoder_input_size=32
            ),
            loss=CodebookLossSettings(reconstruction="l2", kl_weight=(0.0, 0.01)),
            optim=OptimSettings(lr=1e-2, betas=(0.9, 0.999), weight_decay=1e-4, warmup_steps=20),
            train=TrainSettings(batch_size=128, max_steps=300),
        ),
        optim=OptimSettings(lr=2e-3, warmup_steps=60),
        train=TrainSettings(batch_size=128, max_steps=900),
    )


def finetune_job(output: Path, name: str, seed: int, checkpoint: Path | None) -> FinetuneJob:
    """Return the job of one classifier; both kinds differ in the checkpoint alone."""
    return FinetuneJob(
        run=RunSettings(output=str(output / f"{name}_{seed}"), seed=seed, keep_checkpoints=1),
        data=replace(_PICTURES, per_class=LABELS_PER_CLASS),
        augment=_AUGMENT,
        checkpoint=str(checkpoint) if checkpoint is not None else None,
        model=_MODEL,
        optim=OptimSettings(lr=3e-3, min_lr=1e-6, warmup_steps=30, betas=(0.9, 0.999), clip_grad=3.0),
        train=TrainSettings(batch_size=100, max_steps=220),
    )


def run_demo(output: str, announce: Callable[[str], None]) -> DemoResult:
    """Run (or continue) the demo below a folder and return its accuracies.

    Args:
        output: Folder for everything the demo makes.
        announce: Called with a line at the beginning of every stage.
    """
    place = Path(output)
    announce("1/3  a tokenizer, and pre-training on 1,297 pictures without labels")
    pretrained = pretrain(pretrain_job(place))
    announce(f"2/3  fine-tuning the pre-trained model with {LABELS_PER_CLASS} labels per class, {len(SEEDS)} seeds")
    tuned = [finetune(finetune_job(place, "finetune", seed, pretrained.model)) for seed in SEEDS]
    announce("3/3  the same from scratch")
    scratch = [finetune(finetune_job(place, "scratch", seed, None)) for seed in SEEDS]
    result = DemoResult(
        pretrained=[folder.read_result()["accuracy"] for folder in tuned],
        from_scratch=[folder.read_result()["accuracy"] for folder in scratch],
        model=tuned[0].model,
        report=place / "report.html",
    )
    _write_report(result, pretrain_job(place), pretrained, tuned[0])
    return result


def table(result: DemoResult) -> list[list[str]]:
    """Return the rows of the result: kind, one accuracy per seed, mean and spread."""
    rows: list[list[str]] = []
    for name, accuracies in (("pre-trained", result.pretrained), ("from scratch", result.from_scratch)):
        spread = f"{mean(accuracies):.1%} ± {stdev(accuracies):.1%}"
        rows.append([name, *(f"{accuracy:.1%}" for accuracy in accuracies), spread])
    return rows


TABLE_COLUMNS = ["test accuracy", *(f"seed {seed}" for seed in SEEDS), "mean ± std"]


def _prediction(run: RunFolder) -> dict[str, float]:
    """Return the part of a run's result that is about masked-token prediction."""
    result = run.read_result()
    return {field.name: result[field.name] for field in fields(PretrainQuality)}


def _write_report(result: DemoResult, job: PretrainJob, pretrained: RunFolder, tuned: RunFolder) -> None:
    test = open_source("digits:test")
    encoder = TokenEncoder(load_tokenizer(pretrained.path / "tokenizer" / "model"))
    model = BeitForMaskedImageModeling.from_pretrained(pretrained.model)
    mask, stride = mask_plan(job.mask, model.beit.embeddings.grid), encoder.tokenizer.stride
    tokenizer_hw = (mask.grid.height * stride, mask.grid.width * stride)
    views = Views(Preprocessing.from_pretrained(pretrained.model), None, tokenizer_hw)
    classifier = BeitForImageClassification.from_pretrained(tuned.model)
    evaluation = evaluate_model(classifier, Preprocessing.from_pretrained(tuned.model), test, PassOptions(256))
    ahead = mean(result.pretrained) - mean(result.from_scratch)
    sections = [
        Section(
            "Does pre-training help?",
            f"{LABELS_PER_CLASS} labelled pictures per class, 500 test pictures; pre-training makes a "
            f"difference of {100 * ahead:+.1f} points.",
            columns=TABLE_COLUMNS,
            rows=table(result),
        ),
        Section("Pre-training, masked patches of test pictures", table=numbers_table(_prediction(pretrained))),
        *quality_sections(read_metrics(pretrained.metrics)),
        scene_section(HiddenPatches(model, encoder, test, views, mask, job.run.seed, job.gallery.pictures)),
        *evaluation_sections(evaluation),
    ]
    write_report(result.report, "BEiT on handwritten digits", sections, resolved_recipe(job))
