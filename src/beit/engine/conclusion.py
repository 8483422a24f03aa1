"""The end of every run: what was measured goes into the metrics, the report and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from beit.data import BrokenPicture
from beit.data.broken import BrokenPictures
from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder
from beit.files import atomic_folder
from beit.reports.report import Section, write_report
from beit.settings.recipe import resolved_recipe


def save_model(folder: RunFolder, save: Callable[[Path], None]) -> None:
    """Write the trained model, whole or not at all.

    Raises:
        StorageError: If the disk is full.
    """
    with atomic_folder(folder.model) as temporary:
        save(temporary)


def conclude(
    title: str,
    job: Any,
    folder: RunFolder,
    steps: int,
    numbers: Mapping[str, float],
    broken: Sequence[BrokenPicture],
    sections: Callable[[], list[Section]],
) -> None:
    """Write validation metrics, report and result, and tell about broken validation pictures.

    Args:
        title: Heading of the report, before the run's name.
        job: Settings of the job.
        folder: The run folder.
        steps: Finished steps.
        numbers: What was measured on validation pictures.
        broken: Validation pictures that could not be used.
        sections: Makes the sections of the report, if one is wanted.
    """
    listed = BrokenPictures(folder.broken, len(broken), max_share=1.0)
    before = len(listed)
    listed.add(broken)
    if len(listed) > before:
        print(f"{len(listed) - before} broken validation pictures were left out, listed in {folder.broken}")  # noqa: T201
    with MetricsLog(folder, steps, concluding=True) as metrics:
        metrics.write(steps, "val", numbers)
    if job.run.report:
        write_report(folder.report, f"{title} {folder.path.name}", sections(), resolved_recipe(job))
    folder.write_result(numbers)
