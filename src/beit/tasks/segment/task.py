"""Train a BEiT with UperNet on scenes: pictures in which every pixel has a class.

Legend: K classes.
"""

from __future__ import annotations

from beit.data import Collate
from beit.data.subset import spread
from beit.engine.conclusion import conclude, save_model
from beit.engine.device import make_accelerator
from beit.engine.early_stop import EarlyStop
from beit.engine.loop import train
from beit.engine.metrics import read_metrics
from beit.engine.plan import Plan
from beit.engine.processes import one_run
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.evaluation.segmentation.measure import measure_scenes, overlay_section, score_sections
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.reports.report import Section, curves_section, numbers_table
from beit.settings.inputs import Sources
from beit.settings.scenes import open_scenes
from beit.settings.segment import SegmentJob
from beit.tasks.segment.pixel_counts import PixelCounts, count_pixels
from beit.tasks.segment.run import SegmentRun
from beit.tasks.segment.start import class_weights, segmentation_start, share_batch_norms, training_scenes

_CURVES = {"Loss": ["loss"], "Pixels predicted right": ["pixel_accuracy"], "Learning rate": ["lr"],
           "1 - mean IoU of held-out scenes": ["held_out_error"]}  # fmt: skip


@one_run
def segment(job: SegmentJob) -> RunFolder:
    """Train a segmentation model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or masks are unusable.
    """
    sources = open_scenes(job.data, job.masks, job.run.seed)
    accelerator = make_accelerator(job.run)
    start = segmentation_start(job, sources, accelerator.num_processes)
    counts = count_pixels(sources.train, job.masks.checked, visible=accelerator.is_main_process)
    count_pixels(sources.val, job.masks.checked, visible=accelerator.is_main_process)
    if accelerator.is_main_process:
        print(told(counts))  # noqa: T201
    model, how = start.model, start.how
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        share_batch_norms(model)
    run = SegmentRun(start, job, class_weights(job, counts))

    def error() -> float:
        some = spread(sources.val, job.early_stop.pictures)
        return 1 - measure_scenes(model, how, some).scores.numbers()["mean_iou"]

    stop = EarlyStop(job.early_stop, "held_out_error", error)
    dataset, collate = training_scenes(job, start, sources.train), Collate(job.run.seed)
    plan = Plan("segmentation", job.run, job.data, job.optim, job.train, dataset, collate, stop)
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, model, how, sources, folder, steps)
    accelerator.wait_for_everyone()
    return folder


def told(counts: PixelCounts) -> str:
    """Return what is in the masks, a line for each class."""
    width = max(len(row[0]) for row in counts.table())
    lines = [f"  {name:<{width}}  {pixels:>15}  {share:>7}" for name, pixels, share in counts.table()]
    return "\n".join([f"pixels in {counts.masks:,} masks:", *lines])


def _conclude(
    job: SegmentJob,
    model: BeitForSemanticSegmentation,
    how: SceneInference,
    sources: Sources,
    folder: RunFolder,
    steps: int,
) -> None:
    measured = measure_scenes(model, how, sources.val, visible=True)
    names = model.config.class_names
    iou = {f"iou_{name}": float(value) for name, value in zip(names, measured.scores.iou, strict=True)}
    numbers = {**measured.scores.numbers(), **{name: value for name, value in iou.items() if value == value}}
    average: list[Section] = []
    if job.train.ema_decay is not None:
        kept = BeitForSemanticSegmentation.from_pretrained(folder.average).to(model.device)
        also = measure_scenes(kept, how, sources.val, visible=True).scores.numbers()
        numbers |= {f"average_{name}": value for name, value in also.items() if name != "pictures"}
        average = [Section("Held-out scenes, moving average of the weights", table=numbers_table(also))]

    def sections() -> list[Section]:
        curves = curves_section(read_metrics(folder.metrics), _CURVES)
        means, classes = score_sections(measured, names)
        return [means, *average, classes, overlay_section(model, how, sources.val), curves]

    conclude("Segmentation", job, folder, steps, numbers, measured.broken, sections)
