"""Prediction jobs: pictures in, a file or folder of results out, continued where they were stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from beit import __version__
from beit.config import CONFIG_NAME, FEATURES_NAME
from beit.errors import ConfigError, as_text
from beit.files import check_apart
from beit.image.processor import PREPROCESSOR_NAME
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.inputs import CHUNK, Collection, Unit, digest, open_inputs
from beit.inference.jobs.pipeline import Pipeline, Todo
from beit.inference.jobs.state import JobState, Summary
from beit.inference.jobs.writers import Format, chosen_format, write_rows
from beit.inference.loading import packaged_model, saved_view_of
from beit.inference.predictor import Predictor
from beit.inference.tasks.registry import task_named
from beit.settings.predict import PredictJob

# What is read beside a file of weights, named here since its readers load torch.
_BESIDE = (CONFIG_NAME, PREPROCESSOR_NAME, FEATURES_NAME, "scene_inference.json", "decoder.safetensors")


class Prediction:
    """A job with its task and its pictures.

    Args:
        job: Its settings.

    Attributes:
        job: Its settings.
        task: The task.
        options: All options of the task.

    Raises:
        ConfigError: If there is no such task or option, a number is out of range, or an output is missing.
    """

    def __init__(self, job: PredictJob) -> None:
        self.job = job
        self.task = task_named(job.task)
        self.options = self.task.options.of(job.task, **job.options)
        if job.output is None and "pictures" in self.task.formats:
            raise ConfigError(
                f"--output is missing; to {self.task.action or job.task}, name a folder for the pictures to make"
            )
        if job.output is None and job.engine == "ray":
            raise ConfigError("--output is missing; with --engine ray, name a file or folder")

    @cached_property
    def format(self) -> Format | None:
        """Format of the output."""
        return (
            None
            if self.job.output is None
            else chosen_format(self.task, self.options, Path(self.job.output), self.job.format)
        )

    @cached_property
    def collections(self) -> list[Collection]:
        """The pictures, opened."""
        view = None if self.job.model is None else saved_view_of(self.job.model)
        return open_inputs(self.job.pictures, self.format == "pictures", None if view is None else view.bands)

    def units(self) -> list[Unit]:
        """Return the units of work, in order."""
        at_once = self.task.rows_at_once(self.options) or CHUNK
        size = at_once if self.job.output is not None else self.job.batch_size  # what is printed should not wait long
        return [unit for number, one in enumerate(self.collections) for unit in one.units(number, size)]

    def pipeline(self, threads: int) -> Pipeline:
        """Load the model, then open the pictures.

        Raises:
            ConfigError: If it cannot do the task.
            CheckpointError: If it cannot be loaded.
        """
        job = self.job
        model = packaged_model(job.task) if job.model is None else job.model
        predictor = Predictor.from_pretrained(
            model, device=job.device, precision=job.precision, tokenizer=job.tokenizer
        )
        drawing = self.format == "pictures"
        return Pipeline(predictor, job.task, self.options, self.collections, job.batch_size, threads, drawing)

    def trial(self) -> None:
        """Load everything once on the CPU, to fail here for a model that cannot do the task."""
        Prediction(replace(self.job, device="cpu", precision="fp32")).pipeline(threads=1)

    def __reduce__(self) -> tuple[type[Prediction], tuple[PredictJob]]:
        """Drop open files: other processes open them themselves."""
        return Prediction, (self.job,)


def run_job(job: PredictJob, begun: Callable[[int | None], None], done: Callable[[Chunk], None]) -> Summary:
    """Run a job, or the rest of it; the results are the same however often it was stopped.

    Args:
        job: The job.
        begun: Called with the number of pictures that are to be done; None if there are films.
        done: Called with every chunk of results as soon as it is written.

    Raises:
        BeitError: If it cannot begin, or the disk is full; started again it continues.
    """
    work = Prediction(job)
    if job.output is None:
        return _run_unwritten(work, begun, done)
    output, form = Path(job.output), work.format
    if form == "pictures":
        check_apart(output, "--output", job.pictures)
    state, arguments = JobState(output, form == "pictures"), _arguments(work)
    with state.held():
        ended = state.begin(arguments)
        return ended if ended is not None else _run_written(work, state, arguments, begun, done)


def _run_written(
    work: Prediction,
    state: JobState,
    arguments: dict[str, Any],
    begun: Callable[[int | None], None],
    done: Callable[[Chunk], None],
) -> Summary:
    """Run the rest of a job that writes a file or folder."""
    todo, lost = state.todo(work.units()), _lost(work, done)
    begun(_pictures(todo))
    for chunk in _chunks(work, todo):
        state.keep(chunk)
        done(chunk)
    if (form := work.format) is not None and form != "pictures":
        write_rows(Path(work.job.output or ""), state.rows(), state.columns(), work.task, work.options, form)
    return state.end(arguments, lost)


def _run_unwritten(work: Prediction, begun: Callable[[int | None], None], done: Callable[[Chunk], None]) -> Summary:
    """Run a job that writes nothing."""
    pipeline = work.pipeline(work.job.workers)
    todo = [(number, unit, 0) for number, unit in enumerate(work.units())]
    pictures, broken = 0, _lost(work, done)
    begun(_pictures(todo))
    for chunk in pipeline(todo):
        pictures += len(chunk.rows)
        broken += chunk.broken
        done(chunk)
    return Summary(pictures, broken)


def _chunks(work: Prediction, todo: list[Todo]) -> Iterator[Chunk]:
    if work.job.engine == "ray" and todo:
        from beit.inference.jobs.ray_engine import ray_chunks

        return ray_chunks(work, todo)
    return work.pipeline(work.job.workers)(todo) if todo else iter(())


def _pictures(todo: list[Todo]) -> int | None:
    return None if any(unit.film for _, unit, _ in todo) else sum(unit.stop - unit.start for _, unit, _ in todo)


def _lost(work: Prediction, done: Callable[[Chunk], None]) -> list[tuple[str, str]]:
    """Return the shards that cannot be opened, and report them."""
    shards = [shard for collection in work.collections for shard in collection.broken_shards]
    lost = [(as_text(shard.name), as_text(f"{shard.name} cannot be read: {shard.reason}")) for shard in shards]
    if lost:
        done(Chunk(0, 0, broken=lost))
    return lost


def _arguments(work: Prediction) -> dict[str, Any]:
    """Return the arguments that have to be the same for a job to continue."""
    job = work.job
    return {
        "version": __version__,
        "model": job.model,
        "pictures": list(job.pictures),
        "task": job.task,
        **asdict(work.options),
        "format": work.format,
        "batch_size": job.batch_size,
        "tokenizer": job.tokenizer,
        "device": job.device,
        "precision": job.precision,
        "weights": _files(job.model),
        "tokenizer_weights": _files(job.tokenizer),
        "contents": digest(work.collections, work.task.contents(work.options)),
    }


def _files(model: str | None) -> str | None:
    """Return a hash of the names, sizes and times of a model's files; None of one that is not on this machine.

    They are all of its folder, or of a file of weights that and what is read beside it.
    """
    if model is None or not (place := Path(model)).exists():
        return None
    named = place.iterdir() if place.is_dir() else [place, *(place.parent / name for name in _BESIDE)]
    files = sorted(path for path in named if path.is_file())
    lines = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
