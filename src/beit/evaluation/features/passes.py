"""Passes of the pictures of a benchmark through one frozen model.

The features of the first pass are kept where the benchmark has an output folder, and the answer of the attentive probe,
which takes a pass of its own; what is kept is not computed again.

Legend: P training pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from beit.data import BrokenPictures, ExactView, ImageSource, Subset, loading_workers
from beit.errors import CheckpointError
from beit.evaluation.features.attentive import AttentiveScores, attentive_split, score_attentive
from beit.evaluation.features.frozen import Frozen
from beit.evaluation.features.kept_features import (
    ModelFeatures,
    SetFeatures,
    features_key,
    pictures_identity,
    read_attentive,
    read_features,
    write_attentive,
    write_features,
)
from beit.evaluation.features.layers import Layers, PictureSet, Shown, features_of
from beit.evaluation.features.patches import PatchView, label_maps_identity, patch_features
from beit.models_torch.device import Precision, busy_cpus
from beit.settings.benchmark import BenchmarkJob
from beit.settings.channels import band_options
from beit.settings.inputs import Sources

FOLDER = "features"  # in the output folder
Note = Callable[[str], None]  # called with a line for the user


@dataclass(frozen=True)
class Keeping:
    """Place of kept features.

    Attributes:
        folder: The folder.
        pictures: Identity of the pictures.
    """

    folder: Path
    pictures: str


def keeping(job: BenchmarkJob, sources: Sources) -> Keeping | None:
    """Return where features are kept; None for a job without an output folder."""
    if job.output is None:
        return None
    identity = identity_as_read(job, sources)
    if job.label_maps.path is not None:
        identity += f" {label_maps_identity(sources.train, sources.val)} {job.patches} {job.seed}"
    return Keeping(Path(job.output) / FOLDER, identity)


def identity_as_read(job: BenchmarkJob, sources: Sources) -> str:
    """Return a hash of the pictures of a job, and how they are read.

    Not all pictures are looked at for the hash: one that is too large, or too small, may be another.
    """
    data = job.data
    reading = [data.min_side, data.max_pixels, list(data.columns), repr(band_options(data))]
    return f"{pictures_identity(sources.train, sources.val)} {reading}"


class ModelPasses:
    """Passes through one frozen model, which is built for the first of them.

    Args:
        frozen: The model.
        sources: The pictures.
        job: Settings of the benchmark.
        device: Where the model computes.
        precision: That it computes in.
        kept: Place of kept features, if there is one.
        note: Called with a line when something kept is read, or found damaged.
    """

    def __init__(
        self,
        frozen: Frozen,
        sources: Sources,
        job: BenchmarkJob,
        device: torch.device,
        precision: Precision,
        kept: Keeping | None,
        note: Note,
    ) -> None:
        self._frozen, self._sources, self._job, self._device, self._note = frozen, sources, job, device, note
        key = None if kept is None else features_key(frozen, precision, kept.pictures)
        self._kept = None if kept is None else kept.folder / f"{key}.safetensors"
        self._kept_attentive = None if kept is None else kept.folder / f"{key}.attentive.json"

    @cached_property
    def _layers(self) -> Layers:
        return self._frozen.open()

    def features(self) -> ModelFeatures:
        """Return the features of all pictures.

        Raises:
            CheckpointError: If the checkpoint does not fit its config.
            DataError: If too many pictures are broken.
            StorageError: If they cannot be kept.
        """
        if (found := self._read_features()) is not None:
            self._check_broken(found)
            return found
        began = time.perf_counter()
        sources = self._sources
        with self._counted(self._frozen.name, len(sources.train) + len(sources.val)) as layers:
            train, val = (self._pass(source, layers) for source in (sources.train, sources.val))
        usable = len(sources.train) + len(sources.val) - len(train.broken) - len(val.broken)
        computed = ModelFeatures(train, val, usable / max(time.perf_counter() - began, 1e-9))
        self._check_broken(computed)
        if self._kept is not None:
            write_features(self._kept, computed)
        return computed

    def attentive(self, features: ModelFeatures, layer: int) -> AttentiveScores:
        """Return the scores of an attentive probe of one layer, on the pictures that were usable.

        Raises:
            DataError: If its features are beyond half precision.
            StorageError: If they cannot be kept.
        """
        asked = {"layer": layer, "most": self._job.attentive_pictures, "seed": self._job.seed}
        if (found := self._read_attentive(asked)) is not None:
            return found
        usable_P = features.train.pictures_P
        fitted, chosen = attentive_split(len(usable_P), self._job.attentive_pictures)
        train = Subset(self._sources.train, usable_P[np.concatenate([fitted, chosen])])
        val = Subset(self._sources.val, features.val.pictures_P)
        with self._counted(f"{self._frozen.name}, attentive probe", len(train) + len(val)) as layers:
            known, queries = self._pictures(train), self._pictures(val)
            scores = score_attentive(layers, layer, known, len(fitted), queries, self._job.seed, self._device)
        if self._kept_attentive is not None:
            write_attentive(self._kept_attentive, asked, scores)
        return scores

    def _read_features(self) -> ModelFeatures | None:
        """Return the features that are kept; None if there are none, or they are damaged."""
        path = self._kept
        if path is None or not path.exists():
            return None
        try:
            found = read_features(path)
        except CheckpointError as error:
            self._note(f"features of {self._frozen.name}: computed again, since what is kept cannot be used: {error}")
            return None
        self._note(f"features of {self._frozen.name}: read from {path}")
        return found

    def _read_attentive(self, asked: Mapping[str, int]) -> AttentiveScores | None:
        """Return the scores that are kept; None if there are none, of other settings, or damaged."""
        path = self._kept_attentive
        if path is None or not path.exists():
            return None
        try:
            return read_attentive(path, asked)
        except CheckpointError as error:
            self._note(f"attentive probe of {self._frozen.name}: fitted again, since its scores are lost: {error}")
            return None

    def _pass(self, source: ImageSource, layers: Layers) -> SetFeatures:
        """Return the features of the pictures of one set, or of their patches."""
        if self._job.label_maps.path is not None:
            return patch_features(layers, self._scenes(source))
        pictures = self._pictures(source)
        passed = features_of(layers, pictures)
        labels_P = np.asarray(source.labels)[passed.indices_P]
        return SetFeatures([layer.means_PD for layer in passed.layers], labels_P, passed.indices_P, pictures.broken)

    def _check_broken(self, features: ModelFeatures) -> None:
        sources = self._sources
        for source, part in ((sources.train, features.train), (sources.val, features.val)):
            BrokenPictures(None, len(source), self._job.data.max_broken).add(part.broken)

    def _pictures(self, source: ImageSource) -> PictureSet:
        return self._set(source, ExactView(self._frozen.view))

    def _scenes(self, source: ImageSource) -> PictureSet:
        """Return scenes with the classes of some of their patches."""
        most = max(1, self._job.patches // len(source))
        view = PatchView(self._frozen.view, self._frozen.grid_hw, len(source.classes or ()), most)
        return self._set(source, view)

    def _set(self, source: ImageSource, view: Shown) -> PictureSet:
        workers = loading_workers(self._job.data.workers, busy_cpus(self._device))
        return PictureSet(source, view, self._job.seed, self._job.batch_size, workers)

    @contextmanager
    def _counted(self, title: str, pictures: int) -> Generator[Layers]:
        """Give the model, with a bar of the pictures that pass through it, or a line where there is no terminal."""
        console, own = Console(stderr=True), self._layers
        if not console.is_terminal:
            self._note(f"{title}: {pictures:,} pictures")
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(escape(title), total=pictures)

            def layers(tensors: Mapping[str, Tensor]) -> Sequence[Tensor]:
                progress.advance(task, len(tensors["pixel_values"]))
                return own(tensors)

            yield layers
