"""Predictions and exports."""

import json

from beit import BeitForImageClassification, BeitImageProcessor
from beit.inference.export.job import export
from beit.inference.export.web_page import write_page
from beit.inference.jobs.arrays import ARRAYS
from beit.inference.jobs.chunk import Chunk
from beit.inference.jobs.state import JobState
from beit.inference.jobs.writers import write_rows
from beit.inference.tasks.registry import task_named
from beit.settings.export import ExportJob
from tests.files.writers.table import CONFIG, writer


@writer("inference/jobs/state.py")
def job_record(_):
    return lambda place: JobState(place / "out.jsonl", False).begin({"model": "a"})


@writer("inference/jobs/state.py")
def job_chunk(_):
    chunk = Chunk(0, 0, columns=["label"], rows=[{"picture": "a.png", "label": "cat"}], files={"a.png": bytes(100)})
    return lambda place: JobState(place, True).keep(chunk)


def rows(form):
    def make(_):
        answer = {"picture": "a.png", "predictions": [{"label": "cat", "probability": 0.5}], "embedding": [0.5] * 8}
        task = task_named("embed" if form in ARRAYS else "classify")
        lines = [json.dumps(answer) + "\n"] * 10
        return lambda place: write_rows(place / "out", lines, ["label_1"], task, task.options(), form)

    make.__name__ = f"rows_{form}"
    return make


for form in ("jsonl", "csv", "parquet", *ARRAYS):
    writer("inference/jobs/writers.py", "inference/jobs/arrays.py")(rows(form))


@writer("inference/export/job.py", "inference/export/card.py", "inference/export/program.py")
def exported(folder):
    BeitForImageClassification(CONFIG).save_pretrained(folder / "model")
    BeitImageProcessor(size=32).save_pretrained(folder / "model")
    return lambda place: export(ExportJob(str(folder / "model"), "torch", str(place / "out")))


@writer("inference/export/web_page.py")
def page_files(_):
    return lambda place: write_page(place / "out", "title")
