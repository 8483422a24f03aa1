"""`beit export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beit.cli.early_checks import check_models
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.settings.export import ExportJob

DESCRIPTION = (
    "Write a model as a folder that onnxruntime, OpenVINO or torch runs without the code that trained it, and check it "
    "against the model on pictures: a file that does not give the same is not written."
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
