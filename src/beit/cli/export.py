"""`beit export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beit.cli.early_checks import check_models
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.settings.export import ExportJob

DESCRIPTION = (
    "Write a model as a folder that onnxruntime, OpenVINO or torch runs without the code that trained it, or as a page "
    "that runs it in the browser, and check it against the model on pictures: a file that does not give the same is "
    "not written."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, export, print what was written."""
    job = parse_job(ExportJob, "beit export", DESCRIPTION, arguments, ("model",))
    check_models(job.model)
    from rich.console import Console
    from rich.markup import escape

    from beit.inference.export import export

    with Console(stderr=True).status("") as status:
        written = export(job, lambda stage: status.update(escape(f"{stage} ...")))
    if job.to == "web":
        _say_page(job, written)
        return 0
    megabytes = sum((Path(job.output) / name).stat().st_size for name in written["sha256"]) / 2**20
    shape = ", ".join(str(length) for length in written["input"]["shape"])
    say(
        f"model      {job.output} ({written['format']}, {written['precision']}, {megabytes:,.1f} MB)",
        f"task       {written['task']}",
        f"input      {written['input']['name']} ({shape})",
        f"output     {written['output']['name']}",
        f"check      {written['said']}",
    )
    return 0


def _say_page(job: ExportJob, written: dict[str, Any]) -> None:
    """Print what a page has, what it has not, and how it is tried."""
    page, runtime = written["page"], written["page"]["runtime"]["bytes"]
    sizes = [model["file"]["bytes"] for model in page["models"]]
    size = sum(file.stat().st_size for file in Path(job.output).rglob("*") if file.is_file())
    say(
        f"page       {job.output} ({size / 2**20:,.1f} MB; a visit loads {(runtime + sizes[0]) / 2**20:,.1f} MB)",
        f"model      {page['models'][0]['title']}: {', '.join(model['name'] for model in page['models'])}",
        f"tabs       {', '.join(task['tab']['title'] for task in page['tasks'])}",
        *(f"without    {name}: {reason}" for name, reason in written["without"].items()),
        *(f"check      {name}: {said}" for name, said in written["checks"].items()),
        f"try it     python -m http.server --bind localhost --directory {job.output}",
    )
