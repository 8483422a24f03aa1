"""`beit predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from beit.cli.output import say
from beit.cli.parser import new_parser, parse

if TYPE_CHECKING:
    from beit.inference.jobs.chunk import Chunk

DESCRIPTION = (
    "Ask a model about pictures: files, folders, films, tar or parquet shards. Without --output the answers are "
    "printed. With it they are written to a file (.jsonl, .csv or .parquet) or a folder of pictures; started again "
    "after a stop, the same command continues. A broken picture is named, and the others are still done."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, predict, print."""
    parser = new_parser("beit predict", DESCRIPTION)
    parser.add_argument("model", type=str, help="Model folder, file of weights, published name or exported folder.")
    parser.add_argument("places", type=str, nargs="+", help="Pictures: files, folders, films, tar or parquet shards.")
    tasks = Literal["classify", "segment", "embed", "reconstruct", "attend"]
    parser.add_argument("--task", type=tasks, default="classify", help="What to tell.")
    parser.add_argument("--output", type=str, help="File or folder to write.")
    formats = Literal["auto", "jsonl", "csv", "parquet", "pictures"]
    parser.add_argument("--format", type=formats, default="auto", help="Of the output; auto: told by its ending.")
    parser.add_argument("--top_k", type=int, default=3, help="Classes to name for each picture.")
    parser.add_argument("--layer", type=int, default=-1, help="Whose attention, to attend; -1 is the last.")
    parser.add_argument("--patch", type=tuple[int, int], help="Whose attention: [row, col]; default: of [CLS].")
    parser.add_argument("--share", type=float, default=0.4, help="How much of a picture to hide, to reconstruct.")
    parser.add_argument("--seed", type=int, default=0, help="Of the mask, to reconstruct.")
    parser.add_argument("--tokenizer", type=str, help="Folder, file or name of the tokenizer, to reconstruct.")
    parser.add_argument("--batch_size", type=int, default=32, help="Pictures computed together.")
    parser.add_argument("--workers", type=int, default=2, help="Threads that read pictures; processes of ray.")
    parser.add_argument("--engine", type=Literal["local", "ray"], default="local", help="This process, or a cluster.")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto.")
    parser.add_argument("--dtype", type=str, default="float32", help="float32, bfloat16 or, on a GPU, float16.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object per picture, for other programs.")
    settings = parse(parser, arguments)
    return _run(settings)


def _run(settings: Any) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from beit.inference.jobs.job import PredictJob, run_job
    from beit.inference.jobs.question import Question

    names = ("task", "top_k", "layer", "patch", "share", "seed")
    question = Question(**{name: getattr(settings, name) for name in names})
    job = PredictJob(
        model=settings.model, places=tuple(settings.places), question=question, output=settings.output,
        form=settings.format, batch_size=settings.batch_size, workers=settings.workers, engine=settings.engine,
        tokenizer=settings.tokenizer, device=settings.device, dtype=settings.dtype,
    )  # fmt: skip
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"beit predict: {settings.task}", total=None)

        def told(chunk: Chunk) -> None:
            progress.update(bar, advance=len(chunk.rows) + len(chunk.broken))
            for _, reason in chunk.broken:
                print(f"beit: {reason}", file=sys.stderr)
            if settings.json or settings.output is None:
                for row in chunk.rows:
                    print(_line(row, settings.json), flush=True)

        summary = run_job(job, lambda pictures: progress.update(bar, total=pictures), told)
    if settings.output is not None and not settings.json:
        counted = f"{summary.pictures:,} picture{'s' * (summary.pictures != 1)} in {settings.output}"
        say(counted + (f"; {len(summary.broken):,} broken" if summary.broken else ""))
    return 1 if summary.broken else 0


def _line(row: dict[str, Any], as_json: bool) -> str:
    if as_json or "predictions" not in row:
        return json.dumps(row)
    named = (f"{told['label']} {told['probability']:.1%}" for told in row["predictions"])
    return f"{row['picture']}  " + "  ".join(named)
