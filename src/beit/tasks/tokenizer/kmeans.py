"""Fit of a k-means tokenizer, in a run folder like every training, and its cost; no gradient and no steps.

Legend: B batch, F numbers in a window, N windows of a picture, R windows.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from math import log

import torch
from torch import Tensor

from beit.data import (
    BrokenPictures,
    Collate,
    ImageSource,
    Purpose,
    ViewDataset,
    Views,
    evaluation_batches,
    generator,
    list_shards,
    loading_workers,
    require_usable,
    spread,
)
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder, hold_run_folder, prepare_run_folder
from beit.engine.throughput import gemm_rate
from beit.errors import ConfigError
from beit.evaluation.tokenizer.drawings import ONE_PER_PATCH, numbers_section, reconstruction_section
from beit.evaluation.tokenizer.quality import measure_tokenizer, tokenizer_views
from beit.files import atomic_folder
from beit.models_torch.device import pick_device
from beit.reports.report import since, write_report
from beit.settings.base import resolved_recipe
from beit.settings.inputs import Sources, augmentation, check_device, open_sources
from beit.settings.tokenizer import ClusterJob
from beit.tokenizer import KMeansConfig, KMeansTokenizer, TokenEncoder, fit_kmeans, picture_windows

_PICTURES_AT_ONCE = 64
_COPIES = 3  # of the windows: as they are, normalised, whitened


def cluster_tokenizer(job: ClusterJob) -> RunFolder:
    """Fit a k-means tokenizer and leave model, metrics and report in the run folder, which is returned.

    What was interrupted begins again; it takes minutes, and gives the same bits.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If there are no pictures, too many are broken, or too few windows differ.
        MissingExtraError: If scikit-learn is not installed.
    """
    check_device(job.augment)
    config, sources = _start(job)
    job = replace(job, data=replace(job.data, workers=_workers(job)))
    with hold_run_folder(job, job.run):
        folder = prepare_run_folder(job, job.run)
        folder.check_present()
        if not folder.finished:
            _fit(job, config, sources, folder)
        return folder


def _fit(job: ClusterJob, config: KMeansConfig, sources: Sources, folder: RunFolder) -> None:
    """Draw windows, cluster them, and leave what was made in the run folder."""
    began = time.perf_counter()
    list_shards(folder.broken, sources.train, sources.val)
    windows_RF = draw_windows(
        job, config, sources.train, BrokenPictures(folder.broken, len(sources.train), job.data.max_broken)
    )
    settings = job.clustering
    seed = int(generator(job.run.seed, Purpose.CLUSTER).integers(2**31))
    print(f"k-means tokenizer: {len(windows_RF):,} windows of {len(sources.train):,} pictures")  # noqa: T201
    tokenizer = fit_kmeans(
        windows_RF, config, settings.whitening_eps, settings.epochs, settings.batch_size, seed
    )  # fmt: skip
    folder.check_present()
    with atomic_folder(folder.model) as temporary:
        tokenizer.save_pretrained(temporary)
    _conclude(job, tokenizer, sources.val, folder, began)


def draw_windows(job: ClusterJob, config: KMeansConfig, source: ImageSource, broken: BrokenPictures) -> Tensor:
    """Return windows (R, F) of random views, in [0, 255]: as many of every picture, at places drawn by the seed.

    Args:
        job: The settings.
        config: Size of the tokenizer.
        source: Pictures to draw from.
        broken: Takes note of those that cannot be used.

    Raises:
        DataError: If no picture is usable, or too many are broken.
    """
    chosen = spread(source, job.clustering.windows)
    each, more = divmod(job.clustering.windows, len(chosen))
    plain = tokenizer_views(job.image_size)
    views = Views(plain.preprocessing, augmentation(job.augment, job.data.channels), plain.tokenizer_hw)
    dataset = ViewDataset(chosen, views, job.run.seed, replace_broken=False)
    found: list[Tensor] = []
    for batch in evaluation_batches(dataset, Collate(0), _PICTURES_AT_ONCE, _workers(job)):
        broken.add(batch.broken)
        if not batch.indices:
            continue
        windows_BNF = picture_windows(batch.tensors["tokenizer_pixels"], config)
        for windows_NF, index in zip(windows_BNF, batch.indices, strict=True):
            count = min(each + (index < more), len(windows_NF))
            chance = generator(job.run.seed, Purpose.CLUSTER, chosen.origin(index))
            found.append(windows_NF[chance.choice(len(windows_NF), count, replace=False)])
    require_usable(len(found), len(chosen), [])
    return torch.cat(found)


@dataclass(frozen=True)
class ClusteringCost:
    """Cost of a fit, estimated before it.

    Attributes:
        pictures: Pictures that windows are drawn from.
        windows: Windows that are clustered.
        values: Numbers in a window.
        memory: Bytes of windows and tokenizer.
        reading_seconds: To read the pictures, from the time that a few take in one process.
        fitting_seconds: To whiten and cluster with all passes, if the machine does nothing else; it may stop before.
    """

    pictures: int
    windows: int
    values: int
    memory: float
    reading_seconds: float
    fitting_seconds: float


def forecast_clustering(job: ClusterJob) -> ClusteringCost:
    """Return the cost of a fit, from its settings and a few pictures; nothing is written.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If no picture is usable.
    """
    check_device(job.augment)
    config, sources = _start(job)
    pictures = min(len(sources.train), job.clustering.windows)
    per_picture = (config.image_size // config.patch_size) ** 2
    windows, values = min(job.clustering.windows, pictures * per_picture), config.window_values
    few, alone = spread(sources.train, _PICTURES_AT_ONCE), replace(job, data=replace(job.data, workers=0))
    began = time.perf_counter()
    draw_windows(alone, config, few, BrokenPictures(None, len(few), 1.0))
    seconds = (time.perf_counter() - began) / len(few) / max(1, _workers(job))
    tokenizer = 4 * (values**2 + 2 * config.vocab_size * values)
    return ClusteringCost(
        pictures,
        windows,
        values,
        memory=4.0 * _COPIES * windows * values + tokenizer,
        reading_seconds=pictures * seconds,
        fitting_seconds=_operations(job, windows, values) / gemm_rate(torch.device("cpu"), torch.float32),
    )


def _operations(job: ClusterJob, windows: int, values: int) -> float:
    """Return the operations of covariance and whitening, first centroids (k-means++), and all passes."""
    codes, settings = job.model.vocab_size, job.clustering
    candidates = 2 + int(log(codes))
    first = min(windows, max(3 * settings.batch_size, 3 * codes)) * candidates * codes
    return 2.0 * values * (2 * windows * values + first + settings.epochs * windows * codes)


def _start(job: ClusterJob) -> tuple[KMeansConfig, Sources]:
    """Return the size of the tokenizer, and its pictures; nothing is written.

    Raises:
        ConfigError: If the settings do not fit together.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("beit tokenizer cluster runs in one process; start it without torchrun or accelerate")
    if job.clustering.windows < job.model.vocab_size:
        raise ConfigError(
            f"clustering.windows is {job.clustering.windows} and model.vocab_size {job.model.vocab_size}; expected at "
            "least one window per code: raise the first, or lower the second"
        )
    options = asdict(job.model) | {"window": job.model.window or job.model.patch_size, "channels": job.data.channels}
    return KMeansConfig(**options, image_size=job.image_size), open_sources(job.data, job.run.seed)


def _workers(job: ClusterJob) -> int:
    """Return the processes that read pictures, which happens before anything is computed: every CPU may read."""
    return loading_workers(job.data.workers, busy=0)


def _conclude(
    job: ClusterJob, tokenizer: KMeansTokenizer, source: ImageSource, folder: RunFolder, began: float
) -> None:
    """Measure the tokenizer on held-out pictures; write metrics, report and result."""
    encoder = TokenEncoder(tokenizer, pick_device(job.run.device), precision="fp32")
    quality, broken = measure_tokenizer(encoder, source, job.image_size, _PICTURES_AT_ONCE, _workers(job))
    BrokenPictures(folder.broken, len(source), max_share=1.0).add(broken)
    numbers = quality.numbers()
    folder.check_present()
    with MetricsLog(folder, step=0, concluding=True) as metrics:
        metrics.write(0, "val", numbers)
    if job.run.report:
        sections = [
            numbers_section("Held-out pictures", ONE_PER_PATCH, numbers),
            reconstruction_section(encoder, source, job.image_size),
        ]
        heading = f"K-means tokenizer: {folder.path.name}"
        write_report(folder.report, heading, sections, resolved_recipe(job), since(began))
    folder.check_present()
    folder.write_result(numbers)
