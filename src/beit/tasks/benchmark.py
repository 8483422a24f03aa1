"""Fine-tuning in a benchmark: every model, and random weights, with shares of the labels and with all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from beit.data import Subset
from beit.engine.run import run
from beit.engine.run_folder import decisive_settings
from beit.engine.schedule import SCRATCH, Rate
from beit.evaluation.features.benchmark import Benchmark, Finetuned, Measured
from beit.evaluation.features.benchmark_inputs import labelled_sources
from beit.evaluation.features.few_labels import draw_share
from beit.evaluation.features.frozen import Frozen
from beit.evaluation.features.passes import identity_as_read
from beit.files import atomic_folder
from beit.image import Preprocessing
from beit.settings.benchmark import BenchmarkJob
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import ModelSettings, OptimSettings, RunSettings, TrainSettings, ValidationSettings
from beit.settings.inputs import Sources
from beit.tasks.finetune.task import FinetuneTask

FOLDER = "finetuned"  # in the output folder: a run folder for each training
_ALL = 1.0  # of the labels


class BenchmarkFinetuneTask(FinetuneTask):
    """Fine-tuning with pictures that are open already.

    Args:
        settings: The settings.
        sources: The pictures.
        view: What the model sees of a picture in the benchmark.
        scratch: Whether the weights are random.
    """

    def __init__(self, settings: FinetuneJob, sources: Sources, view: Preprocessing, scratch: bool) -> None:
        super().__init__(settings)
        self._given, self._given_view, self._scratch = sources, view, scratch

    def open(self) -> Sources:
        """Return the pictures."""
        return self._given

    def start(self) -> None:
        """Load the model to start from; it goes on seeing what it saw."""
        super().start()
        self.view = self._given_view

    def rate(self) -> Rate:
        """Return the published rate, for random weights that of trainings from scratch."""
        return SCRATCH if self._scratch else super().rate()


def finetuned(result: Benchmark, job: BenchmarkJob, note: Callable[[str], None]) -> Benchmark:
    """Return the result of a benchmark with every model fine-tuned too, if the job asks for it.

    The trainings lie in the output folder, where the same command continues or reads them.

    Args:
        result: Of the frozen features.
        job: The settings.
        note: Called with a line when a model has been fine-tuned.

    Raises:
        ConfigError: If a model cannot be fine-tuned on these pictures.
        DataError: If too many pictures are broken.
        StorageError: If the disk is full.
    """
    if job.finetune.steps is None:
        return result
    with _place(job) as place:
        trainings = _Trainings(job, labelled_sources(job), _shares(result), place, note)
        return replace(result, rows=[trainings.of_row(row) for row in result.rows])


def _shares(result: Benchmark) -> tuple[float, ...]:
    """Return the shares of the labels that the ridge probe learnt from, and all."""
    return (*(part.share for part in result.rows[0].scores.shares), _ALL)


@contextmanager
def _place(job: BenchmarkJob) -> Generator[Path]:
    """Give the folder of the trainings, one that vanishes if the job has no output folder."""
    if job.output is not None:
        yield Path(job.output) / FOLDER
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


class _Trainings:
    """The trainings of a benchmark."""

    def __init__(
        self,
        job: BenchmarkJob,
        sources: Sources,
        shares: tuple[float, ...],
        place: Path,
        note: Callable[[str], None],
    ) -> None:
        self._job, self._sources, self._place, self._note = job, sources, place, note
        self._shares = shares
        self._pictures = identity_as_read(job, sources)

    def of_row(self, row: Measured) -> Measured:
        """Return a row with its model fine-tuned; raw pixels are no model."""
        if row.frozen.kind == "pixels":
            return row
        return replace(row, finetuned=[self._finetuned(row.frozen, share) for share in self._shares])

    def _finetuned(self, frozen: Frozen, share: float) -> Finetuned:
        sources, scratch = self._with_share(share), frozen.kind == "random"
        job = self._settings(frozen, share, len(sources.train))
        done = run(BenchmarkFinetuneTask, job, sources=sources, view=frozen.view, scratch=scratch)
        accuracy = done.read_result()["accuracy"]
        lr = done.read_recipe()["optim"]["lr"]
        self._note(f"{frozen.name}: fine-tuned with {len(sources.train):,} labels ({100 * share:g} %) {accuracy:.1%}")
        return Finetuned(share, len(sources.train), accuracy, lr)

    def _with_share(self, share: float) -> Sources:
        """Return the pictures, of those to train on a share of each class: the first draw of the ridge probe."""
        train = self._sources.train
        if share == _ALL:
            return self._sources
        shown = draw_share(np.asarray(train.labels), share, self._job.seed, 0)
        return Sources(Subset(train, np.sort(shown)), self._sources.val)

    def _settings(self, frozen: Frozen, share: float, pictures: int) -> FinetuneJob:
        """Return the settings of a training, in a folder of its own for each that is different."""
        job, asked = self._job, self._job.finetune
        assert asked.steps is not None  # noqa: S101  # for the type checker
        settings = FinetuneJob(
            job.data,
            RunSettings(
                device=job.device, precision=job.precision, seed=job.seed, save_every=asked.steps, keep_checkpoints=1,
                trackers=(),
            ),
            checkpoint=self._checkpoint(frozen),
            model=ModelSettings(image_mean=frozen.view.mean, image_std=frozen.view.std),
            optim=OptimSettings(
                lr=asked.lr, warmup_steps=asked.steps // 10, layer_decay=1.0 if frozen.kind == "random" else 0.65
            ),
            train=TrainSettings(batch_size=min(asked.batch_size, pictures), max_steps=asked.steps),
            validation=ValidationSettings(every=0),
        )  # fmt: skip
        # with all that a run folder compares: where it would refuse to go on, the training is another
        decisive = [frozen.content(), repr(frozen.view), self._pictures, share, decisive_settings(settings)]
        name = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]
        return replace(settings, run=replace(settings.run, output=str(self._place / name)))

    def _checkpoint(self, frozen: Frozen) -> str:
        """Return the checkpoint of a model, that of random weights written here."""
        if frozen.build is None:
            return frozen.name
        folder = self._place / f"random_{hashlib.sha256(frozen.content().encode()).hexdigest()[:16]}"
        if not folder.exists():
            with atomic_folder(folder) as temporary:
                frozen.build().save_pretrained(temporary)
                frozen.view.save_pretrained(temporary)
        return str(folder)
