"""`beit benchmark`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from beit.cli.early_checks import check_models, check_paths
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.settings.benchmark import BenchmarkJob

if TYPE_CHECKING:
    from beit.evaluation.features.benchmark import Measured

DESCRIPTION = (
    "Compare the frozen features of models on labelled pictures: kNN, a ridge (linear) probe of every layer, an "
    "attentive probe of the best one, and kNN and ridge with few labels. Raw pixels and random weights always stand "
    "beside them. Layer, k, ridge penalty and epochs are chosen on training pictures, never on validation pictures. "
    "--finetune.steps also fine-tunes every model. --output writes result.json and report.html, and keeps the features "
    "for the same command with other measurements. With --label_maps.path the patches of pictures are classified, by "
    "accuracy and mean IoU."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, measure, print."""
    began = time.perf_counter()
    job = parse_job(BenchmarkJob, "beit benchmark", DESCRIPTION, arguments, words=("models",))
    check_models(*job.models)
    check_paths(job.data.path, job.data.val_path)
    _note("benchmark: counting pictures")  # what follows loads libraries for seconds before it can say anything
    from beit.files import locked_output

    with nullcontext() if job.output is None else locked_output(job.output):
        return _measured(job, began)


def _measured(job: BenchmarkJob, began: float) -> int:
    """Measure, write and print."""
    from beit.evaluation.features.benchmark import benchmark
    from beit.evaluation.features.benchmark_files import (
        REPORT_NAME,
        RESULT_NAME,
        counted,
        table,
        to_json,
        write_benchmark,
    )
    from beit.reports.report import since

    result = benchmark(job, _show, _note)
    if job.finetune.steps is not None:
        from beit.tasks.benchmark import finetuned  # only who trains waits for what trains

        with redirect_stdout(sys.stderr):  # the lines of trainings; what is printed is the result
            result = finetuned(result, job, _note)
    if job.output is not None:
        write_benchmark(Path(job.output), result, job, since(began))
    if job.json:
        say(json.dumps(to_json(result, job), ensure_ascii=False))
        return 0
    say(f"{counted(result)}; {result.device}, {result.precision}")
    if result.broken:
        say(f"{len(result.broken):,} broken pictures were left out; first: {result.broken[0].reason}")
    say(*_aligned(*table(result)))
    if job.output is not None:
        say(f"result  {Path(job.output) / RESULT_NAME}", f"report  {Path(job.output) / REPORT_NAME}")
    return 0


def _show(row: Measured) -> None:
    """Print a row on the side when it is measured: a benchmark of large models takes a while."""
    scores = row.scores
    attentive = "" if scores.attentive is None else f", attentive {scores.attentive.accuracy:.1%}"
    _note(f"{row.frozen.name}: kNN {scores.knn:.1%}, ridge {scores.ridge:.1%}{attentive}")


def _note(line: str) -> None:
    """Print a line on the side."""
    print(line, file=sys.stderr, flush=True)


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its columns as wide as what is in them."""
    lines = [columns, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
