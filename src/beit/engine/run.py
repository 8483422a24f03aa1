"""Run of a task, from its settings to the finished run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from beit.data import BrokenPictures
from beit.engine.automatic import choose, choose_for_small_pictures
from beit.engine.hooks import GalleryHook, Hook, Patience, Validation, check_early_stop
from beit.engine.loop import Trained, train
from beit.engine.metrics import MetricsLog, read_metrics
from beit.engine.monitor import MonitorHook, monitor_of
from beit.engine.muon import check_muon
from beit.engine.processes import found_by_first, make_accelerator, note_shards, one_run
from beit.engine.recorded import as_before, chosen
from beit.engine.run_folder import RunFolder, changed_since, hold_run_folder, open_run_folder
from beit.engine.task import Measured, S, Task
from beit.engine.trackers import Trackers, begun_trackers, check_trackers
from beit.errors import ConfigError
from beit.files import atomic_folder
from beit.reports.model_card import write_model_card
from beit.reports.quality import quality_sections, result_numbers
from beit.reports.report import Section, curves_section, numbers_table, since, write_report
from beit.settings.base import changed_settings, resolved_recipe, without_effect
from beit.settings.groups import DataSettings

_ROWS = 10  # of a gallery, unless gallery.every says otherwise
_AVERAGE = "average_"  # begins the names of the numbers of the moving average


def run(kind: Callable[..., Task[S, Any]], settings: S, **parts: Any) -> RunFolder:
    """Train a task and leave model, metrics and report in the run folder, which is returned.

    Args:
        kind: The task.
        settings: Its settings.
        **parts: Objects that the task takes beside its settings, such as a tokenizer.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If the pictures are unusable.
    """
    with one_run(settings.run.output):
        task = start(kind(as_before(settings), **parts))
        task.inspect()
        alone = hold_run_folder(task.settings, settings.run) if task.accelerator.is_main_process else nullcontext()
        with alone:
            further = trains_on(task, RunFolder(settings.run.output))
            folder = open_run_folder(task.settings, settings.run, task.accelerator, further)
            if not folder.finished:
                note_shards(task.accelerator, folder.broken, task.sources.train, task.sources.val)
                _first_stage(task, folder)
                build(task)
                _train_and_conclude(task, folder)
            return folder


def start(task: Task[S, Any], world: int | None = None) -> Task[S, Any]:
    """Give a task its processes and pictures, check it, and choose what is `auto`; nothing is written.

    Args:
        task: The task.
        world: Processes of the run, where this process stands for all; None: those that were started.
    """
    settings = task.settings
    check_muon(settings.optim, settings.run)
    check_early_stop(settings)
    check_trackers(settings.run)
    task.accelerator = make_accelerator(settings.run, task.width)
    if task.accelerator.is_main_process and (idle := without_effect(settings)):
        logging.getLogger(__name__).warning("%s", idle)
    task.world = task.accelerator.num_processes if world is None else world
    _say(task, f"{task.title}: counting pictures")
    with task.accelerator.local_main_process_first():  # it leaves the index of the collection to the others
        task.sources = task.open()
    torch.manual_seed(settings.run.seed)
    task.start()
    choices = [*choose(task), *task.choices(), *choose_for_small_pictures(task)]
    task.settings = chosen(settings, choices)
    task.schedule.check(task.world)  # again, for the rate may have been auto
    for setting, value, reason in choices:
        _say(task, f"{setting} {value}: {reason}")
    return task


def build(task: Task[Any, Any]) -> None:
    """Give a task its module; equal seeds give equal weights."""
    _say(task, f"{task.title}: building the model")
    torch.manual_seed(task.settings.run.seed)
    task.module = task.build()


def _say(task: Task[Any, Any], line: str) -> None:
    """Print what begins now, on one process; it may take long."""
    if task.accelerator.is_main_process:
        print(line, flush=True)  # noqa: T201


def _first_stage(task: Task[Any, Any], folder: RunFolder) -> None:
    """Run the training that has to come first, if there is one."""
    if (stage := task.first(folder.path)) is None:
        return
    done = RunFolder(stage.settings.run.output)
    if task.settings.run.force and found_by_first(task.accelerator, lambda: done.finished):
        changed = changed_since(done, stage.settings)  # which alone would be refused: nothing is left to train
        if changed and task.accelerator.is_main_process:
            logging.getLogger(__name__).warning("%s stays as it is: %s", done.path, "; ".join(changed))
    else:
        done = run(stage.task, stage.settings)
    task.receive(done.model)


def _train_and_conclude(task: Task[Any, Any], folder: RunFolder) -> None:
    began, before = time.perf_counter(), folder.last_step
    validation, monitor, gallery = Validation(task, folder), monitor_of(task, folder), _gallery(task, folder)
    hooks: list[Hook] = [validation, *(hook for hook in (monitor, gallery) if hook is not None)]
    main = task.accelerator.is_main_process
    with begun_trackers(folder, task.settings.run, asdict(task.settings), active=main) as trackers:
        trained = train(task, folder, hooks, trackers)
        if main:
            folder.check_present()
            best_step = validation.patience.best_step if validation.patience.keeps_best else None
            _save(task, folder.model, task.model, monitor, trained.steps if best_step is None else best_step)
            if trained.average is not None:
                _save(task, folder.average, trained.average)
            if gallery is not None and best_step is not None:
                gallery.gallery.add(best_step)  # the model that is kept
            _conclude(task, folder, trained, gallery, trackers, lambda: _lasted(began, before))
    task.accelerator.wait_for_everyone()


def _save(
    task: Task[Any, Any], folder: Path, model: nn.Module, monitor: MonitorHook | None = None, step: int = 0
) -> None:
    """Write a model, whole or not at all, and what the monitor knows of it after some step.

    Raises:
        StorageError: If the disk is full.
    """
    with atomic_folder(folder) as temporary:
        task.save(temporary, model)
        if monitor is not None:
            monitor.remember(temporary, step)


def _gallery(task: Task[Any, Any], folder: RunFolder) -> GalleryHook | None:
    """Return the gallery of a task that has one and whose settings want one."""
    shown = task.gallery()
    if shown is None or not shown.settings.pictures:
        return None
    return GalleryHook(task, folder, shown.make, shown.settings.every or -(-task.schedule.steps // _ROWS))


def _conclude(
    task: Task[Any, Any],
    folder: RunFolder,
    trained: Trained,
    gallery: GalleryHook | None,
    trackers: Trackers,
    lasted: Callable[[], str],
) -> None:
    """Measure the model, and its moving average if one was kept; write metrics, report and result."""
    measured = task.measure(task.model, task.sources.val)
    average = None if trained.average is None else task.measure(trained.average, task.sources.val)
    numbers = dict(measured.numbers)
    if average is not None:
        numbers |= {f"{_AVERAGE}{name}": value for name, value in average.numbers.items() if name != "pictures"}
    _list_broken(measured, folder)
    events = "tensorboard" in task.settings.run.trackers
    folder.check_present()  # measuring takes long
    with MetricsLog(folder, trained.steps, concluding=True, events=events, trackers=trackers) as metrics:
        metrics.write(trained.steps, "val", numbers)
    lines = read_metrics(folder.metrics)
    if task.settings.run.report:
        table = Section("Held-out pictures", table=numbers_table(measured.numbers))
        sections = [table] if measured.sections is None else measured.sections()
        if average is not None:
            title = "Held-out pictures, moving average of the weights"
            sections.append(Section(title, table=numbers_table(average.numbers)))
        sections = [*quality_sections(lines), *sections]
        curves = curves_section(lines, task.curves, measured.levels)
        sections += [curves] if curves.charts else []
        if gallery is not None:
            sections.append(gallery.gallery.section())
        heading = f"{task.title[0].upper()}{task.title[1:]}: {folder.path.name}"
        write_report(folder.report, heading, sections, resolved_recipe(task.settings), lasted())
    write_model_card(
        folder.model,
        f"{folder.path.name}: {task.title}",
        data_of(task.settings.data, len(task.sources.train), measured.numbers.get("pictures", len(task.sources.val))),
        changed_settings(task.settings),
        measured.numbers,
        lines,
        task.curves,
    )
    folder.check_present()
    folder.write_result(numbers | result_numbers(lines))


def _lasted(began: float, before: int | None) -> str:
    """Return the time since a run began; of one that continues, after which step it did: nobody timed the earlier."""
    return since(began) + (f" after step {before:,}" if before else "")


def data_of(data: DataSettings, pictures: int, measured: float) -> str:
    """Return what a run was trained and measured on; held out may be a split of the pictures, or a share of them."""
    learnt = f"{pictures:,} picture{'s' * (pictures != 1)} of `{data.path}`"
    held_out = f"other{'s' * (measured != 1)} of it" if data.val_path is None else f"of `{data.val_path}`"
    return f"Trained on {learnt}, measured on {measured:,.0f} {held_out}."


def _list_broken(measured: Measured, folder: RunFolder) -> None:
    """List the held-out pictures that could not be used."""
    listed = BrokenPictures(folder.broken, len(measured.broken), max_share=1.0)
    before = len(listed)
    listed.add(measured.broken)
    if len(listed) > before:
        print(f"{len(listed) - before} broken validation pictures were left out, listed in {folder.broken}")  # noqa: T201


def trains_on(task: Task[Any, Any], folder: RunFolder) -> bool:
    """Return whether a finished run has other settings now, with which it is longer, and print its schedule.

    Raises:
        ConfigError: If its settings differ and leave nothing to train.
    """
    if not folder.begun:
        return False
    done, schedule = folder.last_step, task.schedule
    changed = changed_since(folder, task.settings)
    if not changed or done is None:
        return False
    if schedule.steps <= done:
        raise ConfigError(
            f"{folder.path} has taken {done} steps already, and with the settings of now a run has {schedule.steps}, "
            f"so nothing is left to train ({'; '.join(changed)}): raise train.max_steps or train.epochs, or choose "
            "another run.output"
        )
    if not folder.finished:
        return False
    patience = Patience(task.settings.early_stop, task.watched)
    patience.recall([line for line in read_metrics(folder.metrics) if line["step"] <= done])
    if patience.reached:
        raise ConfigError(
            f"{folder.path} stopped itself after step {done}, for early_stop.patience is {patience.settings.patience}, "
            "and its measurements brought no gain; raise it too, or set it to null, to train on"
        )
    if task.accelerator.is_main_process:
        print(  # noqa: T201
            f"training on after step {done}, the end of the run so far, to step {schedule.steps}: the learning rate "
            f"goes on at {schedule.rate(done):.3g}, where a run of {schedule.steps} steps has it, and ends at "
            f"{schedule.rate(schedule.steps - 1):.3g}"
        )
    return True
