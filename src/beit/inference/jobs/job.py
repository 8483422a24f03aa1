"""Prediction jobs: pictures in, a file or folder of results out, continued where they were stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from beit import __version__
from beit.errors import ConfigError
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.inputs import CHUNK, Collection, Unit, digest, open_inputs
from beit.inference.jobs.pipeline import Pipeline, Todo
from beit.inference.jobs.state import JobState, Summary
from beit.inference.jobs.writers import Format, chosen_format, write_rows
from beit.inference.predictor import Predictor
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.registry import task_named


@dataclass(frozen=True)
class PredictJob:
    """A task for a model, over many pictures.

    Attributes:
        model: What `Predictor.from_pretrained` loads.
        places: Files, folders, films, tar or parquet shards.
        task: Name of the task.
        options: Options of the task; those left out have their defaults.
        output: File or folder to write; None: nothing is written.
        form: "auto", "jsonl", "csv", "parquet" or "pictures".
        tokenizer: Decoder of visual tokens, to reconstruct.
        device: "auto", "cpu" or "cuda".
        batch_size: Pictures computed together.
        precision: What the model computes in: "fp32", "bf16", or on a GPU "fp16".
        workers: Threads that read pictures; processes of the engine "ray".
        engine: "local" or "ray".

    Raises:
        ConfigError: If a value is wrong that needs no model to be checked.
    """

    model: str
    places: tuple[str, ...]
    task: str = "classify"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output: str | None = None
    form: str = "auto"
    tokenizer: str | None = None
    device: str = "auto"
    batch_size: int = 32
    precision: str = "fp32"
    workers: int = 2
    engine: Literal["local", "ray"] = "local"

    def __post_init__(self) -> None:
        """Check what needs no model."""
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        self.task_options()
        if self.output is None and "pictures" in task_named(self.task).formats:
            raise ConfigError(f"--output is missing; to {self.task}, name a folder for the pictures to make")
        if self.output is None and self.engine == "ray":
            raise ConfigError("--output is missing; with --engine ray, name a file or folder")

    def task_options(self) -> TaskOptions:
        """Return all options of the task.

        Raises:
            ConfigError: If there is no such task or option, or a number is out of range.
        """
        return task_named(self.task).options.of(self.task, **self.options)

    @cached_property
    def format(self) -> Format | None:
        """Format of the output."""
        return None if self.output is None else chosen_format(task_named(self.task), Path(self.output), self.form)

    @cached_property
    def collections(self) -> list[Collection]:
        """The pictures, opened."""
        return open_inputs(self.places)

    def units(self) -> list[Unit]:
        """Return the units of work, in order."""
        size = CHUNK if self.output is not None else self.batch_size  # what is printed should not wait for long
        return [unit for number, one in enumerate(self.collections) for unit in one.units(number, size)]

    def pipeline(self, threads: int) -> Pipeline:
        """Load the model, then open the pictures.

        Raises:
            ConfigError: If it cannot do the task.
            CheckpointError: If it cannot be loaded.
        """
        predictor = Predictor.from_pretrained(
            self.model, device=self.device, precision=self.precision, tokenizer=self.tokenizer
        )
        drawing = self.format == "pictures"
        options = self.task_options()
        return Pipeline(predictor, self.task, options, self.collections, self.batch_size, threads, drawing)

    def __getstate__(self) -> dict[str, Any]:
        """Drop open files: other processes open them themselves."""
        return {name: value for name, value in self.__dict__.items() if name not in ("collections", "format")}


def run_job(job: PredictJob, begun: Callable[[int | None], None], done: Callable[[Chunk], None]) -> Summary:
    """Run a job, or the rest of it; the results are the same however often it was stopped.

    Args:
        job: The job.
        begun: Called with the number of pictures that are to be done; None if there are films.
        done: Called with every chunk of results as soon as it is written.

    Raises:
        BeitError: If it cannot begin, or the disk is full; started again it continues.
    """
    if job.output is None:
        return _run_unwritten(job, begun, done)
    output, form = Path(job.output), job.format
    state, arguments = JobState(output, form == "pictures"), _arguments(job)
    if (ended := state.begin(arguments)) is not None:
        return ended
    todo, lost = state.todo(job.units()), _lost(job, done)
    begun(_pictures(todo))
    for chunk in _chunks(job, todo):
        state.keep(chunk)
        done(chunk)
    if form is not None and form != "pictures":
        write_rows(output, state.rows(), state.columns(), task_named(job.task), form)
    return state.end(arguments, lost)


def _run_unwritten(job: PredictJob, begun: Callable[[int | None], None], done: Callable[[Chunk], None]) -> Summary:
    """Run a job that writes nothing."""
    pipeline = job.pipeline(job.workers)
    todo = [(number, unit, 0) for number, unit in enumerate(job.units())]
    pictures, broken = 0, _lost(job, done)
    begun(_pictures(todo))
    for chunk in pipeline(todo):
        pictures += len(chunk.rows)
        broken += chunk.broken
        done(chunk)
    return Summary(pictures, broken)


def _chunks(job: PredictJob, todo: list[Todo]) -> Iterator[Chunk]:
    if job.engine == "ray" and todo:
        from beit.inference.jobs.ray_engine import ray_chunks

        return ray_chunks(job, todo)
    return job.pipeline(job.workers)(todo) if todo else iter(())


def _pictures(todo: list[Todo]) -> int | None:
    return None if any(unit.film for _, unit, _ in todo) else sum(unit.stop - unit.start for _, unit, _ in todo)


def _lost(job: PredictJob, done: Callable[[Chunk], None]) -> list[tuple[str, str]]:
    """Return the shards that cannot be opened, and report them."""
    shards = [shard for collection in job.collections for shard in collection.broken_shards]
    lost = [(shard.name, f"{shard.name} cannot be read: {shard.reason}") for shard in shards]
    if lost:
        done(Chunk(0, 0, broken=lost))
    return lost


def _arguments(job: PredictJob) -> dict[str, Any]:
    """Return the arguments that have to be the same for a job to continue."""
    return {
        "version": __version__,
        "model": job.model,
        "places": list(job.places),
        "task": job.task,
        **asdict(job.task_options()),
        "format": job.format,
        "batch_size": job.batch_size,
        "tokenizer": job.tokenizer,
        "device": job.device,
        "precision": job.precision,
        "weights": _files(job.model),
        "contents": digest(job.collections),
    }


def _files(model: str) -> str | None:
    """Return a hash of the names, sizes and times of a model's files; None of one that is not on this machine."""
    place = Path(model)
    if not place.exists():
        return None
    files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place]
    lines = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
